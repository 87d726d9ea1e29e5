"""The prediction log on the stack: what was answered is in its bucket, and in nobody else's reach."""

import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from tests import faults, pictures
from tests.asking_on import CLIENTS, ROUNDS, Clients
from tests.compose import CLASSES, ROOT, SAMPLES, Stack, docker, eventually, free_ports
from tests.mlflow_ui import open_ui
from tests.pictures import Shot
from tests.production_loop import Walk, asked_of

PAGE = Path(__file__).parents[2] / "docs" / "prediction-log.md"
PICTURES = PAGE.parent / "pictures"
OF_MLFLOW = """
import boto3, botocore.exceptions
try:
    print(boto3.client("s3", endpoint_url="http://minio:9000").list_objects_v2(Bucket="predictions"))
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""
SETTINGS = {
    "COMPOSE_FILE": "compose.yaml:compose.predictions.yaml",
    "PREDICTION_LOG": "1",
    "PREDICTION_LOG_SECONDS": "0.5",
    "PREDICTION_LOG_OMIT": "petal width (cm)",
    "COMPOSE_PROFILES": "monitor",
    "MONITOR_ROWS": "100",
    "MONITOR_SECONDS": "300",  # a look takes a second of a core, and until the walk one is enough, at the start of `watch`
    "MONITOR_LOG": "false",
}
VOLUMES = ["prediction-spool", "predictions-secrets", "monitor-secrets", "monitor-login", "prometheus-data"]
VOLUMES += [f"{name}-secrets" for name in ("prometheus", "alertmanager", "postgres-exporter", "grafana")]
OF_WATCH = "import urllib.request as r; print(r.urlopen('http://watch:9105/{path}', timeout=5).read().decode())"


@pytest.fixture(scope="module")
def shipper(stack: Stack) -> Iterator[dict[str, Any]]:
    """The stack with the overlay; afterwards it is as before."""
    stack.write_env(**SETTINGS)
    # Other tests have had predictions kept.
    stack.compose("exec", "-T", "minio", "sh", "-c", "rm -rf /data/predictions/*")
    try:
        stack.compose("up", "--detach", "--wait", "shipper", "inference", "watch")
        yield stack.containers()["shipper"]
    finally:
        stack.compose("rm", "--stop", "--force", "shipper", "watch")
        for name in SETTINGS:
            del stack.settings[name]
        stack.write_env()
        stack.up("--no-build")
        docker("volume", "rm", "--force", *(f"{stack.name}_{name}" for name in VOLUMES))
        docker("network", "rm", "--force", f"{stack.name}_watching")


def kept(stack: Stack, request_id: str, table: str = "predictions") -> list[dict[str, str]]:
    sql = f"from {table} where request_id = '{request_id}' order by row"
    return asked_of(stack, sql)


def predict(stack: Stack, request_id: str) -> None:
    headers, body = {"X-Request-ID": request_id}, {"instances": SAMPLES}
    answer = requests.post(f"{stack.url}/invocations", json=body, headers=headers, timeout=10)
    assert answer.json() == {"predictions": CLASSES}, answer.text


def test_predictions_are_kept_in_their_bucket_also_those_of_an_hour_without_it(
    stack: Stack, shipper: dict[str, Any]
) -> None:
    predict(stack, "before")
    rows = eventually("it is kept", lambda: kept(stack, "before"))
    assert [(row["row"], row["prediction"], row["version"]) for row in rows] == [
        (str(number), str(label), stack.served_version()) for number, label in enumerate(CLASSES)
    ]
    assert [float(row["input_sepal length (cm)"]) for row in rows] == [row[0] for row in SAMPLES]
    assert "input_petal width (cm)" not in rows[0]
    stack.compose("stop", "minio")
    predict(stack, "meanwhile")
    eventually("the shipper says so", lambda: "nothing can be shipped" in stack.logs("shipper"))
    stack.put_right("minio")
    assert eventually("it is kept", lambda: kept(stack, "meanwhile"))


def test_labels_are_kept_beside_them_as_the_page_sends_one_and_as_a_file(stack: Stack, shipper: dict[str, Any]) -> None:
    predict(stack, "order-17")
    (said,) = re.findall(r"^    \$ (curl .*/labels .*)\n    (.*)$", PAGE.read_text(), re.M)
    command = said[0].replace("http://localhost:1235", stack.url)
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30).stdout.strip() == said[1]
    rows = "".join(f"order-17,{row},{label}\n" for row, label in enumerate(CLASSES) if row)
    (stack.folder / "data" / "labels.csv").write_text(f"request_id,row,label\n{rows}")
    try:
        sent = stack.compose("run", "--rm", "-T", "monitor", "labels", "data/labels.csv").stdout
        assert sent.startswith(f"{len(CLASSES) - 1} labels are taken, 0 of them with an API key")
    finally:
        (stack.folder / "data" / "labels.csv").unlink()
    found = eventually(
        "all are kept", lambda: (rows := kept(stack, "order-17", "labelled"))[len(CLASSES) - 1 :] and rows
    )
    assert [(row["label"], row["trusted"]) for row in found] == [(str(label), "false") for label in [0, *CLASSES[1:]]]
    counts = stack.compose("run", "--rm", "-T", "monitor", "labels", "status", "--csv").stdout.splitlines()
    assert counts == ["labels,trusted,repeated,unknown,late", f"{len(CLASSES)},0,0,0,0"]


def test_what_has_drifted_is_reported_at_the_versions_model_and_watched(stack: Stack, shipper: dict[str, Any]) -> None:
    for number in range(4):
        body, headers = {"instances": SAMPLES * 30}, {"X-Request-ID": f"many-{number}"}
        requests.post(f"{stack.url}/predict_names", json=body, headers=headers, timeout=10).raise_for_status()
    eventually("it is kept", lambda: kept(stack, "many-3"))
    report = ("run", "--rm", "-T", "-e", "MONITOR_LOG=true", "monitor", "report", "--last", "1h")
    result = stack.compose(*report, check=False)
    assert result.returncode == 6, result.stdout + result.stderr
    assert "not kept, so not looked at: petal width (cm)" in result.stdout
    run_id = result.stderr.partition("in MLflow: run ")[2].split()[0]
    (model,) = stack.api("runs/get", run_id=run_id)["run"]["inputs"]["model_inputs"]
    assert stack.versions()[str(stack.served_version())]["source"] == f"models:/{model['model_id']}"
    files = stack.api("artifacts/list", run_id=run_id)["files"]
    assert {file["path"] for file in files} == {"report.html", "report.json"}

    def status() -> dict[str, Any]:
        asked = stack.compose("exec", "-T", "watch", "python", "-c", OF_WATCH.format(path="status"))
        return dict(json.loads(asked.stdout))

    stack.compose("restart", "watch")  # it looks as it starts
    found = eventually("it is seen", lambda: (seen := status())["drift"] and seen)
    assert (found["version"], found["problem"]) == (stack.served_version(), None)
    assert stack.containers()["watch"]["HostConfig"]["PortBindings"] in (None, {})


def another(stack: Stack) -> str:
    """Return a signed version that is not in Production; trained where there is none yet."""

    def found() -> str | None:
        now = stack.alias()
        signed = (number for number, version in stack.versions().items() if "signed_by" in version["tags"])
        return next((number for number in signed if number != now), None)

    if found() is None:
        stack.compose("run", "--rm", "-T", "trainer", "train", "--no-promote")
    return str(found())


def answered_by(stack: Stack, key: str) -> str:
    headers, body = {"X-Split-Key": key, "X-Request-ID": f"of-{key}"}, {"instances": SAMPLES[:1]}
    answer = requests.post(f"{stack.url}/invocations", json=body, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Model-Version"]


def challenged(stack: Stack) -> str | None:
    """Return in what way a challenger is asked, by the worker that answers."""
    return requests.get(f"{stack.url}/version", timeout=10).json().get("challenger", {}).get("mode")


def test_a_challenger_answers_its_share_and_the_log_has_who_was_answered_by_whom(
    stack: Stack, shipper: dict[str, Any]
) -> None:
    production, challenger = stack.alias(), another(stack)
    keys = [f"customer-{number}" for number in range(30)]  # of twelve all may be of one half: once in 2000 times
    said = stack.compose("run", "--rm", "-T", "trainer", "challenge", challenger, "--percent", "50").stdout
    assert f"challenges version {production}" in " ".join(said.split())
    try:
        # All workers: all that answer twenty requests in a row.
        eventually("it answers", lambda: {challenged(stack) for _ in range(20)} == {"split"})
        answers = {key: answered_by(stack, key) for key in keys}
        assert set(answers.values()) == {production, challenger}
        assert {key: answered_by(stack, key) for key in keys} == answers
        sql = "select distinct request_id, version from predictions where request_id like 'of-customer%'"

        def logged() -> dict[str, str]:
            return {row["request_id"]: row["version"] for row in asked_of(stack, sql)}

        expected = {f"of-{key}": version for key, version in answers.items()}
        assert eventually("it is kept", lambda: (found := logged()).keys() >= expected.keys() and found) == expected
    finally:
        stack.compose("run", "--rm", "-T", "trainer", "challenge", "stop", check=False)
    eventually("Production answers all", lambda: {answered_by(stack, key) for key in keys} == {production})


OF_THE_SCHEDULE = {"TRAIN_SCHEDULE": "never", "TRAIN_ON_DRIFT": "false", "CHALLENGE_SECONDS": "1"}
COMPARED = (
    'docker compose run --rm -T monitor query --csv "from compared" | '
    "docker compose run --rm -T trainer challenge status --logged -"
)


@pytest.fixture
def schedule(stack: Stack, shipper: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """The schedule, which trains nothing, once it is started; what it says of a challenge."""

    def said() -> dict[str, Any]:
        code = OF_WATCH.format(path="status").replace("watch:9105", "schedule:9110")
        asked = stack.compose("exec", "-T", "watch", "python", "-c", code)
        return dict(json.loads(asked.stdout)["challenge"])

    stack.write_env(**OF_THE_SCHEDULE)
    yield said
    stack.compose("rm", "--stop", "--force", "schedule")
    for name in OF_THE_SCHEDULE:
        del stack.settings[name]
    stack.write_env()


def test_in_shadow_a_challenger_is_asked_in_its_own_process_and_both_are_compared_by_status_and_by_the_schedule(
    stack: Stack, schedule: Callable[[], dict[str, Any]]
) -> None:
    def shadow() -> dict[str, Any]:
        challenger = requests.get(f"{stack.url}/version", timeout=10).json().get("challenger") or {}
        return dict(challenger.get("shadow") or {})

    production, challenger = str(stack.alias()), another(stack)
    stack.compose("run", "--rm", "-T", "trainer", "challenge", challenger, "--auto")
    try:
        eventually("it can be asked", lambda: "alike" in shadow())
        predict(stack, "omitted")
        why = "it needs 'petal width (cm)', which is not in the prediction log (PREDICTION_LOG_OMIT)"
        eventually("it says that it cannot be", lambda: shadow().get("problem") == why)
        stack.write_env(PREDICTION_LOG_OMIT="")
        stack.put_right("inference")
        for number in range(55):
            predict(stack, f"shadow-{number}")
        eventually("it is asked", lambda: (of := shadow()) and of["alike"] + of["unlike"] == 55 * len(CLASSES))
        sql = "select version, production_version as production, count(*) as rows from shadow group by all"
        expected = [{"version": challenger, "production": production, "rows": str(55 * len(CLASSES))}]
        eventually("its answers are kept", lambda: asked_of(stack, sql) == expected)
        status = subprocess.run(
            ["sh", "-c", COMPARED], cwd=stack.folder, env=stack.environ(), capture_output=True, text=True, timeout=300
        )
        said = " ".join(status.stdout.split())
        assert re.search(r"% of the answers differ; for a request's rows it takes [\d.]+ ms, 95 %", said), status
        assert "Logged rows that it was asked for: " in said
        # What it decides by is a command of the trainer's, each time.
        stack.compose("--profile", "schedule", "up", "--detach", "--no-deps", "--no-build", "schedule")
        verdict = eventually("nobody has to", lambda: (found := schedule())["problem"] is None and found["verdict"])
        # With the key that it has, the monitor gives it what was kept; labels there are none.
        assert (verdict["outcome"], verdict["version"]) == ("open", challenger), stack.logs("schedule")
        assert verdict["reason"].startswith("Goes on: too few labels: 0 answers"), verdict
    finally:
        stack.compose("run", "--rm", "-T", "trainer", "challenge", "stop", check=False)
        stack.write_env(PREDICTION_LOG_OMIT=SETTINGS["PREDICTION_LOG_OMIT"])


class Killings:
    """Kills a worker, all of the prediction service, or the shipper, as the kernel does: nothing has a last word."""

    def __init__(self, stack: Stack) -> None:
        self._random = random.Random(0)  # noqa: S311 - the same order each time
        self._ids = {name: stack.containers()[name]["Id"] for name in ("inference", "shipper")}
        self._kinds: list[Callable[[], None]] = []
        self.count = Counter[str]()

    def once(self) -> None:
        """Kill what comes next, at any moment: each kind once, in any order, before one comes again."""
        self._kinds = self._kinds or self._random.sample([self._a_worker, self._inference, self._shipper], 3)
        time.sleep(self._random.random() * 0.3)
        kind = self._kinds.pop()
        kind()
        self.count[kind.__name__.strip("_")] += 1

    def _a_worker(self) -> None:
        process = faults.worker(self._random.randrange(100))
        docker("exec", self._ids["inference"], "sh", "-c", f"{faults.CHILD}; kill -9 {process}")

    def _inference(self) -> None:
        self._container("inference")

    def _shipper(self) -> None:
        self._container("shipper")

    def _container(self, name: str) -> None:
        docker("kill", "--signal", "KILL", self._ids[name])
        docker("start", self._ids[name])  # what somebody kills, the engine leaves for them to start


def test_what_was_answered_is_kept_once_whichever_container_is_killed(stack: Stack, shipper: dict[str, Any]) -> None:
    clients, killings = Clients(lambda: stack.url, "killed-", pause=0.01), Killings(stack)
    with clients.asking():
        for _ in range(ROUNDS):
            before = len(clients.answered)
            eventually("clients are answered", lambda: len(clients.answered) > before + 20, 120)  # noqa: B023
            killings.once()
    sql = "select request_id, count(*) as rows, count(distinct row) as once from predictions where request_id like 'killed-%' group by 1"

    def found() -> dict[str, tuple[int, int]]:
        return {one["request_id"]: (int(one["rows"]), int(one["once"])) for one in asked_of(stack, sql)}

    rows = eventually("all is kept", lambda: (of := found()).keys() >= clients.answered.keys() and of)
    assert {name: rows[name] for name in clients.answered} == {name: (n, n) for name, n in clients.answered.items()}
    assert all(count == once for count, once in rows.values())
    # Nor is there more than what was on its way when something was killed.
    unanswered = len(rows) - len(clients.answered)
    assert unanswered <= CLIENTS * ROUNDS
    print(f"\nkilled: {dict(killings.count)}; answered and kept once: {len(clients.answered)}; more: {unanswered}")


# --- the walk of docs/monitoring.md ----------------------------------------------------------------------------------

# In seconds what is in minutes on the page; of these rows, and of all columns.
OF_THE_WALK = {
    "PREDICTION_LOG_OMIT": "",
    "MONITOR_LAST": "1m",
    "MONITOR_ROWS": "50",
    "MONITOR_SECONDS": "4",
    "MONITOR_LOG": "true",
}
ALERTS = re.findall(r"alert: (\w+)", (ROOT / "monitoring" / "rules.yml").read_text())
COLUMNS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)", "prediction", "confidence")
PSI = "g0.expr=monitor_drift_psi&g0.tab=0&g0.range_input=15m"
SHOTS = (
    Shot(PICTURES / "report.png", "How good the answers are", 1130, figures=False),
    Shot(PICTURES / "alert.png", "FeatureDrift", 640, names=ALERTS),
    Shot(PICTURES / "graph.png", "petal length (cm)", 940, names=COLUMNS),
    Shot(PICTURES / "challenger.png", "the challenger,", 1000, figures=False),
    Shot(PICTURES / "status.png", "the challenger,", 1510, figures=False),
)
SOME_REQUESTS = """async () => {
  const call = { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"instances": [[6.3, 3.3, 7.0, 2.5]]}' };
  for (let i = 0; i < 200; i++) await fetch("/predict_names", call);
}"""
MLFLOW = "/#/models/iris_logistic_regression/versions/{}?workflowType=machine_learning"


@pytest.fixture(scope="module")
def prometheus(stack: Stack, shipper: dict[str, Any]) -> Iterator[str]:
    """Prometheus's address, which asks each second; and all columns are kept."""
    before, file = dict(stack.settings), stack.folder / "monitoring" / "prometheus.yml"
    port = free_ports(1)[0]
    stack.write_env(**OF_THE_WALK, PROMETHEUS_PORT=str(port))
    text = file.read_text()
    file.write_text(re.sub(r"(_interval): \w+$", r"\1: 1s", text, flags=re.M))
    try:
        stack.put_right("inference", "watch")
        with _overlay_of_prometheus(stack):
            stack.compose("up", "--detach", "--wait", "--no-build", "prometheus")
        yield f"http://localhost:{port}"
    finally:
        with _overlay_of_prometheus(stack):
            stack.compose("rm", "--stop", "--force", "prometheus")
        file.write_text(text)
        stack.settings = before
        stack.write_env()


