"""Streams, buckets and object stores from NACK manifests (`jetstream.nats.io/v1beta2`), created or updated in place.

Field by field what https://github.com/nats-io/nack `deploy/crds.yml` says; a field that is not handled here is an
error, so that a manifest never means less here than in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from eventrunner.errors import ConfigurationError, FieldError, InvalidInput
from eventrunner.source.durations import parse_go
from eventrunner.source.levels import KEEP_READ
from eventrunner.source.manifests import Fields, Manifest, read_manifests
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError

__all__ = ["Applied", "Change", "StreamSpec", "apply_streams", "parse_stream", "read_streams"]

_API_VERSION = "jetstream.nats.io/v1beta2"
_KINDS = ("Stream", "KeyValue", "ObjectStore")
_NAME = r"[^\s.*>/\\]+"
_TWO_MINUTES = 120 * 10**9
_SERVERS_METADATA = "_nats."


class Change(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    name: str
    change: Change


@dataclass(frozen=True, slots=True)
class StreamSpec:
    name: str
    config: dict[str, Any]
    """The stream's configuration in the words of the JetStream API."""


def read_streams(paths: Iterable[Path]) -> list[StreamSpec]:
    """Raises ConfigurationError for files that cannot be read and InvalidInput for wrong fields."""
    return [parse_stream(manifest) for manifest in read_manifests(paths, _KINDS)]


def parse_stream(manifest: Manifest) -> StreamSpec:
    """Raises InvalidInput that names every wrong field."""
    errors: list[FieldError] = []
    top = Fields(manifest, "", errors)
    kind = top.choice("kind", _KINDS, "Stream")
    if (version := top.text("apiVersion")) != _API_VERSION:
        top.wrong("apiVersion", f"must be {_API_VERSION}, not {version!r}")
    name = top.fields("metadata").text("name")
    spec = top.fields("spec")
    config = {"Stream": _stream, "KeyValue": _bucket, "ObjectStore": _object_store}[kind](spec)
    spec.done()
    if errors:
        wrong = ", ".join(error.field for error in errors)
        raise InvalidInput(f"The {kind} {name!r} has wrong fields: {wrong}.", tuple(errors))
    return StreamSpec(config["name"], config)


async def apply_streams(
    api: JetStreamApi, streams: Sequence[StreamSpec], *, replicas: int = 0, only_missing: bool = False
) -> list[Applied]:
    """Makes each stream what its manifest says; `replicas` above 0 overrides theirs. Applying again changes nothing.
    With `only_missing` a stream that is there stays as it is.

    Raises ConfigurationError when the server refuses, Unavailable when it is away.
    """
    return [await _apply(api, stream, replicas, only_missing) for stream in streams]


async def _apply(api: JetStreamApi, stream: StreamSpec, replicas: int, only_missing: bool) -> Applied:
    wanted = stream.config | ({"num_replicas": replicas} if replicas else {})
    try:
        actual = (await api.request(f"STREAM.INFO.{stream.name}"))["config"]
    except JetStreamError as error:
        if error.http_code != NOT_FOUND:
            raise
        actual = None
    if actual is None:
        await _change(api, "CREATE", wanted)
        return Applied(stream.name, Change.CREATED)
    if only_missing or _is_so(actual, wanted):
        return Applied(stream.name, Change.UNCHANGED)
    await _change(api, "UPDATE", actual | wanted)
    return Applied(stream.name, Change.UPDATED)


def _is_so(actual: dict[str, Any], wanted: dict[str, Any]) -> bool:
    # The server adds metadata of its own.
    own = {key: text for key, text in actual.get("metadata", {}).items() if not key.startswith(_SERVERS_METADATA)}
    # What the server left out is at its zero value.
    return all((actual | {"metadata": own}).get(key, type(value)()) == value for key, value in wanted.items())


async def _change(api: JetStreamApi, verb: str, config: dict[str, Any]) -> None:
    try:
        await api.request(f"STREAM.{verb}.{config['name']}", config)
    except JetStreamError as error:
        raise ConfigurationError(f"The stream {config['name']} cannot be made so: {error.description}.") from error


def _stream(spec: Fields) -> dict[str, Any]:
    config = _stream_config(spec)
    if KEEP_READ in config["metadata"] and not config["allow_direct"]:
        spec.wrong("allowDirect", f"must be true where the metadata has {KEEP_READ}: the age of messages is read so")
    return config


