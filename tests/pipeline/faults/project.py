"""A copy of the project's manifests, in which the sources post to proxies of ours. Functions, policies and rules are
the project's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml
from eventrunner.access.senders import audience_of
from eventrunner.local.manifests import load_manifests
from eventrunner.source.streams import read_streams

from tests.pipeline.faults.catalogue import Parts

__all__ = ["ROOT", "make_project", "project_parts"]

ROOT: Final = Path(__file__).parents[3]
_BASE: Final = Path("knative", "base")
_STORES: Final = ("KV_", "OBJ_")
"""How the streams begin that hold buckets and object stores."""
_SLICES: Final = ("replayer",)
"""Services whose requests are slices of work of some ten seconds, and keep the time that they have."""
_IDLE: Final = {"authorizer": "the gateway of one machine decides by itself"}


def project_parts() -> Parts:
    manifests = load_manifests(ROOT / _BASE)
    streams = [stream.name for stream in read_streams(manifests.streams) if not stream.name.startswith(_STORES)]
    functions = sorted(manifests.services.keys() - _IDLE.keys())
    return Parts(functions, _IDLE, sorted(set(manifests.sources.values())), streams)


def make_project(folder: Path, proxies: Mapping[str, str], timeout: str) -> Path:
    """The folder of manifests. `proxies`: by service, the URL that its source posts to; `timeout`: of one request, as
    an ISO 8601 duration."""
    for name in ("functions", "policies", "rules"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    manifests = folder / _BASE
    shutil.copytree(ROOT / _BASE, manifests)
    for path in (manifests / "sources").glob("*.yaml"):
        document = yaml.safe_load(path.read_text())
        spec = document["spec"]
        ref = spec["sink"]["ref"]
        service = ref["name"]
        if service in proxies:
            # The proxy is not the sink, so the source has to be told whom the tokens are for.
            audience = audience_of(ref["apiVersion"], ref["kind"], document["metadata"]["namespace"], service)
            spec["sink"] |= {"uri": proxies[service], "audience": audience}
            if service not in _SLICES:
                spec["delivery"]["timeout"] = timeout
            path.write_text(yaml.safe_dump(document))
    return manifests
