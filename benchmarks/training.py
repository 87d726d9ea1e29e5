"""Measure the trainer beside a plain script that does only the fit and the logging: `make benchtrainer`.

Writes benchmarks/training.md and benchmarks/growth.png. No Docker: both run on SQLite, in the same environment, in turns.
With names of sections, such as `python benchmarks/training.py reading leaderboard`, it only prints these.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
BARE = str(ROOT / "benchmarks" / "bare_table.py")
sys.path.insert(0, str(ROOT / "scripts"))
sys.path.insert(0, str(ROOT / "services"))
REPEATS = 3
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = 20
SEARCH_TRIALS = 50
# How often the memory of a command and its children is looked at.
LOOK_SECONDS = 0.1


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        environ = prepare(Path(folder))
        sections = [header()]
        parts = (iris, growth, reading, leaderboard, search, imports)
        wanted = sys.argv[1:]
        for part in (part for part in parts if not wanted or part.__name__ in wanted):
            print(f"{time.strftime('%T')} {part.__name__}", flush=True)
            sections.append(part(environ))
            print(f"\n{sections[-1]}", flush=True)
    if not wanted:
        (ROOT / "benchmarks" / "training.md").write_text("\n".join(sections))


def prepare(folder: Path) -> dict[str, str]:
    """Make data, keys and a registry, warmed up by a first training of each."""
    from embedded import make_keys

    (folder / "data").mkdir()
    (folder / "data" / "iris_dataset.csv").write_bytes((ROOT / "data" / "iris_dataset.csv").read_bytes())
    keys = folder / "keys"
    make_keys(keys / "signing-key.pem", keys / "signing-key.pub")
    environ = os.environ | {
        "PYTHONPATH": str(ROOT / "services"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DATA_DIR": str(folder / "data"),
        "SIGNING_KEY_FILE": str(keys / "signing-key.pem"),
        "MIN_TEST_ACCURACY": "0",
        "MPLBACKEND": "agg",
    }
    measured(ours("iris_dataset.csv"), environ)
    measured(bare("iris_dataset.csv"), environ)
    return environ


def ours(file: str) -> list[str]:
    name = file.removesuffix(".csv")
    return [sys.executable, "-m", "trainer", "train", "--data", file, "--model-name", name, "--no-promote"]


def bare(file: str) -> list[str]:
    return [sys.executable, BARE, f"data/{file}", "target"]


def measured(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return seconds and peak memory in MB of a command that must succeed."""
    start, most = time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+") as words:
        with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=words) as process:
            while process.poll() is None:
                most = max(most, resident(process.pid))
                time.sleep(LOOK_SECONDS)
            took = time.monotonic() - start
        if process.returncode:
            words.seek(0)
            sys.exit(words.read())
    return took, most


def resident(pid: int) -> float:
    """Return what a process and its children have in memory, in MB (PSS: what they share counts once)."""
    try:
        status = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("Pss:")), 0.0)
    return own + sum(resident(int(child)) for child in children)


def both(file: str, environ: dict[str, str], repeats: int) -> tuple[float, float, float, float]:
    """Return the medians of seconds and MB, ours and the script's, taken in turns."""
    pairs = [(measured(ours(file), environ), measured(bare(file), environ)) for _ in range(repeats)]
    ours_seconds, ours_mb, bare_seconds, bare_mb = map(statistics.median, zip(*(a + b for a, b in pairs), strict=True))
    return ours_seconds, ours_mb, bare_seconds, bare_mb


def header() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("mlflow", "scikit-learn", "pandas", "optuna"))
    return (
        f"# The trainer, measured\n\n{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}; {packages}.\nMade by `make benchtrainer`, beside a plain "
        "script that does only `read_csv`, the same fit, `predict` and the logging, in the same run.\n"
    )


