"""Explanations and dry runs as text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from eventrunner.tenancy import PLATFORM

__all__ = ["dry_run_text", "explanation_text", "merge_pages"]

_SAMPLES = 3
_WIDTH = 60


def explanation_text(document: dict[str, Any]) -> str:
    """From `rules.explanation_document`, or from several, one for each stage that the event goes through."""
    if "stages" not in document:
        return _explained(document)
    return "\n".join(_stage(stage) for stage in document["stages"]) or "nothing is in force"


def _stage(stage: dict[str, Any]) -> str:
    whose = "the platform" if stage["owner"] == PLATFORM else stage["owner"]
    if "conditions" not in stage:
        return f"== rules of {whose}: {_outcome(stage['result'])}"
    return f"== rules of {whose}: {', '.join(stage['sets'])}\n{_explained(stage)}"


def _explained(document: dict[str, Any]) -> str:
    lines = []
    for condition in document["conditions"]:
        holds = "holds" if condition["holds"] else "does not hold"
        salience = f", salience {condition['salience']}" if condition["salience"] else ""
        lines.append(f"rule {condition['rule']} ({condition['set']}{salience}): {holds}")
        lines += _part(condition["when"], 1, needed=True)
    for firing in document["firings"]:
        others = f"; also matching: {', '.join(firing['others'])}" if firing["others"] else ""
        lines.append(f"cycle {firing['cycle']}: {firing['rule']} fires{others}")
        lines += [f"  {_statement(item)}" for item in firing["statements"]]
    if document["not_shown"]:
        lines.append(f"… {document['not_shown']} more firings")
    lines.append(f"end: {document['end']}")
    return "\n".join(lines)


def _part(part: dict[str, Any], depth: int, *, needed: bool) -> Iterator[str]:
    needed = needed and part.get("needed", True)
    value = (
        f"cannot be evaluated: {part['error']}"
        if "error" in part
        else json.dumps(part.get("value"), ensure_ascii=False)
    )
    unused = "" if needed else "  (not needed)"
    yield f"{'  ' * depth}{part['text']:{max(1, _WIDTH - 2 * depth)}}  {value}{unused}"
    for item in part.get("parts", ()):
        yield from _part(item, depth + 1, needed=needed)


def _statement(trace: dict[str, Any]) -> str:
    if "error" in trace:
        return f"{trace['text']};  failed: {trace['error']}"
    effect = ", ".join(_effect(kind, value) for kind, value in trace.get("effect", {}).items())
    return f"{trace['text']};" + (f"  → {effect}" if effect else "")


def _effect(kind: str, value: Any) -> str:
    match kind:
        case "value":
            return json.dumps(value, ensure_ascii=False)
        case "removed":
            return "removed"
        case "complete":
            return "the rules end here"
        case "retracted":
            return f"{value} does not fire again" if value else "no effect"
        case "unknown":
            return f"there is no rule {value}"
        case "emitted":
            return f"event {value['type']} with {json.dumps(value['data'], ensure_ascii=False)}"
    return f"{kind} {json.dumps(value, ensure_ascii=False)}"


def merge_pages(merged: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """Numbers are added, samples kept as long as there are few; all else is the page's."""
    sums = {name: _sum(merged.get(name), value) for name, value in page.items() if name not in _LAST}
    samples = {
        kind: (merged.get("samples", {}).get(kind, []) + page["samples"].get(kind, []))[:_SAMPLES]
        for kind in {**merged.get("samples", {}), **page["samples"]}
    }
    return {name: page[name] for name in page if name in _LAST} | sums | {"samples": samples}


_LAST = frozenset({"version", "in_force_version", "from", "to", "progress", "next", "samples"})


def _sum(first: Any, second: Any) -> Any:
    if isinstance(second, dict):
        known = first or {}
        return {name: _sum(known.get(name), second.get(name, 0)) for name in {**known, **second}}
    return second if first is None else first + (second or 0)


def dry_run_text(rule_set: str, document: dict[str, Any]) -> str:
    """From the pages of a dry run over history, merged."""
    draft, in_force = document["draft"], document["in_force"]
    tried = "a draft" if document["version"] is None else f"version {document['version']}"
    against = f"version {document['in_force_version']}" if document["in_force_version"] else "nothing in force"
    lines = [
        f"{tried} of {rule_set} against {against}, {document['from'][:19]}Z to {document['to'][:19]}Z",
        f"  {document['read']} events, {document['evaluated']} evaluated, {document['matched']} match",
        f"  {document['gained']} more than in force, {document['lost']} no longer, {document['different']} otherwise",
        f"  {'':40}{'now':>10}{'in force':>10}",
    ]
    for title, name in (("fired", "fired"), ("derived", "emitted")):
        for item in sorted({**draft[name], **in_force[name]}):
            lines.append(f"  {title + ' ' + item:40}{draft[name].get(item, 0):>10}{in_force[name].get(item, 0):>10}")
    for name in ("changed", "dropped", "failed"):
        lines.append(f"  {name:40}{draft[name]:>10}{in_force[name]:>10}")
    for kind, samples in sorted(document["samples"].items()):
        lines += [f"  {kind}: {_sample(sample)}" for sample in samples]
    return "\n".join(lines)


def _sample(sample: dict[str, Any]) -> str:
    if "draft" not in sample:
        return _result(sample)
    return f"{_result(sample['draft'])}; in force: {_outcome(sample['in_force'])}"


def _result(result: dict[str, Any]) -> str:
    return f"{result['id']} of {result['source']}: {_outcome(result)}"


def _outcome(result: dict[str, Any]) -> str:
    said = [f"fired {', '.join(result['fired'])}"] if result["fired"] else []
    said += [f"derives {item['type']}" for item in result.get("emitted", ())]
    said += [f"{name}={value}" for name, value in {**result.get("tags", {}), **result.get("attributes", {})}.items()]
    for name in ("dropped", "route"):
        said += [f"{name} {result[name]!r}"] if name in result else []
    said += ["data changed"] if "data" in result else []
    said += [f"{result['error']['rule']} fails: {result['error']['message']}"] if "error" in result else []
    return "; ".join(said) or "nothing"
