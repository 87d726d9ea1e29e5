"""The models that are served: trained by the trainer, into a registry in a folder, and exported for the peers."""

import contextlib
import csv
import datetime
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXPORT = Path(__file__).resolve().parent / "peers" / "export.py"
MIXED_ROWS = 600
WORDS = [
    "asked",
    "called",
    "late",
    "bill",
    "price",
    "wrong",
    "slow",
    "support",
    "friendly",
    "again",
    "moved",
    "cheaper",
]
# What must not reach a process from the shell that started the bench.
OURS = ("MLFLOW_", "MODEL_", "INFERENCE_", "DATA_DIR", "MIN_TEST_ACCURACY", "PYTHONPATH")


@dataclass(frozen=True)
class Trained:
    """A version in Production, with rows and scikit-learn's own answers to them."""

    name: str
    folder: Path
    columns: list[str]
    rows: list[list[Any]]
    predictions: list[Any]

    @property
    def files(self) -> Path:
        """The version as MLflow logged it."""
        return self.folder / "files"

    @property
    def estimator(self) -> Path:
        return self.folder / "model.joblib"

    def question(self, size: int) -> tuple[list[list[Any]], list[Any]]:
        """Return as many rows, the first one with a missing value where there are any, and their answers."""
        start = next((number for number, row in enumerate(self.rows) if None in row), 0)
        chosen = [(start + number) % len(self.rows) for number in range(size)]
        return [self.rows[number] for number in chosen], [self.predictions[number] for number in chosen]


class Workshop:
    """A folder with a registry, keys and data of its own."""

    def __init__(self, folder: Path, services: Path) -> None:
        self.folder, self._services = folder, services
        self._data = folder / "data"
        self._data.mkdir()
        self._private, self._public = folder / "keys" / "signing-key.pem", folder / "keys" / "signing-key.pub"
        sys.path.insert(0, str(ROOT / "scripts"))
        from embedded import make_keys

        os.chdir(ROOT)  # it finds the services from there
        make_keys(self._private, self._public)

    def environ(self, **settings: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        own = {
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
            "PYTHONPATH": str(self._services),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MODEL_CACHE_DIR": str(self.folder / "cache"),
            "DATA_DIR": str(self._data),
            "SIGNING_KEY_FILE": str(self._private),
            "VERIFYING_KEY_FILE": str(self._public),
            "MIN_TEST_ACCURACY": "0",
            "MPLBACKEND": "agg",
        }
        return kept | own | settings

    def iris(self) -> Trained:
        shutil.copy(ROOT / "data" / "iris_dataset.csv", self._data)
        return self._trained("iris_logistic_regression", "iris_dataset.csv")

    def train_again(self, model: Trained) -> None:
        """Add a version that is equal to the one in Production, and not promoted."""
        self._run("-m", "trainer", "train", "--model-name", model.name)

    def move_alias(self, model: Trained, number: int) -> None:
        """Do what MLflow's client does in the end, without the work before it, which would take time from the servers."""
        query = "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = 'Production'"
        with contextlib.closing(sqlite3.connect(self.folder / "mlflow.db")) as database, database:
            database.execute(query, (number, model.name))

    def forest(self) -> Trained:
        options = ("--dataset", "wine", "--algorithm", "random_forest", "--param", "n_estimators=100")
        return self._trained("wine_random_forest", "wine_dataset.csv", *options)

    def mixed(self) -> Trained:
        write_mixed(self._data / "mixed.csv")
        return self._trained("mixed_logistic_regression", "mixed.csv", "--data", "mixed.csv", "--target", "left")

    def dated(self) -> Trained:
        """Train on a table with a date and free text beside the numbers."""
        write_mixed(self._data / "dated.csv", dates_and_text=True)
        return self._trained("dated_logistic_regression", "dated.csv", "--data", "dated.csv", "--target", "left")

    def boosted(self) -> Trained:
        options = ("--dataset", "wine", "--algorithm", "xgboost", "--param", "n_estimators=100")
        return self._trained("wine_xgboost", "wine_dataset.csv", *options)

    def _trained(self, name: str, data: str, *options: str) -> Trained:
        folder = self.folder / name
        folder.mkdir()
        self._run("-m", "trainer", "train", "--model-name", name, *options)
        self._run(str(EXPORT), name, str(self._data / data), str(folder))
        questions = json.loads((folder / "questions.json").read_text())
        return Trained(name, folder, **questions)

    def _run(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        result = subprocess.run(command, env=self.environ(), cwd=self.folder, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{' '.join(arguments)}\n{result.stdout}{result.stderr}")


def write_mixed(path: Path, dates_and_text: bool = False) -> None:
    """Write a table of texts and of numbers that are missing in places, the same one each time."""
    draws = random.Random(0)  # noqa: S311 - data, not secrets
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["age", "income", "months", "city", "plan", *["since", "note"] * dates_and_text, "left"])
        for _ in range(MIXED_ROWS):
            age, income, months = draws.uniform(18, 80), draws.lognormvariate(10, 0.5), draws.uniform(0, 60)
            city, plan = draws.choice(["Basel", "Bern", "Genf", "Lugano", "Zug"]), draws.choice(["S", "M", "L"])
            left = draws.random() < 1 / (1 + 2.7 ** (months / 10 - 2 - (plan == "S")))
            numbers = [f"{number:.1f}" if draws.random() > 0.1 else "" for number in (age, income, months)]
            more = _date_and_note(draws) if dates_and_text else []
            table.writerow([*numbers, city, plan, *more, int(left)])


def _date_and_note(draws: random.Random) -> list[str]:
    """Return the day of a contract, and eight words that somebody wrote about it."""
    day = datetime.date(2020, 1, 1) + datetime.timedelta(days=draws.randrange(2000))
    return [day.isoformat(), " ".join(draws.choices(WORDS, k=8))]
