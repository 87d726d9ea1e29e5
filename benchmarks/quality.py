"""How good the model is that the trainer chooses by itself, beside FLAML and skrub's defaults, on the same rows.

    .venv/bin/python benchmarks/quality.py          all tables, some ten minutes; writes benchmarks/quality.md

Ten tables, bundled with scikit-learn or made here. The trainer chooses among its algorithms with their defaults, by five folds of
the rows that it fits on, which is what `compare` and `train --algorithm … --algorithm …` do. FLAML gets the same rows and as many
seconds as that took (five at least), skrub's default pipeline the same rows. All are measured on the rows that the trainer holds
out. Equal is what is within two standard errors of the difference, by resampling those rows. Needs build/quality, an environment
that it makes itself.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENT = ROOT / "build" / "quality"
RESULT = ROOT / "benchmarks" / "quality.md"
LEAST_SECONDS = 5.0
RESAMPLED = 300
METRICS: dict[str, tuple[str, Callable[..., float]]] = {
    "binary": ("roc_auc", roc_auc_score),
    "classes": ("accuracy", accuracy_score),
    "regression": ("r2", r2_score),
}


@dataclass(frozen=True)
class Result:
    """What a tool came to on a table: answers to the rows that nobody fitted on."""

    answers: np.ndarray
    seconds: float
    words: str = ""


def main() -> None:
    """Measure all tables, and write the page."""
    _make_environment()
    lines, wins = [], dict.fromkeys(("flaml", "skrub"), 0)
    tables = _tables()
    for name, (frame, target, task) in tables.items():
        with tempfile.TemporaryDirectory() as folder:
            row = _measured(name, frame, target, task, Path(folder), wins)
        print(row, flush=True)
        lines.append(row)
    RESULT.write_text(_page(lines, wins, len(tables)))


def _measured(name: str, frame: pd.DataFrame, target: str, task: str, folder: Path, wins: dict[str, int]) -> str:
    metric, score = METRICS[task]
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    ours, train, test = _ours(path, target, metric, task)
    raw = pd.read_csv(path)
    truth = raw.loc[test, target].to_numpy()
    raw.loc[train].to_parquet(folder / "train.parquet")
    raw.loc[test].to_parquet(folder / "test.parquet")
    cells = [
        f"| {name} | {len(frame):,} x {len(frame.columns) - 1} | {metric} | {score(truth, ours.answers):.4f} ({ours.words})"
    ]
    for tool in wins:
        peer = _peer(tool, folder, target, task, max(ours.seconds, LEAST_SECONDS))
        difference, error = _difference(truth, ours.answers, peer.answers, score)
        is_worse = difference < -2 * error
        wins[tool] += not is_worse
        verdict = "worse" if is_worse else "better" if difference > 2 * error else "equal"
        cells.append(f"{score(truth, peer.answers):.4f}, {peer.seconds:.0f} s: {verdict}")
    return " | ".join([*cells, f"{ours.seconds:.0f} s |"])


def _ours(path: Path, target: str, metric: str, task: str) -> tuple[Result, pd.Index, pd.Index]:
    sys.path.insert(0, str(ROOT / "services"))
    from trainer.console.terminal import Console
    from trainer.data.table import read, split
    from trainer.experiment import Plan
    from trainer.fit import algorithms, model_selection

    began = time.perf_counter()
    table = read(path, target)
    rows = split(table)
    names = algorithms.all_for(table.task)
    plan = Plan(data=str(path), target=target, metric=metric, algorithm=names, model_name=path.stem)
    choice = replace(model_selection.Choice.of(plan, table), ranked=True)
    results = model_selection.choose(choice, table, rows, Console(file=StringIO()))
    best = next(each for each in choice.algorithms if each.name == results[0].name)
    fitted = model_selection.prepared(best, table, rows).fit(rows.train_features, rows.train_target)
    seconds = time.perf_counter() - began
    asked = rows.test_features
    answers = fitted.predict_proba(asked)[:, -1] if task == "binary" else fitted.predict(asked)
    result = Result(np.asarray(answers), seconds, best.name)
    return result, rows.train_features.index, rows.test_features.index


def _peer(tool: str, folder: Path, target: str, task: str, seconds: float) -> Result:
    program = [str(ENVIRONMENT / "bin" / "python"), str(PEERS / "automl.py")]
    command = [*program, tool, "train.parquet", "test.parquet", target, task]
    ended = subprocess.run([*command, str(seconds)], cwd=folder, capture_output=True, text=True, timeout=600)
    if ended.returncode:
        raise SystemExit(f"{tool} failed:\n{ended.stderr[-2000:]}")
    found = json.loads(ended.stdout.splitlines()[-1])
    return Result(np.asarray(found["answers"]), found["seconds"])


def _difference(truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, score: Any) -> tuple[float, float]:
    """Return by how much ours are better, and the standard error of that, by resampling the rows."""
    draws = np.random.default_rng(0)
    found: list[float] = []
    while len(found) < RESAMPLED:
        chosen = draws.integers(0, len(truth), len(truth))
        if score is not roc_auc_score or len(set(truth[chosen])) == 2:
            found.append(score(truth[chosen], ours[chosen]) - score(truth[chosen], theirs[chosen]))
    return score(truth, ours) - score(truth, theirs), float(np.std(found))


# --- the tables -----------------------------------------------------------------------------------------------------


def _tables() -> dict[str, tuple[pd.DataFrame, str, str]]:
    """Return each table with its target and its task."""
    bundled = {
        "wine": (datasets.load_wine(as_frame=True).frame, "target", "classes"),
        "breast_cancer": (datasets.load_breast_cancer(as_frame=True).frame, "target", "binary"),
        "digits": (datasets.load_digits(as_frame=True).frame, "target", "classes"),
        "diabetes": (datasets.load_diabetes(as_frame=True, scaled=False).frame, "target", "regression"),
    }
    made = {
        "friedman": (_friedman(), "y", "regression"),
        "linear": (_linear(), "y", "regression"),
        "imbalanced": (_imbalanced(), "fraud", "binary"),
        "orders": (_orders(), "returned", "binary"),
        "rents": (_rents(), "rent", "regression"),
        "tickets": (_tickets(), "team", "classes"),
    }
    return bundled | made


def _numbered(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values.round(4), columns=[f"x{number}" for number in range(values.shape[1])])


def _friedman() -> pd.DataFrame:
    x, y = datasets.make_friedman1(2000, noise=1.0, random_state=0)
    return _numbered(x).assign(y=y.round(4))


def _linear() -> pd.DataFrame:
    x, y = datasets.make_regression(600, 60, n_informative=15, noise=30.0, random_state=0)
    return _numbered(x).assign(y=y.round(3))


def _imbalanced() -> pd.DataFrame:
    x, y = datasets.make_classification(
        6000, 15, n_informative=6, weights=[0.97], flip_y=0.005, class_sep=0.9, random_state=0
    )
    return _numbered(x).assign(fraud=np.where(y == 1, "yes", "no"))


def _orders(rows: int = 4000) -> pd.DataFrame:
    """Categories (one of many values), a date, missing values: what is sent back depends on all of them."""
    draws = np.random.default_rng(0)
    article = draws.integers(0, 300, rows)
    quality = draws.normal(0, 1, 300)[article]
    ordered = pd.Timestamp("2025-01-01") + pd.to_timedelta(draws.integers(0, 365, rows), "D")
    size = draws.choice(["S", "M", "L", "XL", None], rows)  # type: ignore[arg-type]
    price = draws.lognormal(3.5, 0.7, rows).round(2)
    raw = 1.2 * quality + 0.8 * (size == "XL") - 0.6 + 0.9 * np.isin(ordered.month, (12, 1)) + 0.3 * np.log(price / 33)
    return pd.DataFrame(
        {
            "article": [f"A{number:03d}" for number in article],
            "ordered": ordered.strftime("%Y-%m-%d"),
            "size": size,
            "price": np.where(draws.random(rows) < 0.08, np.nan, price),
            "country": draws.choice(["DE", "AT", "CH", "NL"], rows),
            "returned": np.where(draws.random(rows) < 1 / (1 + np.exp(-raw)), "yes", "no"),
        }
    )


def _rents(rows: int = 3000) -> pd.DataFrame:
    draws = np.random.default_rng(1)
    area, rooms = draws.gamma(6, 12, rows).round(1), draws.integers(1, 6, rows)
    district = draws.integers(0, 25, rows)
    level = draws.normal(12, 2.5, 25)[district]
    built = draws.integers(1890, 2024, rows)
    rent = area * level * (1 - 0.15 * (built < 1950)) + 40 * rooms + draws.normal(0, 60, rows)
    return pd.DataFrame(
        {
            "area": area,
            "rooms": rooms,
            "district": [f"district {number}" for number in district],
            "built": np.where(draws.random(rows) < 0.1, np.nan, built),
            "balcony": draws.random(rows) < 0.4,
            "rent": rent.round(0),
        }
    )


def _tickets(rows: int = 1200) -> pd.DataFrame:
    """Free text: who is to answer it shows in some of its words."""
    draws = np.random.default_rng(2)
    words = {
        "billing": ["invoice", "refund", "payment", "charged", "price"],
        "account": ["password", "login", "locked", "email", "account"],
        "shipping": ["parcel", "delivery", "late", "address", "courier"],
    }
    common = ["please", "help", "the", "since", "yesterday", "my", "order", "again", "with", "thanks", "still", "not"]
    teams = draws.choice(list(words), rows)
    texts = []
    for team in teams:
        told = draws.choice(words[team] if draws.random() < 0.9 else words["billing"], draws.integers(1, 3))
        said = [*told, *draws.choice(common, draws.integers(5, 14))]
        texts.append(" ".join(draws.permutation(said)))
    return pd.DataFrame({"message": texts, "priority": draws.choice(["low", "high"], rows), "team": teams})


# --- the environment and the page -----------------------------------------------------------------------------------


def _make_environment() -> None:
    uv = Path(sys.executable).with_name("uv")
    if not (ENVIRONMENT / "bin" / "python").exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, ENVIRONMENT], check=True)
    python, lock = str(ENVIRONMENT / "bin" / "python"), str(PEERS / "quality.txt")
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock], check=True)


def _page(lines: list[str], wins: dict[str, int], count: int) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"""# Quality of what is chosen

This page compares the model that `compare` would choose with FLAML and with skrub's default pipeline. Made by
`benchmarks/quality.py` at {commit}, which says how. Figures are of the rows that nobody fitted on.

Not worse than FLAML on {wins["flaml"]} of {count} tables, not worse than skrub on {wins["skrub"]}.

| table | size | figure | the trainer's choice | FLAML, as many seconds | skrub | the trainer's time |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
