"""The adapter of all JetStreamSources, the same program that runs in a cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial

import aiohttp

from eventrunner.local.data_dir import DataDir
from eventrunner.local.ports import free_port, is_listening
from eventrunner.local.process import Command
from eventrunner.local.project import Project
from eventrunner.local.supervisor import Probe, Supervised
from eventrunner.local.upstream import is_healthy

__all__ = ["SourceAdapter"]


class SourceAdapter(Supervised):
    def __init__(
        self,
        project: Project,
        data: DataDir,
        nats_url: str,
        sinks: Mapping[str, str],
        log_level: str,
        session: aiohttp.ClientSession,
    ) -> None:
        # With the streams beside the sources, so that it can make them again when nats-server has lost them.
        self._arguments = ["--sources", str(project.manifests), "--watch", str(data.sources)]
        for service, url in sinks.items():
            self._arguments += ["--sink", f"{service}={url}"]
        self._log = data.logs / "source.log"
        # Not an argument: those can be read by everybody on the machine, and the URL holds the server's token.
        self._env = {
            "EVENTRUNNER_NATS_URL": nats_url,
            "EVENTRUNNER_LOG_LEVEL": log_level,
            "EVENTRUNNER_SOURCE_KEYS": data.source_keys(),
        }
        self._session = session
        super().__init__(*self._another())

    async def renew(self, patience: float, grace: float) -> None:
        """See `replace`. The two share the work while both run."""
        await self.replace(*self._another(), patience, grace)

    def _another(self) -> tuple[Command, Probe]:
        port = free_port()
        arguments = (*self._arguments, "--metrics-port", str(port))
        argv = (sys.executable, "-m", "eventrunner", "source", *arguments)
        return Command(name="source", argv=argv, log=self._log, env=self._env), partial(self._is_ready, port)

    async def _is_ready(self, port: int) -> bool:
        # A connection that is refused costs a tenth of a request that fails.
        return await is_listening(port) and await is_healthy(self._session, port, "/readyz")