def iris(environ: dict[str, str]) -> str:
    mine, my_memory, theirs, their_memory = both("iris_dataset.csv", environ, REPEATS)
    return (
        f"## `train` on iris, end to end (median of {REPEATS})\n\n| what | seconds | ratio | peak MB | ratio |\n"
        f"|---|---|---|---|---|\n| `train` | {mine:.1f} | {mine / theirs:.2f} | {my_memory:.0f} | "
        f"{my_memory / their_memory:.2f} |\n| the script | {theirs:.1f} | 1 | {their_memory:.0f} | 1 |\n\n"
        "Goal: at most 1.3 times the time. The memory is that of the process and its children, of which `train` has one: the "
        "pictures are drawn beside the training, on the other core.\n"
    )


def growth(environ: dict[str, str]) -> str:
    lines, figures = [], []
    for size in SIZES:
        write_table(size)
        repeats = REPEATS if size < SIZES[-1] else 2
        mine, my_memory, theirs, their_memory = both(f"rows_{size}.csv", environ, repeats)
        figures.append((mine, theirs))
        lines.append(
            f"| {size:,} | {mine:.1f} | {theirs:.1f} | {mine / theirs:.2f} | {my_memory:.0f} | {their_memory:.0f} | "
            f"{my_memory / their_memory:.2f} |"
        )
        Path("data", f"rows_{size}.csv").unlink()
    draw(figures)
    return (
        f"## From {SIZES[0]:,} to {SIZES[-1]:,} rows of {COLUMNS} columns\n\n"
        "| rows | `train`, s | script, s | ratio | `train`, peak MB | script, peak MB | ratio |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n\n![seconds against rows](growth.png)\n\nGoal for the last line: at most 1.2 times the time and 1.5 times the memory.\n"
    )


def write_table(rows: int) -> None:
    draws = np.random.default_rng(0)
    features = draws.normal(size=(rows, COLUMNS))
    chance = 1 / (1 + np.exp(-features[:, :5].sum(axis=1)))
    frame = pd.DataFrame(features, columns=[f"x{number}" for number in range(COLUMNS)])
    frame.assign(target=(draws.random(rows) < chance).astype(int)).to_csv(f"data/rows_{rows}.csv", index=False)


def draw(figures: list[tuple[float, float]]) -> None:
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.loglog(SIZES, [mine for mine, _ in figures], "o-", label="train")
    axes.loglog(SIZES, [theirs for _, theirs in figures], "o--", label="plain script")
    axes.set(title=f"End to end, {COLUMNS} columns, logistic regression", xlabel="rows", ylabel="seconds")
    axes.legend()
    figure.savefig(ROOT / "benchmarks" / "growth.png")


READ = {
    "pandas.read_csv": """
import sys, time, pandas as pd
name = sys.argv[1]
people = {"sep": ";", "decimal": ",", "thousands": "."} if name.startswith("people") else {}
start = time.monotonic()
frame = pd.read_csv(name, parse_dates=["day"], date_format="ISO8601", **people)
for column in [column for column in frame if column.startswith("price")]:
    texts = frame[column].str.removesuffix(" €").str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    frame[column] = texts.astype(float)
print(time.monotonic() - start)
""",
    "the trainer": """
import sys, time
from pathlib import Path
from trainer.data.table import look_at
head = Path("head.csv")
with open(sys.argv[1]) as file:
    head.write_text("".join(next(file) for _ in range(2000)))
look_at(head, "y")  # imports what reading needs
start = time.monotonic()
look = look_at(Path(sys.argv[1]), "y")
took = time.monotonic() - start
assert not look.faults and [column.kind for column in look.table.columns].count("double") == 15, look.faults
print(took)
""",
}


def reading(environ: dict[str, str]) -> str:
    lines = []
    for name, write in (("plain.csv", write_plain), ("people.csv", write_people)):
        write(name)
        took = {who: [timed(code, [name], environ) for _ in range(REPEATS)] for who, code in READ.items()}
        theirs, mine = (statistics.median(seconds) for seconds in took.values())
        lines.append(f"| {name} | {theirs:.2f} | {mine:.2f} | {mine / theirs:.2f} |")
        Path(name).unlink()
    return (
        f"## Reading {SIZES[-1]:,} rows of 20 columns and telling them apart (median of {REPEATS})\n\n"
        "| file | pandas, s | trainer, s | ratio |\n|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n\nBoth files have 12 columns of fractions, "
        "3 of whole numbers, 3 of text, a date and a target; in `people.csv` six of them are written `1.234,56 €`, six with a decimal "
        "comma. pandas is told separator, decimal mark, mark of thousands and date, and its columns with € are converted by three lines. "
        "The trainer finds all that by itself, and takes the file's digest. Goal: at most 1.3 times.\n"
    )


