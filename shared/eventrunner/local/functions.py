"""Starts functions: one functions-framework process for each replica of a Knative Service."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import aiohttp

from eventrunner.local.ports import HOST, free_port, is_listening
from eventrunner.local.process import Child, Command, spawn
from eventrunner.local.project import Project
from eventrunner.local.services import Server, Service
from eventrunner.local.supervisor import Probe, until_ready
from eventrunner.local.upstream import is_healthy

__all__ = ["FunctionLauncher", "Launcher"]


class Launcher(Protocol):
    async def __call__(self, service: Service, patience: float) -> tuple[Child, int]:
        """Starts one replica; returns it with its port when it is ready. Raises Unavailable."""
        ...


class FunctionLauncher:
    def __init__(
        self,
        project: Project,
        env: Mapping[str, str],
        logs: Path,
        session: aiohttp.ClientSession,
        *,
        runs_tenants_code: bool = False,
    ) -> None:
        """`env` overrides what the manifests say: the addresses on this machine. What runs tenants' code comes after
        everything else when cores are short, and is told nothing that it does not need."""
        self._runs_tenants_code = runs_tenants_code
        self._project = project
        self._env = env
        self._logs = logs
        self._session = session

    async def __call__(self, service: Service, patience: float) -> tuple[Child, int]:
        port = free_port()
        child = await spawn(self._command(service, port))
        try:
            await until_ready(child, self._probe(service, port), patience)
        except BaseException:
            await child.stop(0)
            raise
        if self._runs_tenants_code:
            # Not before: somebody waits for the start, in which nothing of the tenant's runs.
            child.give_way()
        return child, port

    def _command(self, service: Service, port: int) -> Command:
        return Command(
            name=service.name,
            argv=self._arguments(service, port),
            log=self._logs / f"{service.name}.log",
            env={
                "K_SERVICE": service.name,
                "HOST": HOST,
                "PORT": str(port),
                **service.env,
                **self._env,
                "TMPDIR": self._temporary(),
            },
            cwd=self._project.root,
            inherits=not self._runs_tenants_code,
        )

    def _arguments(self, service: Service, port: int) -> tuple[str, ...]:
        main = str(self._project.function(service.function))
        if service.server is Server.GRPC:
            return sys.executable, main
        arguments = ["--source", main, "--target", "main", "--host", HOST, "--port", str(port)]
        if service.server is Server.ASGI:
            arguments.append("--asgi")
        return sys.executable, "-m", "eventrunner.local.function_process", *arguments

    def _temporary(self) -> str:
        """The server's heartbeat file, touched after each request, lies with the rest of the state."""
        folder = self._logs.parent / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _probe(self, service: Service, port: int) -> Probe:
        async def probe() -> bool:
            # A connection that is refused costs a tenth of a request that fails.
            if not await is_listening(port):
                return False
            return not service.health or await is_healthy(self._session, port, service.health)

        return probe
