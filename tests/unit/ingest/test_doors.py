"""Whatever way an event comes in, the same is accepted, refused and promised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.ingest.door_suite import DoorSuite, laboratory
from tests.unit.ingest.doors import GrpcBatchDoor, GrpcStreamDoor, HttpDoor, Lab


@pytest.fixture(scope="class")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(request.cls.door, tmp_path_factory.mktemp("door")) as lab:
        yield lab


class TestHttp(DoorSuite):
    door = HttpDoor()


class TestGrpcBatch(DoorSuite):
    door = GrpcBatchDoor()


# Beside others, grpc's client may not have sent yet when it is refused, and then tells of its own error only.
@pytest.mark.alone
class TestGrpcStream(DoorSuite):
    door = GrpcStreamDoor()
    refuses_as_a_whole = False
