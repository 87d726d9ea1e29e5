"""Drawn rows of three features, with targets of two classes, of many and of quantities that they tell something of."""

from pathlib import Path

import numpy as np
import pandas as pd
from trainer.data.table import Table

from tests.unit.tables import written

DRAWS = np.random.default_rng(3)
X = pd.DataFrame(DRAWS.normal(size=(240, 3)), columns=["a", "b", "c"])
SCORES = X["a"] + 0.7 * DRAWS.normal(size=240)
BINARY = pd.Series(np.where(SCORES > 0.3, "won", "lost"), name="y")
MANY = pd.Series(np.digitize(SCORES, [-0.5, 0.5]), name="y")
QUANTITY = pd.Series(np.exp(SCORES), name="y")


def table(folder: Path, target: pd.Series) -> Table:
    """Write the features with a target as a CSV file and read them back as the trainer does."""
    return written(folder, X.assign(y=target), "y", "drawn")
