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


def customers(rows: int = 400) -> pd.DataFrame:
    """Return what a shop knows of its customers, raw: an id, a date, postcodes, house numbers, gaps written as "?", notes."""
    draws = np.random.default_rng(1)
    joined = pd.Timestamp("2019-01-01") + pd.to_timedelta(draws.integers(0, 2000, rows), "D")
    is_angry = draws.random(rows) < 0.4
    who = draws.choice(["Anna", "Bob", "Carla", "Deniz", "Eva"], rows)
    angry = draws.choice(["wants to cancel the contract", "is unhappy with the price"], rows)
    calm = draws.choice(["asked about a new router", "moved to another town"], rows)
    note = [
        f"{name} called at minute {minute} and {one if is_one else other}"
        for name, minute, is_one, one, other in zip(
            who, draws.integers(0, 9999, rows), is_angry, angry, calm, strict=True
        )
    ]
    chance = 1 / (1 + np.exp(4 - 5 * is_angry - (joined.year - 2020).to_numpy()))
    return pd.DataFrame(
        {
            "CustomerId": draws.permutation(rows) * 7 + 100_000,
            "SignupDate": joined.strftime("%Y-%m-%d"),
            "Plan": draws.choice(["Basic", "Plus", "Premium"], rows),
            "PostCode": draws.choice(["01067", "10115", "80331", "20095"], rows),
            "HouseNo": draws.choice(["12", "12a", "7", "44"], rows),
            "Income": np.where(draws.random(rows) < 0.1, "?", draws.normal(40_000, 9_000, rows).round().astype(str)),
            "Note": np.where(draws.random(rows) < 0.05, None, note),  # type: ignore[call-overload]
            "Churn": np.where(draws.random(rows) < chance, "Yes", "No"),
        }
    )
