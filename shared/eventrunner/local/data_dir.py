"""The folder that holds all state of a platform, its secrets included, and belongs to one platform at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from eventrunner.access.identity import make_keys
from eventrunner.errors import Conflict

__all__ = ["DataDir"]


class DataDir:
    """Use as a context manager: inside, nobody else has the folder. The lock ends with the process in any case."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: BinaryIO | None = None

    def __enter__(self) -> DataDir:
        """Raises Conflict when another platform runs over the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Conflict(f"Another platform runs over {self.path}: stop it, or use another --data-dir.") from None
        self._lock = lock
        self._keep_private()
        # Of a platform that was killed.
        self.ready_file.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ready_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        return self.path / "nats"

    @property
    def clickhouse(self) -> Path:
        return self.path / "clickhouse"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.path / 'events.db'}"

    @property
    def sources(self) -> Path:
        """Sources of tenants' consumers, for the adapter to follow."""
        return self.path / "sources"

    @property
    def module_cache(self) -> Path:
        """Compiled WebAssembly, which is code of this machine: whoever can write here runs what he likes."""
        return self.path / "compiled-modules"

    @property
    def ready_file(self) -> Path:
        """What the ready line says, for the command line to find."""
        return self.path / "dev.json"

    @property
    def reload_file(self) -> Path:
        """What the last reload has done, for who asked for it."""
        return self.path / "reload.json"

    def is_in_use(self) -> bool:
        """Whether a platform runs over the folder."""
        try:
            with (self.path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def gateway_keys(self) -> str:
        """The key set that the gateway signs identities with."""
        return self._secret("gateway.jwks", lambda: make_keys(secrets.token_hex(8)))

    def source_keys(self) -> str:
        """The key set that sources sign what they send with."""
        return self._secret("source.jwks", lambda: make_keys(secrets.token_hex(8)))

    def nats_token(self) -> str:
        return self._secret("nats.token", lambda: secrets.token_hex(24))

    def admin_key(self, make: Callable[[], str]) -> str:
        """The text of the administrator's key; made at the first start."""
        return self._secret("admin.key", make)

    def write_ready(self, line: dict[str, Any]) -> None:
        write_private(self.ready_file, json.dumps(line) + "\n")

    def write_reloaded(self, answer: bytes) -> None:
        write_private(self.reload_file, answer.decode() + "\n")

    def _keep_private(self) -> None:
        """What is there from a version that let others read it."""
        for folder in (self.sources, self.module_cache):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.logs, self.nats, self.clickhouse, self.sources, self.module_cache):
            if folder.is_dir():
                folder.chmod(0o700)
        for file in self.path.glob("events.db*"):
            file.chmod(0o600)

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        path = self.path / name
        if path.exists():
            return path.read_text().strip()
        text = make()
        write_private(path, text + "\n")
        return text


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
