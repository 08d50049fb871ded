"""Where parsing goes on behind an error, so that all errors of a text are found at once and each is told once."""

from __future__ import annotations

from eventrunner.rules import hints
from eventrunner.rules.cursor import Cursor, Wrong

__all__ = ["Recovery"]


class Recovery:
    """Expects the fixed parts of a rule; where one is missing, finds a place behind it where the rule goes on."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def keyword_rule(self) -> None:
        """A misspelt `rule` is reported, and the rule behind it is read all the same."""
        cursor = self._cursor
        misspelt = cursor.token.kind == "name" and cursor.following.kind == "name"
        try:
            cursor.expect("rule", "'rule'")
        except Wrong:
            if not misspelt:
                raise
            cursor.advance()

    def open_body(self) -> None:
        """Where the brace is missing, goes on at the next one or at `when`."""
        cursor = self._cursor
        try:
            cursor.expect("{", "'{'")
        except Wrong:
            while cursor.token.kind not in ("{", "when", "then", "}", "end") and not self._at_rule():
                cursor.advance()
            if cursor.swallowed or cursor.token.kind not in ("{", "when"):
                raise
            if cursor.token.kind == "{":
                cursor.advance()

    def resume(self, kind: str) -> None:
        """Expects the keyword or brace; where it is missing, goes on behind the next one of this rule."""
        cursor = self._cursor
        if cursor.swallowed and cursor.token.kind in ("rule", "end"):
            raise Wrong
        try:
            cursor.expect(kind, f"'{kind}'")
        except Wrong:
            if cursor.token.kind == "name" and hints.did_you_mean(cursor.token.text, (kind,)):
                cursor.advance()
                return
            self.skip_to(kind, "rule")
            if cursor.token.kind != kind:
                raise
            cursor.advance()

    def semicolon(self) -> None:
        """A missing one is reported behind the statement, and the next statement is read."""
        cursor = self._cursor
        if cursor.token.kind == ";":
            cursor.advance()
            return
        if cursor.token.kind not in ("}", "name", "rule", "end"):
            raise cursor.unexpected("';'")
        cursor.fail("expected ';' after this", cursor.hint("';'"), at=cursor.previous.end - 1)
        if cursor.token.kind in ("rule", "end"):
            raise Wrong

    def skip_to(self, *kinds: str) -> None:
        while self._cursor.token.kind not in kinds and self._cursor.token.kind != "end":
            self._cursor.advance()

    def skip_to_rule(self) -> None:
        while self._cursor.token.kind != "end" and not self._at_rule():
            self._cursor.advance()

    def skip_statement(self) -> None:
        """To behind the next ';' or to the rule's end. Braces of other languages' blocks are passed over in pairs."""
        cursor, opened = self._cursor, 0
        while cursor.token.kind not in ("rule", "end"):
            kind = cursor.token.kind
            if kind == "}" and not opened:
                return
            opened += (kind == "{") - (kind == "}")
            cursor.advance()
            if not opened and (kind == ";" or (kind == "}" and cursor.token.kind != ";")):
                return

    def _at_rule(self) -> bool:
        """Whether a rule begins here; `rule` in any case may also be part of a name that cannot be one."""
        return self._cursor.token.kind == "rule" and self._cursor.following.kind in ("name", "string")