@contextmanager
def _overlay_of_prometheus(stack: Stack) -> Iterator[None]:
    """Have the overlay for a moment alone: with it, whatever is run beside would make MinIO anew."""
    files = stack.settings["COMPOSE_FILE"]
    stack.write_env(COMPOSE_FILE=f"{files}:compose.monitoring.yaml")
    try:
        yield
    finally:
        stack.write_env(COMPOSE_FILE=files)


@pytest.fixture(scope="module")
def walk(stack: Stack, prometheus: str) -> Iterator[Walk]:
    """Who walks along the page, from the version that is in Production; afterwards it is again."""
    production = stack.alias()
    walk = Walk(stack)
    try:
        yield walk
    finally:
        if stack.alias() == production:  # it did not get to its end
            stack.compose("run", "--rm", "-T", "trainer", "challenge", "stop", check=False)
        stack.script("api-key", "off")
        stack.until_no_key_is_asked_for()
        for file in (stack.folder / "data" / "since-the-drift.csv", stack.folder / "answers.csv"):
            file.unlink(missing_ok=True)
        stack.set_alias(production)
        eventually("it is served", lambda: answered_by(stack, "any") == production)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with pictures.a_page() as page:
        yield page


def test_the_week_of_the_page_has_no_drift_until_its_fifth_day_and_then_one(stack: Stack, walk: Walk) -> None:
    walk.through("1. Traffic")
    before, since = walk.through("2. Two reports")
    assert (before.exit_code, since.exit_code) == (0, 6), since.error
    walk.run_id = since.error.partition("in MLflow: run ")[2].split()[0]