def _stream_config(spec: Fields) -> dict[str, Any]:
    return {
        "name": spec.text("name", pattern=_NAME),
        "description": spec.text("description", ""),
        "subjects": _subjects(spec),
        "retention": spec.choice("retention", ("limits", "interest", "workqueue"), "limits"),
        "storage": spec.choice("storage", ("file", "memory"), "memory"),
        "discard": spec.choice("discard", ("old", "new"), "old"),
        "discard_new_per_subject": spec.boolean("discardPerSubject"),
        "max_consumers": spec.integer("maxConsumers", -1, -1),
        "max_msgs": spec.integer("maxMsgs", -1, -1),
        "max_bytes": spec.integer("maxBytes", -1, -1),
        "max_msgs_per_subject": spec.integer("maxMsgsPerSubject", -1, -1),
        "max_msg_size": spec.integer("maxMsgSize", -1, -1),
        "max_age": _duration(spec, "maxAge", 0),
        "duplicate_window": _duration(spec, "duplicateWindow", _TWO_MINUTES),
        "num_replicas": spec.integer("replicas", 1, 1),
        "compression": spec.choice("compression", ("none", "s2"), "none"),
        "deny_delete": spec.boolean("denyDelete"),
        "deny_purge": spec.boolean("denyPurge"),
        "allow_rollup_hdrs": spec.boolean("allowRollup"),
        "allow_direct": spec.boolean("allowDirect"),
        "allow_msg_ttl": spec.boolean("allowMsgTtl"),
        "allow_atomic": spec.boolean("allowAtomicPublish"),
        "metadata": _metadata(spec),
    }


def _bucket(spec: Fields) -> dict[str, Any]:
    """A key-value bucket is a stream with these settings (ADR-8)."""
    bucket = spec.text("bucket", pattern=r"[A-Za-z0-9_-]+")
    max_age = _duration(spec, "ttl", 0)
    return {
        "name": f"KV_{bucket}",
        "description": spec.text("description", ""),
        "subjects": [f"$KV.{bucket}.>"],
        "storage": spec.choice("storage", ("file", "memory"), "file"),
        "discard": "new",
        "max_msgs_per_subject": spec.integer("history", 1, 1),
        "max_bytes": spec.integer("maxBytes", -1, -1),
        "max_msg_size": spec.integer("maxValueSize", -1, -1),
        "max_age": max_age,
        "duplicate_window": min(max_age or _TWO_MINUTES, _TWO_MINUTES),
        "num_replicas": spec.integer("replicas", 1, 1),
        "compression": "s2" if spec.boolean("compression") else "none",
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def _object_store(spec: Fields) -> dict[str, Any]:
    """An object store is a stream with these settings (ADR-20)."""
    bucket = spec.text("bucket", pattern=r"[A-Za-z0-9_-]+")
    return {
        "name": f"OBJ_{bucket}",
        "description": spec.text("description", ""),
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "storage": spec.choice("storage", ("file", "memory"), "file"),
        "discard": "new",
        "max_bytes": spec.integer("maxBytes", -1, -1),
        "max_age": _duration(spec, "ttl", 0),
        "num_replicas": spec.integer("replicas", 1, 1),
        "compression": "s2" if spec.boolean("compression") else "none",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def _subjects(spec: Fields) -> list[str]:
    subjects = spec.sequence("subjects")
    for number, subject in enumerate(subjects):
        if not isinstance(subject, str) or not subject or any(character.isspace() for character in subject):
            spec.wrong(f"subjects[{number}]", f"must be a NATS subject, not {subject!r}")
    return subjects


def _metadata(spec: Fields) -> dict[str, str]:
    metadata = spec.texts("metadata")
    if KEEP_READ in metadata:
        # Read again where the stream is trimmed; here so that a wrong one is refused.
        _duration(Fields(metadata, f"{spec.path}.metadata", spec.errors), KEEP_READ, 0)
    return metadata


def _duration(spec: Fields, name: str, default: int) -> int:
    text = spec.text(name, "-")
    if text == "-":
        return default
    try:
        return parse_go(text)
    except ValueError as error:
        spec.wrong(name, str(error))
        return default
