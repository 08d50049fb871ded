"""The adapter of all JetStreamSources, the same program that runs in a cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from eventrunner.local.data_dir import DataDir
from eventrunner.local.ports import free_port, is_listening
from eventrunner.local.process import Command
from eventrunner.local.project import Project
from eventrunner.local.supervisor import Supervised

__all__ = ["SourceAdapter"]


class SourceAdapter(Supervised):
    def __init__(
        self, project: Project, data: DataDir, nats_url: str, sinks: Mapping[str, str], log_level: str
    ) -> None:
        self._port = free_port()
        # With the streams beside the sources, so that it can make them again when nats-server has lost them.
        arguments = ["--sources", str(project.manifests), "--metrics-port", str(self._port)]
        for service, url in sinks.items():
            arguments += ["--sink", f"{service}={url}"]
        command = Command(
            name="source",
            argv=(sys.executable, "-m", "eventrunner", "source", *arguments),
            log=data.logs / "source.log",
            # Not an argument: those can be read by everybody on the machine, and the URL holds the server's token.
            env={
                "EVENTRUNNER_NATS_URL": nats_url,
                "EVENTRUNNER_LOG_LEVEL": log_level,
                "EVENTRUNNER_SOURCE_KEYS": data.source_keys(),
            },
        )
        super().__init__(command, self._listens)

    async def _listens(self) -> bool:
        return await is_listening(self._port)
