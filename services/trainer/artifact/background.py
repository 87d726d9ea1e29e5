"""The background: rows of the training data that stand for all others where a prediction is explained."""

from typing import Any

import pandas as pd
from contract.explanation.shapley import BACKGROUND_ROWS, MOST_COLUMNS

from trainer.artifact.golden_samples import as_json
from trainer.data.table import SEED


def background(features: pd.DataFrame) -> dict[str, Any] | None:
    """Return some of the rows as a request has them; None for a table of too many columns to be explained one by one."""
    if len(features.columns) > MOST_COLUMNS:
        return None
    return {"instances": as_json(features.sample(min(len(features), BACKGROUND_ROWS), random_state=SEED))}
