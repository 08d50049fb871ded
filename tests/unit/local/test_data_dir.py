from __future__ import annotations

from pathlib import Path

import pytest
from eventrunner.errors import Conflict
from eventrunner.local.data_dir import DataDir


def test_two_platforms_cannot_share_a_folder(tmp_path: Path) -> None:
    with DataDir(tmp_path), pytest.raises(Conflict, match="another --data-dir"), DataDir(tmp_path):
        pass
    with DataDir(tmp_path):
        pass


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path), DataDir(tmp_path)
    assert first.gateway_keys() == second.gateway_keys() != first.nats_token()
    assert first.admin_key(lambda: "a key") == second.admin_key(lambda: "another") == "a key"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_others_could_read_they_cannot_read_any_more(tmp_path: Path) -> None:
    for name in ("logs", "nats", "clickhouse", "a-folder-of-somebody"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    for name in ("events.db", "events.db-wal", "a-file-of-somebody"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    with DataDir(tmp_path):
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name != "lock"}
    assert modes == {
        **{"logs": 0o700, "nats": 0o700, "clickhouse": 0o700, "a-folder-of-somebody": 0o755},
        **{"sources": 0o700, "compiled-modules": 0o700},
        **{"events.db": 0o600, "events.db-wal": 0o600, "a-file-of-somebody": 0o644},
    }


def test_the_ready_line_is_there_as_long_as_the_platform(tmp_path: Path) -> None:
    with DataDir(tmp_path) as data:
        data.write_ready({"url": "http://here"})
        assert data.ready_file.read_text() == '{"url": "http://here"}\n'
        assert data.ready_file.stat().st_mode & 0o777 == 0o600
    assert not data.ready_file.exists()
