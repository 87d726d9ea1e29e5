"""What the pictures of a fitted estimator are drawn from, as it goes from the trainer to the process that draws."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line imports this at its start
    from trainer.data.table import Split, Task
    from trainer.fit.evaluation import Evaluation

# A curve through more held-out rows looks the same, and takes longer.
MOST_POINTS = 20_000
# Importance and the learning curve predict and fit again and again: on this many rows, and the title says so.
MOST_ROWS = 2_000


@dataclass(frozen=True)
class Subject:
    """What the pictures of a fitted estimator show."""

    estimator: Any
    rows: "Split"
    """MOST_ROWS of those that it was fitted on, MOST_POINTS of those held out"""
    train_rows: int
    """how many it was fitted on"""
    evaluation: "Evaluation"
    task: "Task"
    class_names: list[str] | None
    fit_seconds: float
    """what fitting on all of them took"""