def timed(code: str, arguments: list[str], environ: dict[str, str]) -> float:
    """Return the seconds that a script prints."""
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout)


def mixed() -> pd.DataFrame:
    """Return a table of all that is common: fractions, whole numbers, categories, names, a date."""
    draws, rows = np.random.default_rng(0), SIZES[-1]
    columns: dict[str, object] = {f"x{number}": draws.normal(size=rows).round(6) for number in range(12)}
    columns |= {f"n{number}": draws.integers(0, 10 ** (number + 2), rows) for number in range(3)}
    columns["city"] = draws.choice(["Bern", "Oslo", "Rome", "Paris", "Wien"], rows)
    columns["plan"] = draws.choice([f"plan {number}" for number in range(40)], rows)
    columns["user"] = np.char.add("u", draws.integers(0, 50_000, rows).astype(str))
    columns["day"] = (np.datetime64("2020-01-01") + draws.integers(0, 2000, rows)).astype(str)
    return pd.DataFrame({**columns, "y": draws.integers(0, 2, rows)})


def write_plain(name: str) -> None:
    mixed().to_csv(name, index=False)


def write_people(name: str) -> None:
    frame = mixed()
    marks = str.maketrans(",.", ".,")
    prices = {f"x{number}": frame[f"x{number}"] * 5000 for number in range(6)}
    written = {column: values.map("{:,.2f} €".format).str.translate(marks) for column, values in prices.items()}
    frame = frame.assign(**written).rename(columns={column: f"price{column[1:]}" for column in written})
    frame.to_csv(name, index=False, sep=";", decimal=",")


SIX = {
    "sklearn.linear_model.LogisticRegression": {"max_iter": 1000},
    "sklearn.ensemble.RandomForestClassifier": {"random_state": 42},
    "sklearn.ensemble.ExtraTreesClassifier": {"random_state": 42},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"random_state": 42},
    "sklearn.neighbors.KNeighborsClassifier": {},
    "sklearn.naive_bayes.GaussianNB": {},
}
LEADERBOARD = {
    "the script": """
import json, sys, time
from pydoc import locate
import pandas as pd
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
six = {path: locate(path)(**given) for path, given in json.loads(sys.argv[2]).items()}
start = time.monotonic()
frame = pd.read_csv(sys.argv[1])
X, y = frame.drop(columns="y"), frame["y"]
X, _, y, _ = train_test_split(X, y, test_size=0.2, random_state=42, stratify=y)
folds = StratifiedKFold(5, shuffle=True, random_state=42)
for estimator in six.values():
    cross_val_score(estimator, X, y, cv=folds, scoring="accuracy", error_score="raise")
print(time.monotonic() - start)
""",
    "the trainer": """
import json, sys, time
from pathlib import Path
from rich.console import Console
from trainer.data.table import read, split
from trainer.fit import algorithms, metric
from trainer.fit.model_selection import Choice, choose
six = [algorithms.imported(path, given) for path, given in json.loads(sys.argv[2]).items()]
start = time.monotonic()
table = read(Path(sys.argv[1]), "y")
found = choose(Choice(six, 5, 0, None, metric.chosen("accuracy", None, table)), table, split(table), Console(stderr=True))
assert len(found) == len(six)
print(time.monotonic() - start)
""",
}
LEADERBOARD_ROWS, LEADERBOARD_COLUMNS = 20_000, 30


