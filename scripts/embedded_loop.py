"""The production loop without Docker, for scripts/embedded.py: a week of traffic with a drift in it, what watching tells, and what is done about it.

A version is trained and served with the prediction log on; examples/live_traffic.py lives through a week; a report on the days before the drift finds
none, one on those since then does; a version is trained on what came back as labels, and takes over.
"""

import csv
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

DAY_SECONDS, REQUESTS, SEED = 4, 150, 42
NO_DRIFT, DRIFT = 0, 6
"""exit codes of `monitor report`"""
SHIPPED_SECONDS = 60
"""within which what was kept has to be in the store"""
LABELLED = """
    select "input_sepal length (cm)" as "sepal length (cm)", "input_sepal width (cm)" as "sepal width (cm)",
        "input_petal length (cm)" as "petal length (cm)", "input_petal width (cm)" as "petal width (cm)",
        label as target, ['setosa', 'versicolor', 'virginica'][label + 1] as target_name
    from labelled where time >= '{since}' order by time
"""


class LoopBroken(Exception):
    """A step came to something else than it should."""


def loop(url: str, data: Path, heading: Callable[[str], None]) -> None:
    """Walk the loop with a prediction service that keeps its predictions; raise LoopBroken where a step goes wrong.

    `data` is the folder of the data sets, into which the labelled rows go; `heading` prints a line above a step.
    """
    heading("3. A week of traffic; on day five a ruler slips")
    before, since = _week(url)
    heading("4. The days before it: no drift")
    _report(NO_DRIFT, "--from", before, "--to", since)
    heading("5. The days since then: drift, and the labels that came say what it costs")
    _report(DRIFT, "--from", since)
    heading("6. Train on what came back since then")
    file = data / "since-the-drift.csv"
    file.write_text(_asked(LABELLED.format(since=since)))
    print(f"{len(file.read_text().splitlines()) - 1} labelled rows: {file}\n", flush=True)
    _run("train", "trainer", "train", "--data", file.name, "--target", "target", "--model-name", _model())


def _week(url: str) -> tuple[str, str]:
    """Live through the week; return when it began, and when the drift did."""
    sys.path.insert(0, "examples")
    import requests

    live_traffic = import_module("live_traffic")
    try:
        days = live_traffic.week(live_traffic.Service(url), DAY_SECONDS, REQUESTS, random.Random(SEED))  # noqa: S311
    except (requests.RequestException, KeyError) as error:
        raise LoopBroken(f"the week ended early: {error}") from error
    deadline, asked = time.monotonic() + SHIPPED_SECONDS, len(days) * REQUESTS
    began, slipped = (f"{day.began:%FT%TZ}" for day in (days[0], days[live_traffic.SLIPS_ON - 1]))
    # A second is kept in whole, so one more of the day before the first may be there.
    count = f"select count(*) from labelled where time >= '{began}'"  # noqa: S608 - it is made here
    while int(list(csv.reader(_asked(count).splitlines()))[1][0]) < asked:
        if time.monotonic() > deadline:
            raise LoopBroken(
                f"of {asked} predictions not all are in the store, with their labels, after {SHIPPED_SECONDS} s"
            )
        time.sleep(1)
    return began, slipped


def _asked(sql: str) -> str:
    """Return what a query of the prediction log comes to, as CSV."""
    command = [sys.executable, "-m", "monitoring", "query", "--csv", sql]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise LoopBroken(result.stderr.strip())
    return result.stdout


def _report(expected: int, *options: str) -> None:
    """Show a report on the model; raise LoopBroken where it comes to another verdict."""
    code = subprocess.run([sys.executable, "-m", "monitoring", "report", *options]).returncode
    if code != expected:
        raise LoopBroken(f"`monitor report` ended with {code}; expected {expected}")


def _run(what: str, *module: str) -> None:
    if code := subprocess.run([sys.executable, "-m", *module]).returncode:
        raise LoopBroken(f"`{what}` ended with {code}")


def _model() -> str:
    return os.environ.get("MODEL_NAME", "iris_logistic_regression")
