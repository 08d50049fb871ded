"""Makes functions-framework functions out of `handle(batch) -> outcomes`; `stage.http` does it out of HTTP routes."""

from eventrunner.stage.batch import UNPACK_LIMIT, Batch, unpacked_events
from eventrunner.stage.function import Handler, Stage
from eventrunner.stage.outcomes import Outcomes

__all__ = ["UNPACK_LIMIT", "Batch", "Handler", "Outcomes", "Stage", "unpacked_events"]
