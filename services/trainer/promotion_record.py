"""The promotion record: what a training came to, as `promotion.json` on its run has it (docs/model-contract.md)."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PromotionRecord:
    """A candidate, whom it met, what was decided by which rule, and where all of it comes from."""

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
    """the one that is compared: accuracy or r2"""
    floors: dict[str, float]
    rule: str
    margin: float
    rounds: list[dict[str, Any]]
    """what was decided against whom, in order"""
    promoted: bool
    meets_floor: bool
    reason: str
    metrics: dict[str, float]
    twin: dict[str, Any]
    """what was measured of its ONNX twin, and whether it has one"""
    git_commit: str | None
    code_sha256: str
    image: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
