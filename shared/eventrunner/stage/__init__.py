"""Makes functions-framework functions: out of `handle(batch) -> outcomes`, and out of HTTP routes."""

from eventrunner.stage.batch import Batch
from eventrunner.stage.function import Handler, Stage
from eventrunner.stage.http import HttpFunction
from eventrunner.stage.outcomes import Outcomes

__all__ = ["Batch", "Handler", "HttpFunction", "Outcomes", "Stage"]
