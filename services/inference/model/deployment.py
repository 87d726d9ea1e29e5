"""What answers: a model, the version that it is, and since when."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from urllib.parse import quote

from inference.model.model import Model, Prediction
from inference.model.version import ModelVersion
from inference.rows import Rows


class Watch(Protocol):
    """What watches over a challenger while it answers requests (inference.challenger.guard)."""

    champion: "Deployment"
    """who answers where it does not"""

    def failed(self, error: Exception) -> None: ...

    def compare(self, rows: Rows, prediction: Prediction, seconds: float) -> None: ...


@dataclass(frozen=True)
class Deployment:
    """A model, the version it is, and since when it answers."""

    model: Model
    version: ModelVersion
    metrics: dict[str, float]
    since: str
    watch: Watch | None = None
    """of a challenger that answers a share of the requests, else None"""

    @cached_property
    def labels(self) -> tuple[str, str]:
        """Which model and version it is, for metrics."""
        return self.version.name, self.version.version

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """What every answer says about who gave it."""
        return headers_of(*self.labels)


def headers_of(name: str, version: str) -> list[tuple[str, str]]:
    """Return what answers say about a model and its version; names outside of ASCII are percent-encoded."""
    return [("X-Model-Name", quote(name, safe=" ()[]")), ("X-Model-Version", version)]
