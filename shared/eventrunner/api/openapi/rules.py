"""Rule sets and what they would do."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from eventrunner.api.openapi.call import Answer, Body, Call, Parameter, json_answer, json_body
from eventrunner.api.openapi.parameters import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, OWNER, PAGE, SET_NAME, tagged
from eventrunner.api.openapi.problems import FieldProblem
from eventrunner.api.rule_explanations import EventBody, ExplainBody
from eventrunner.api.rule_trials import DryRunBody
from eventrunner.api.rules import Activation
from eventrunner.api.texts import Time
from eventrunner.rules.explain import Condition, Firing

__all__ = ["CALLS"]


class RuleSummary(msgspec.Struct):
    name: str
    active: int
    """The version in force; 0: none."""
    newest: int
    updated: Time


class RulePut(RuleSummary):
    warnings: list[FieldProblem]
    """What surely does not work."""


class RuleSummaries(msgspec.Struct):
    rules: list[RuleSummary]
    next: str | None


class VersionSummary(msgspec.Struct):
    version: int
    format: Literal["grl", "json"]
    created: Time


class RuleDocument(RuleSummary):
    version: int
    format: Literal["grl", "json"]
    text: str
    versions: list[VersionSummary]


class RuleError(msgspec.Struct):
    rule: str
    message: str


class EmittedEvent(msgspec.Struct):
    type: str
    data: Any


class RuleVerdict(msgspec.Struct, omit_defaults=True):
    """Members that say nothing are left out."""

    id: str
    fired: list[str]
    data: Any = None
    attributes: dict[str, Any] = {}
    emitted: list[EmittedEvent] = []
    dropped: str | None = None
    tags: dict[str, Any] = {}
    route: str | None = None
    error: RuleError | None = None
    logs: list[str] = []


class DryRunCounts(msgspec.Struct):
    fired: dict[str, int]
    emitted: dict[str, int]
    changed: int
    dropped: int
    failed: int


class DryRunOfBody(msgspec.Struct):
    version: int | None
    results: list[RuleVerdict]


class DryRunOfHistory(msgspec.Struct, rename={"since": "from", "until": "to"}):
    version: int | None
    in_force_version: int
    since: Time
    until: Time
    read: int
    evaluated: int
    matched: int
    draft: DryRunCounts
    in_force: DryRunCounts
    gained: int
    lost: int
    different: int
    samples: dict[str, list[dict[str, Any]]]
    progress: float
    next: str | None


class ExplanationDocument(msgspec.Struct):
    version: int | None
    id: str
    conditions: list[Condition]
    firings: list[Firing]
    not_shown: int
    end: str
    result: RuleVerdict


class StageExplanation(msgspec.Struct, omit_defaults=True):
    """The platform's rules or the tenant's; of the platform's, others than an admin see the result only."""

    owner: str
    result: RuleVerdict
    sets: list[str] = []
    id: str = ""
    conditions: list[Condition] = []
    firings: list[Firing] = []
    not_shown: int = 0
    end: str = ""


class WayDocument(msgspec.Struct):
    """What an event goes through in the engine."""

    stages: list[StageExplanation]
    result: RuleVerdict


class WayOfVersion(WayDocument):
    version: int | None


_ALL: Final = "/api/v1/rules/{tenant}"
_ONE: Final = f"{_ALL}/{{name}}"
_VERSION: Final = Parameter("version", {"type": "integer", "minimum": 1, "maximum": 999_999_999})
_ONE_PARAMETERS: Final = (OWNER, SET_NAME)
_GRL: Final = {"type": "string", "minLength": 1, "maxLength": 256 * 1024, "description": "Rules in GRL"}

CALLS: Final = (
    Call(
        id="rules-list",
        method="get",
        path=_ALL,
        summary="Rule sets",
        path_parameters=(OWNER,),
        parameters=PAGE,
        answers={200: json_answer(RuleSummaries)},
        problems=(404, 422),
    ),
    Call(
        id="rules-get",
        method="get",
        path=_ONE,
        summary="A rule set's text and versions: the version asked for, else that in force, else the newest",
        path_parameters=_ONE_PARAMETERS,
        parameters=(_VERSION, IF_NONE_MATCH),
        answers={200: tagged(RuleDocument), 304: NOT_MODIFIED},
        problems=(404, 422),
    ),
    Call(
        id="rules-put",
        method="put",
        path=_ONE,
        summary="Add a version, unless the text is the newest one's; what does not compile is named by line and column",
        path_parameters=_ONE_PARAMETERS,
        parameters=(IF_MATCH, IF_NONE_MATCH),
        body=Body({"text/plain": _GRL, "application/json": {"type": ["object", "array"]}}),
        answers={
            200: tagged(RulePut, "The newest version has this text already"),
            201: tagged(RulePut, "A version was added"),
        },
        problems=(404, 409, 412, 422),
    ),
    Call(
        id="rules-delete",
        method="delete",
        path=_ONE,
        summary="Delete a rule set",
        path_parameters=_ONE_PARAMETERS,
        parameters=(IF_MATCH,),
        answers={204: Answer()},
        problems=(404, 412, 422),
    ),
    Call(
        id="rules-activate",
        method="post",
        path=f"{_ONE}/activate",
        summary="Put a version in force",
        path_parameters=_ONE_PARAMETERS,
        parameters=(IF_MATCH,),
        body=json_body(Activation, required=False),
        answers={200: tagged(RuleSummary)},
        problems=(404, 409, 412, 422),
    ),
    Call(
        id="rules-dry-run",
        method="post",
        path=f"{_ONE}/dry-run",
        summary="What a draft or a version makes of events, given or stored; call again with `next` until it is null",
        path_parameters=_ONE_PARAMETERS,
        body=json_body(DryRunBody),
        answers={200: json_answer((DryRunOfBody, DryRunOfHistory))},
        problems=(404, 422),
    ),
    Call(
        id="rules-explain",
        method="post",
        path=f"{_ONE}/explain",
        summary="What each condition yields for an event, and what each firing did",
        path_parameters=_ONE_PARAMETERS,
        body=json_body(ExplainBody),
        answers={200: json_answer((ExplanationDocument, WayOfVersion))},
        problems=(404, 409, 422),
    ),
    Call(
        id="rules-explain-all",
        method="post",
        path=f"{_ALL}/explain",
        summary="What an event goes through: the platform's rules, then all of the tenant's that are in force",
        path_parameters=(OWNER,),
        body=json_body(EventBody),
        answers={200: json_answer(WayDocument)},
        problems=(404, 409, 422),
    ),
)
