"""Where a project of EventRunner lies: the manifests, and the functions, policies and rules beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eventrunner.errors import ConfigurationError

__all__ = ["Project", "find_project"]

_BASE = Path("knative", "base")


@dataclass(frozen=True, slots=True)
class Project:
    root: Path
    manifests: Path

    @property
    def policies(self) -> Path:
        return self.root / "policies"

    @property
    def consumer_template(self) -> Path:
        """What each tenant's consumer is made of."""
        return self.manifests.parent / "templates" / "tenant-consumer.yaml"

    def function(self, name: str) -> Path:
        """`main.py` of a function, by the name that its image has. Raises ConfigurationError if there is none."""
        main = self.root / "functions" / name.replace("-", "_") / "main.py"
        if not main.is_file():
            raise ConfigurationError(f"Knative Service {name} has no function: {main} does not exist.")
        return main


def find_project(manifests: Path | None = None) -> Project:
    """The project of the given folder of manifests, else the one this package lies in, else that of the current folder.

    Raises ConfigurationError if there is none.
    """
    if manifests is not None:
        return _project_of(manifests.resolve())
    for start in (Path(__file__).resolve(), Path.cwd() / "."):
        for folder in start.parents:
            if (folder / _BASE).is_dir() and (folder / "functions").is_dir():
                return Project(folder, folder / _BASE)
    raise ConfigurationError(
        "No knative/base with functions beside it was found: run in a project, or use --manifests."
    )


def _project_of(manifests: Path) -> Project:
    if not manifests.is_dir():
        raise ConfigurationError(f"The folder of manifests does not exist: {manifests}.")
    for folder in manifests.parents:
        if (folder / "functions").is_dir():
            return Project(folder, manifests)
    raise ConfigurationError(f"None of the folders above {manifests} has a folder `functions`.")