def test_the_drift_is_an_alert_meanwhile(stack: Stack, prometheus: str, walk: Walk) -> None:
    walk.through("4. A version of what came back")
    # What the monitor looks back over is a minute here, and how much of the week is in it depends on the machine: these rows are
    # answered by Production alone, and enough for the labels to tell.
    day = [sys.executable, "examples/live_traffic.py", stack.url, "--only=7", "--day=0", "--requests=400"]
    subprocess.run(day, cwd=stack.folder, check=True, capture_output=True, text=True, timeout=120)

    def firing() -> set[str]:
        query = 'max_over_time(ALERTS{alertstate="firing"}[1h])'
        answer = requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=10).json()
        return {alert["metric"]["alertname"] for alert in answer["data"]["result"]}

    eventually("both have fired", lambda: firing() >= {"FeatureDrift", "LabelledAccuracyLow"}, 120)


def test_what_is_trained_on_what_came_back_challenges_production(stack: Stack, walk: Walk) -> None:
    walk.through("5. It challenges Production")
    sql = f"from predictions select distinct version where time >= '{list(walk.moments.values())[-1]}'"
    assert {row["version"] for row in asked_of(stack, sql)} == {stack.alias(), walk.newest}


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.picture.stem)
def test_a_picture_of_the_walk_shows_nothing_that_is_not_to_be_read_there_today(
    stack: Stack, prometheus: str, walk: Walk, page: Page, shot: Shot
) -> None:
    name = shot.picture.stem
    page.set_extra_http_headers({})
    if name == "report":
        report = f"{stack.mlflow_url}/get-artifact?path=report.html&run_uuid={walk.run_id}"
        page.set_content(requests.get(report, timeout=10).content.decode())
    elif name in ("alert", "graph"):
        # Of 2.53 as Debian has it the classic pages are all there are; 3 has none of them.
        classic = requests.get(f"{prometheus}/classic/alerts", timeout=10).ok
        paths = {"alert": "alerts", "graph": f"{'graph' if classic else 'query'}?{PSI}"}
        page.goto(f"{prometheus}/{'classic/' if classic else ''}{paths[name]}")
        if name == "alert":
            page.get_by_text("FeatureDrift").first.click()
    else:
        page.set_extra_http_headers({"Authorization": f"Bearer {walk.variables['API_KEY']}"})
        page.goto(stack.url + {"challenger": "/", "status": "/status"}[name])
        if name == "status" and pictures.TAKEN_ANEW:
            page.evaluate(SOME_REQUESTS)
    pictures.hold(page, shot)


