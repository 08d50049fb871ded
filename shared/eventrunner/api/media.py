"""Which of the media types on offer a caller wants."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["CSV", "HTML", "JSON", "choose_media"]

JSON, CSV, HTML = "application/json", "text/csv", "text/html"
_FORMATS = {"json": JSON, "csv": CSV, "html": HTML}


def choose_media(request: Request, offered: Sequence[str]) -> str:
    """By `?format=`, else by Accept; the first on offer where that names none of them. Raises InvalidInput."""
    name = request.args.get("format")
    if name is None:
        return request.accept_mimetypes.best_match(offered) or offered[0]
    media = _FORMATS.get(name)
    if media is None or media not in offered:
        known = ", ".join(name for name, media in _FORMATS.items() if media in offered)
        raise InvalidInput(f"There is no format {name!r} here.", (FieldError("format", f"one of {known}"),))
    return media
