"""The policy for WebAssembly where the command line can have it: in a clone of the project."""

from __future__ import annotations

from importlib.util import find_spec

from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.errors import ConfigurationError
from eventrunner.local.project import find_project

__all__ = ["OwnSubjects", "find_wasm_policy"]


def find_wasm_policy() -> tuple[WasmPolicy | None, str]:
    """The project's policy, or why there is none."""
    if find_spec("regopy") is None:
        return None, "regopy is not installed: pip install 'eventrunner[demo]'"
    try:
        return WasmPolicy.from_folder(find_project().policies), ""
    except ConfigurationError as error:
        return None, str(error)


class OwnSubjects:
    """In its place, of what a consumer may publish."""

    def may_publish(self, tenant: str, subject: str) -> bool:
        return subject.startswith((f"events.{tenant}.", f"results.{tenant}."))
