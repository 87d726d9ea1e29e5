"""Tables for tests, made of numbers that are the same each time."""

from pathlib import Path

import numpy as np
import pandas as pd
from trainer.data.table import Table, read


def people(rows: int = 200) -> pd.DataFrame:
    """Return rows with numbers, booleans and text, missing values among them, and a target that they tell something of."""
    draws = np.random.default_rng(0)
    age = draws.integers(18, 80, rows).astype(float)
    city = draws.choice(np.array(["Bern", "Oslo", "Rome", None], dtype=object), rows)
    chance = 1 / (1 + np.exp(-(age - 45) / 10 - (city == "Rome")))
    frame = pd.DataFrame(
        {
            "age": age,
            "income": draws.normal(50_000, 9_000, rows).round(2),
            "member": draws.choice([True, False], rows),
            "maybe": draws.choice(np.array([True, False, None], dtype=object), rows),
            "city": city,
            "stays": np.where(draws.random(rows) < chance, "yes", "no"),
        }
    )
    frame.loc[3, "income"] = np.nan
    return frame


def written(folder: Path, frame: pd.DataFrame, target: str = "stays", name: str = "people") -> Table:
    """Write the rows as a CSV file and read them back as the trainer does."""
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return read(path, target)
