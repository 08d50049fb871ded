"""The rule engine: Grule's rule language (GRL) on events. No I/O, no state between events."""

from eventrunner.rules.context import Emitted
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.limits import Limits
from eventrunner.rules.ruleset import RuleFailure, RuleSet, Verdict, combine, compile_rules

__all__ = [
    "Emitted",
    "Limits",
    "Problem",
    "ProblemKind",
    "RuleFailure",
    "RuleSet",
    "RuleSyntaxError",
    "Verdict",
    "combine",
    "compile_rules",
]
