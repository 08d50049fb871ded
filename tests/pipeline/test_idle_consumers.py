"""Two hundred consumers for which nothing comes: no process of theirs, and little memory for all of them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.processes import cpu_by_part, sample_tree
from eventrunner.local.project import find_project
from eventrunner.storage.records import (
    CONSUMER_STATUS,
    CONSUMERS,
    Consumer,
    ConsumerStatus,
    StoredModule,
    tenant_key,
)
from eventrunner.storage.registry import Registry
from nats.aio.client import Client
from support_nats import eventually

pytestmark = pytest.mark.pipeline

CONSUMERS_OF_A_TENANT = 10
TENANTS = 20
MOST_BYTES = 50 * 2**20
ADAPTER = "source adapter"
TIME = "2026-11-29T10:00:00.000000Z"


def make_project(folder: Path, *, runs_consumers: bool) -> Path:
    project = find_project()
    for name in ("functions", "policies", "rules"):
        (folder / name).symlink_to(project.root / name)
    shutil.copytree(project.manifests.parent, folder / "knative")
    if not runs_consumers:
        shutil.rmtree(folder / "knative" / "templates")
    return folder / "knative" / "base"


async def register(platform: RunningPlatform) -> None:
    """As if each had been deployed and tried before."""
    registry = await Registry.connect(platform.nats)
    for tenant in (f"tenant{number}" for number in range(TENANTS)):
        for name in (f"c{number}" for number in range(CONSUMERS_OF_A_TENANT)):
            module = StoredModule("0" * 64, 1, "component", [], [])
            record = Consumer(tenant, name, f"{tenant}={name}", module, created=TIME, updated=TIME)
            status = ConsumerStatus("ready", 0, "", TIME, TIME)
            await registry.put(CONSUMER_STATUS, tenant_key(tenant, name), status.to_json())
            await registry.put(CONSUMERS, tenant_key(tenant, name), record.to_json())
    await registry.close()


async def all_are_followed(platform: RunningPlatform, client: Client) -> bool:
    answer = await client.request("$JS.API.CONSUMER.LIST.RESULTS", b"", timeout=5)
    durables = json.loads(answer.data)
    waiting = sum(item["num_waiting"] > 0 for item in durables["consumers"])
    return bool(durables["total"] > TENANTS * CONSUMERS_OF_A_TENANT and waiting == len(durables["consumers"]))


async def until_all_are_followed(platform: RunningPlatform) -> None:
    registry = await Registry.connect(platform.nats)
    await eventually(lambda: all_are_followed(platform, registry.client), 60)
    await registry.close()


def resident(platform: RunningPlatform) -> dict[str, int]:
    return {sample.part: sample.resident for sample in sample_tree(platform.pid) if not sample.function}


def test_two_hundred_idle_consumers_have_no_process_and_take_little_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    without = make_project(tmp_path / "without", runs_consumers=False)
    with running_platform(tmp_path / "data", arguments=("--manifests", str(without))) as platform:
        before = resident(platform)
        asyncio.run(register(platform))
        # By now it has looked at its streams, which takes some memory once.
        before[ADAPTER] = resident(platform)[ADAPTER]
    together = make_project(tmp_path / "with", runs_consumers=True)
    with running_platform(tmp_path / "data", arguments=("--manifests", str(together))) as platform:
        asyncio.run(until_all_are_followed(platform))
        after = resident(platform)
        assert [sample.part for sample in sample_tree(platform.pid) if sample.function] == []
        used = cpu_by_part(platform.pid)
    more = {part: after[part] - before.get(part, 0) for part in after}
    with capsys.disabled():
        print({part: f"{size / 2**20:.1f} MiB" for part, size in more.items()}, used)
    assert sum(more.values()) <= MOST_BYTES, more