def test_it_takes_over_by_labels_of_a_known_sender_and_the_history_has_the_interval(stack: Stack, walk: Walk) -> None:
    before = stack.alias()
    walk.through("6. It takes over")
    assert stack.alias() == walk.newest != before
    eventually("it answers", lambda: answered_by(stack, "any") == walk.newest)
    tags = stack.api("registered-models/get", name="iris_logistic_regression")["registered_model"]["tags"]
    assert any(re.search(r"\(\+0\.\d+ to \+0\.\d+, at every look", tag["value"]) for tag in tags)


def test_the_picture_of_the_version_that_took_over_shows_nothing_that_is_not_to_be_read_there_today(
    stack: Stack, walk: Walk, page: Page
) -> None:
    page.set_extra_http_headers({})
    page.set_viewport_size({"width": pictures.WIDTH + pictures.ASSISTANT, "height": pictures.HEIGHT})
    open_ui(page, stack.mlflow_url + MLFLOW.format(walk.newest), "Aliases")
    pictures.hold(page, Shot(PICTURES / "promoted.png", "Aliases", figures=False))


def test_mlflow_cannot_see_what_is_kept_and_what_ships_it_is_confined(stack: Stack, shipper: dict[str, Any]) -> None:
    assert stack.compose("exec", "-T", "mlflow", "python", "-c", OF_MLFLOW).stdout.strip() == "AccessDenied"
    host = shipper["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] > 0
    assert not host["PortBindings"]
    assert set(shipper["NetworkSettings"]["Networks"]) == {f"{stack.name}_storage"}
    listing = stack.compose("exec", "-T", "inference", "stat", "-c", "%u %a", "/spool").stdout.split()
    assert listing == ["10004", "700"]
