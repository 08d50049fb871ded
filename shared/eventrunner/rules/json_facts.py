"""Facts of plain JSON under any names, as in Grule's AddJSON: what `eventrunner rules run` evaluates."""

from __future__ import annotations

from eventrunner.rules.emitter import Code, Constants, Function
from eventrunner.rules.nodes import Index, Member, Root

__all__ = ["JsonFacts"]


class JsonFacts:
    def __init__(self, constants: Constants) -> None:
        self.constants = constants

    def read(self, node: Root | Member | Index, function: Function) -> Code | None:
        return None

    def root(self, name: str, function: Function) -> Code:
        function.needs.add("facts")
        missing = self.constants.failure(f"there is no fact {name}")
        return Code(f"facts.get({self.constants.name(name)}, {missing})", depth=1)
