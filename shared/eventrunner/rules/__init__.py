"""The rule engine: Grule's rule language (GRL) on events. No I/O, no state between events."""

from eventrunner.rules.context import Emitted
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.explain import Explanation, explain
from eventrunner.rules.json_rules import as_grl, json_to_grl
from eventrunner.rules.knowledge import KnowledgeBase, Outcome
from eventrunner.rules.limits import Limits
from eventrunner.rules.lint import warnings_of
from eventrunner.rules.report import explanation_document, verdict_document
from eventrunner.rules.ruleset import RuleFailure, RuleSet, Verdict, combine, compile_rules

__all__ = [
    "Emitted",
    "Explanation",
    "KnowledgeBase",
    "Limits",
    "Outcome",
    "Problem",
    "ProblemKind",
    "RuleFailure",
    "RuleSet",
    "RuleSyntaxError",
    "Verdict",
    "as_grl",
    "combine",
    "compile_rules",
    "explain",
    "explanation_document",
    "json_to_grl",
    "verdict_document",
    "warnings_of",
]