def leaderboard(environ: dict[str, str]) -> str:
    """Return what a leaderboard takes beside cross_val_score of the same estimators on the same folds, with the same threads."""
    from sklearn.datasets import make_classification
    from trainer.cli.imports import THREADS

    features, target = make_classification(LEADERBOARD_ROWS, LEADERBOARD_COLUMNS, n_informative=12, random_state=0)
    frame = pd.DataFrame(features, columns=[f"x{number}" for number in range(LEADERBOARD_COLUMNS)])
    frame.assign(y=target).to_csv("six.csv", index=False)
    arguments = ["six.csv", json.dumps(SIX)]
    took = {
        who: [timed(code, arguments, environ | THREADS) for _ in range(REPEATS)] for who, code in LEADERBOARD.items()
    }
    theirs, mine = (statistics.median(seconds) for seconds in took.values())
    return (
        f"## A leaderboard of {len(SIX)} algorithms on {LEADERBOARD_ROWS:,} x {LEADERBOARD_COLUMNS} (median of {REPEATS})\n\n"
        f"| what | seconds | ratio |\n|---|---|---|\n| the trainer | {mine:.1f} | {mine / theirs:.2f} |\n| a script of cross_val_score | "
        f"{theirs:.1f} | 1 |\n\nGoal: at most 1.2 times.\n"
    )


SEARCH = """
import json, sys, time
from functools import partial
import numpy as np
from optuna.distributions import FloatDistribution
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
import pandas as pd
from trainer.fit.model_selection import with_parameters
from trainer.fit.cross_validation import FoldedRows
from trainer.fit.hyperparameter_search import Effort, search
X, y = make_classification(3000, 20, n_informative=8, random_state=0)
X, y = pd.DataFrame(X), pd.Series(y)
folds = list(StratifiedKFold(3).split(X, y))
fixed = tuple({"max_features": value} for value in np.linspace(0.2, 1.0, TRIALS))
start = time.monotonic()
search(partial(with_parameters, RandomForestClassifier(n_estimators=35, random_state=0)), {"max_features": FloatDistribution(0.1, 1.0)},
       FoldedRows(X, y, folds), get_scorer("accuracy"), Effort(TRIALS, 0, int(sys.argv[1]), fixed))
print(json.dumps(time.monotonic() - start))
"""


def search(environ: dict[str, str]) -> str:
    code = SEARCH.replace("TRIALS", str(SEARCH_TRIALS))
    took = {}
    for processes in (1, 2):
        result = subprocess.run(
            [sys.executable, "-c", code, str(processes)], env=environ, check=True, capture_output=True, text=True
        )
        took[processes] = json.loads(result.stdout)
    return (
        f"## A search of {SEARCH_TRIALS} fixed trials\n\n| processes | seconds | seconds per trial | times as fast |\n|---|---|---|---|\n"
        f"| 1 | {took[1]:.1f} | {took[1] / SEARCH_TRIALS:.2f} | 1 |\n"
        f"| 2 | {took[2]:.1f} | {took[2] / SEARCH_TRIALS:.2f} | {took[1] / took[2]:.2f} |\n\n"
        "Goal: at least 1.6 times as fast on two.\n"
    )


def imports(environ: dict[str, str]) -> str:
    """Return what importing takes: each package in a process of its own, beside the whole."""
    names = ("numpy", "pandas", "sklearn.linear_model", "skops.io", "mlflow", "pandera.pandas", "matplotlib.figure", "seaborn",
             "skl2onnx", "onnxruntime", "model_signing.signing", "optuna", "trainer.commands.train")  # fmt: skip
    lines = []
    for name in names:
        code = f"import time; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"
        times = [
            float(
                subprocess.run(
                    [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
                ).stdout
            )
            for _ in range(REPEATS)
        ]
        lines.append(f"| `{name}` | {statistics.median(times):.2f} |")
    return (
        "## What importing takes (each alone, with all that it imports itself)\n\n| package | seconds |\n|---|---|\n"
        + "\n".join(lines)
        + "\n\nWhat was done about it: settings, options and the look whether MLflow answers come before any of it; `bootstrap` with "
        "nothing to do imports none of it; Optuna is imported by a search alone, pyarrow by a Parquet file, scipy's tests by a "
        "comparison; the signing library and the ONNX converter when they are needed; seaborn and Matplotlib by the process that "
        "draws, which imports them while the trainer imports MLflow.\n"
    )


if __name__ == "__main__":
    main()
