"""The promotion record: what a training came to, as `promotion.json` on its run has it (docs/model-contract.md)."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any


def finite(value: Any) -> Any:
    """Return a JSON value with null in the place of each number that JSON does not have: NaN and the infinite ones."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


@dataclass(frozen=True)
class PromotionRecord:
    """A challenger, whom it met, what was decided by which rule, and where all of it comes from."""

    model_name: str
    version: str
    run_id: str
    model_id: str
    model_sha256: str
    """of what was learnt, not of the files"""
    algorithm: str
    data: dict[str, Any]
    """file, sha256 and rows"""
    attempts_on_this_data: int
    leaks: list[str]
    accept_leak: bool
    metric: str
    """the one that is judged by, as --metric names it"""
    baseline: dict[str, Any]
    """what it is of answers that look at no feature: `answer` in words and `value`; whether that is the threshold"""
    positive: Any
    """the label that is looked for, None unless there are two"""
    decision_threshold: float | None
    """how likely the positive class has to be for it to be said, None for the likelier of the classes"""
    thresholds: dict[str, float]
    rule: str
    margin: float
    rounds: list[dict[str, Any]]
    """what was decided against whom, in order"""
    promoted: bool
    meets_threshold: bool
    reason: str
    metrics: dict[str, float]
    onnx_engine: dict[str, Any]
    """what was measured of its ONNX engine, and whether it has one"""
    git_commit: str | None
    code_sha256: str
    image: str | None
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    """the algorithms that competed, as `compare --json` tells it; empty where there was one"""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = finite(asdict(self))
        return found
