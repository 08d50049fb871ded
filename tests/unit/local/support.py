"""A project of its own for a test: manifests and tiny functions in a temporary folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from eventrunner.local.activator import Activator
from eventrunner.local.functions import FunctionLauncher
from eventrunner.local.manifests import load_manifests
from eventrunner.local.project import Project
from eventrunner.local.revision import Limits
from eventrunner.local.upstream import new_probe_session

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    metadata:
      annotations: {{{annotations}}}
    spec:
      containerConcurrency: {concurrency}
      containers:
        - image: eventrunner/{name}
          env: [{{name: THREADS, value: "8"}}, {{name: COLOUR, value: green}}]
          readinessProbe: {{httpGet: {{path: /healthz}}}}
"""

ECHO = """
import os, time
def main(request):
    if request.path == "/slow":
        time.sleep(float(request.args["seconds"]))
    if request.path == "/die":
        os.killpg(os.getppid(), 9)
    answer = {"pid": os.getppid(), "method": request.method, "path": request.full_path,
              "body": request.get_data(as_text=True), "colour": os.environ["COLOUR"],
              "headers": list(map(list, request.headers.items()))}
    return answer, 200, {"X-Function": "echo"}
"""

ASGI_ECHO = """
import os
from starlette.responses import JSONResponse
async def main(request):
    return JSONResponse({"pid": os.getppid(), "body": (await request.body()).decode()})
"""


def make_project(root: Path, functions: Mapping[str, str], annotations: str = "", concurrency: int = 0) -> Project:
    """One Knative Service for each function; the annotations are YAML inside braces."""
    manifests = root / "knative" / "base"
    manifests.mkdir(parents=True)
    for name, code in functions.items():
        folder = root / "functions" / name.replace("-", "_")
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(code)
        text = SERVICE.format(name=name, annotations=annotations, concurrency=concurrency)
        (manifests / f"{name}.yaml").write_text(text)
    return Project(root, manifests)


@asynccontextmanager
async def running_activator(
    project: Project, limits: Limits | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Activator]:
    services = load_manifests(project.manifests).services
    async with new_probe_session() as session:
        launcher = FunctionLauncher(project, env or {}, project.root / "logs", session)
        activator = Activator(services.values(), launcher, limits or Limits())
        try:
            yield activator
        finally:
            await activator.close()


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def run(work: Coroutine[Any, Any, None]) -> None:
    """In the event loop that the platform uses."""
    uvloop.run(asyncio.wait_for(work, 60))


def is_alive(pid: int) -> bool:
    """A zombie is dead: nobody here collects the children of a process that was killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
