"""A copy of the project's manifests, in which the sources post to proxies of ours. Functions, policies and rules are
the project's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

__all__ = ["SERVICES", "make_project"]

_ROOT: Final = Path(__file__).parents[3]
SERVICES: Final = ("event-runner", "event-engine", "analytics", "metering")
"""Those on the way of every event, each fed by a source."""


def make_project(folder: Path, proxies: Mapping[str, str], timeout: str) -> Path:
    """The folder of manifests. `proxies`: by service, the URL that its source posts to; `timeout`: of one request, as
    an ISO 8601 duration."""
    for name in ("functions", "policies", "rules"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(_ROOT / name)
    manifests = folder / "knative" / "base"
    shutil.copytree(_ROOT / "knative" / "base", manifests)
    for path in (manifests / "sources").glob("*.yaml"):
        document = yaml.safe_load(path.read_text())
        spec = document["spec"]
        service = spec["sink"]["ref"]["name"]
        if service in proxies:
            spec["sink"]["uri"] = proxies[service]
            spec["delivery"]["timeout"] = timeout
            path.write_text(yaml.safe_dump(document))
    return manifests
