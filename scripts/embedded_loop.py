"""The production loop without Docker, for scripts/embedded.py: a week of traffic with a drift in it, what watching tells, and what is done about it.

A version is trained and served with the prediction log on; examples/live_traffic.py lives through a week; a report on the days before the drift finds
none, one on those since then does; a version is trained on what came back as labels, challenges the one in Production for a day, and takes over.
"""

import csv
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

DAY_SECONDS, REQUESTS, SEED = 4, 150, 42
NO_DRIFT, DRIFT = 0, 6
"""exit codes of `monitor report`"""
SECONDS = 60
"""within which what was kept has to be in the store, and a challenger loaded"""
LABELLED = """
    select "input_sepal length (cm)" as "sepal length (cm)", "input_sepal width (cm)" as "sepal width (cm)",
        "input_petal length (cm)" as "petal length (cm)", "input_petal width (cm)" as "petal width (cm)",
        label as target, ['setosa', 'versicolor', 'virginica'][label + 1] as target_name
    from labelled where time >= '{since}' order by time
"""


class LoopBroken(Exception):
    """A step came to something else than it should."""


def loop(url: str, data: Path, heading: Callable[[str], None]) -> None:
    """Walk the loop with a prediction service that keeps its predictions.

    Raises LoopBroken where a step comes to something else, OSError where the service does not answer or a file cannot be written.
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
    _trainer("train", "--data", file.name, "--target", "target", "--no-promote")
    heading("7. It challenges Production: it answers half of the requests, for a day")
    challenger = _newest()
    _trainer("challenge", challenger, "--percent", "50", "--reason", "trained since the ruler slipped")
    answers = data / "exploration" / "answers.csv"
    answers.parent.mkdir(exist_ok=True)
    answers.write_text(_day_of_both(url, challenger))
    heading("8. Which of them is better")
    _trainer("challenge", "status", "--logged", str(answers))
    _check_better(answers)
    heading("9. It takes over")
    _trainer("promote", challenger, "--reason", "better on live requests")
    _trainer("history")


def _check_better(answers: Path) -> None:
    """Raise LoopBroken unless the whole interval says that the challenger is better."""
    command = [sys.executable, "-m", "trainer", "challenge", "status", "--logged", str(answers), "--json"]
    result = subprocess.run([*command, "--model-name", _model()], capture_output=True, text=True)
    if result.returncode:
        raise LoopBroken(result.stderr.strip())
    interval = json.loads(result.stdout)["interval"]
    if interval is None or interval["low"] <= 0:
        raise LoopBroken(f"the challenger is not told to be better: {json.loads(result.stdout)['verdict']}")


def _newest() -> str:
    """Return the version that was registered last."""
    from mlflow import MlflowClient

    versions = MlflowClient().search_model_versions(f"name = '{_model()}'")
    return str(max(int(version.version) for version in versions))


def _day_of_both(url: str, challenger: str) -> str:
    """Live through a day while two versions answer; return what either would have answered, and the labels, as CSV."""
    live_traffic = _traffic()
    service = live_traffic.Service(url)
    _wait_for_split(url)
    day = live_traffic.day_alone(service, live_traffic.DAYS, DAY_SECONDS, 2 * REQUESTS, random.Random(SEED))  # noqa: S311
    both = f"from labelled where time >= '{day.moment}'"
    _wait("all answers are in the store, with their labels", lambda: _count(both) >= len(day.ids))
    print(
        _asked(
            f"select version, count(*) as answers, avg((prediction = label)::int) as accuracy {both} group by version"
        )
    )
    others = f"{both} and version != '{challenger}'"
    since = f"where time >= '{day.began:%FT%TZ}'"
    _wait("the challenger is asked for the others", lambda: _count(f"from shadow {since}") >= _count(others))
    return _asked(f"from compared {since} and label is not null")


def _wait_for_split(url: str) -> None:
    """Wait until the challenger answers its share; while it is fetched and checked it has a problem, which is none."""
    import requests

    def challenger() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{url}/version", timeout=10).json().get("challenger") or {}
        return found

    try:
        _wait("the challenger answers its share", lambda: challenger().get("mode") == "split")
    except LoopBroken as error:
        raise LoopBroken(f"{error}: {challenger().get('problem')}") from error


def _week(url: str) -> tuple[str, str]:
    """Live through the week; return when it began, and when the drift did."""
    live_traffic = _traffic()
    days = live_traffic.week(live_traffic.Service(url), DAY_SECONDS, REQUESTS, random.Random(SEED))  # noqa: S311
    began, slipped = days[0].moment, days[live_traffic.SLIPS_ON - 1].moment
    asked = sum(len(day.ids) for day in days)
    _wait(
        "all answers are in the store, with their labels",
        lambda: _count(f"from labelled where time >= '{began}'") >= asked,
    )
    return began, slipped


def _traffic() -> Any:
    """Return the module of the example that sends traffic."""
    if "examples" not in sys.path:
        sys.path.insert(0, "examples")
    return import_module("live_traffic")


def _wait(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise LoopBroken(f"waited {SECONDS} s until {what}")
        time.sleep(1)


def _count(selected: str) -> int:
    return int(list(csv.reader(_asked(f"select count(*) {selected}").splitlines()))[1][0])


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


def _trainer(*command: str) -> None:
    """Run a command of the trainer's on the model; raise LoopBroken where it fails."""
    if code := subprocess.run([sys.executable, "-m", "trainer", *command, "--model-name", _model()]).returncode:
        raise LoopBroken(f"`{command[0]}` ended with {code}")


def _model() -> str:
    return os.environ.get("MODEL_NAME", "iris_logistic_regression")
