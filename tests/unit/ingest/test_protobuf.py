"""The generated code is what the definitions say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_FOLDER = Path("eventrunner/ingest/proto")


def test_the_generated_code_is_of_these_definitions(tmp_path: Path) -> None:
    shared = _ROOT / "shared"
    definitions = sorted(str(path.relative_to(shared)) for path in (shared / _FOLDER).glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *definitions], cwd=shared, check=True, timeout=60)
    made = sorted((tmp_path / _FOLDER).iterdir())
    assert [path.name for path in made] == [
        "cloudevents_pb2.py",
        "cloudevents_pb2.pyi",
        "ingest_pb2.py",
        "ingest_pb2.pyi",
    ]
    for path in made:
        assert path.read_text() == (shared / _FOLDER / path.name).read_text(), "run `make proto`"
