"""A challenger beside Production, on a real tracking server: who answers whom, under load, and what becomes of a bad one."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.challenging import KEYS, go_round, is_sent_away, load, told
from tests.integration.places import (
    CLASSES,
    DATA,
    MODEL,
    SAMPLES,
    Place,
    eventually,
)

# Every fifth flower: of these a version that has learnt nothing says another thing of more than a quarter.
LINES = [line.split(",") for line in (DATA / "iris_dataset.csv").read_text().splitlines()[1::5]]
FLOWERS = {"instances": [[float(value) for value in line[:4]] for line in LINES]}


@pytest.fixture(scope="module")
def place(third: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A registry with three versions: 1 in Production, 2 that answers the same, and 3 that never does."""
    return third.copy(tmp_path_factory.mktemp("challenger") / "place")


def logged(place: Place) -> dict[str, str]:
    """Return the settings by which predictions are kept."""
    return {
        "PREDICTION_LOG": "1",
        "PREDICTION_LOG_DIR": str(place.folder / "spool"),
        "PREDICTION_LOG_STORE": str(place.folder / "kept"),
    }


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Any]:
    with place.inference(INFERENCE_WORKERS="2", CHALLENGER_MAX_DISAGREEMENT="0.1", **logged(place)) as service:
        service.answers("/ready")
        yield service


@pytest.fixture
def service(place: Place, running: Any) -> Iterator[Any]:
    """The service, with version 1 in Production and no challenger before a test and after it."""
    yield running
    place.command("challenge", "stop")
    all_tell(running, "nobody challenges Production", lambda of: not of)
    running.serves("1")


def challenge(place: Place, service: Any, *arguments: str) -> str:
    result = place.command("challenge", *arguments, INFERENCE_URL=service.url)
    assert result.returncode == 0, result.stderr
    return result.stdout


def asked(url: str, key: str) -> str:
    answer = requests.post(f"{url}/invocations", json={"instances": SAMPLES}, headers={"X-Split-Key": key}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Model-Version"]


def all_tell(service: Any, what: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until what is told of the challenger is so in all workers: in all that answer twenty requests in a row."""
    eventually(what, lambda: all(is_so(told(service)) for _ in range(20)))


def loads(service: Any, version: str) -> None:
    all_tell(service, f"version {version} is loaded", lambda of: of.get("version") == version)


def splits(service: Any, percent: float) -> None:
    all_tell(service, f"the challenger answers {percent:g} of 100", lambda of: of.get("percent") == percent)


def chosen(service: Any) -> set[str]:
    """Return the keys that the challenger answers, each asked several times: by one worker and by the other."""
    found: dict[str, set[str]] = {key: {asked(service.url, key) for _ in range(4)} for key in KEYS}
    assert all(len(versions) == 1 for versions in found.values()), found
    return {key for key, versions in found.items() if versions == {"2"}}


def test_a_share_of_the_clients_is_answered_by_the_challenger_and_each_by_one_version(
    place: Place, service: Any
) -> None:
    assert "challenger" not in service.get("/version").json()
    challenge(place, service, "2")
    loads(service, "2")
    assert (told(service)["mode"], chosen(service)) == ("shadow", set())
    challenge(place, service, "2", "--percent", "20")
    splits(service, 20)
    few = chosen(service)
    assert 0 < len(few) < 30
    challenge(place, service, "2", "--percent", "50")
    splits(service, 50)
    assert few < chosen(service)
    status = json.loads(challenge(place, service, "status", "--json"))
    assert (status["challenger"], status["percent"], status["service"]["mode"]) == ("2", 50, "split")
    metrics = service.get("/metrics").text
    assert f'inference_challenger_percent{{model="{MODEL}",version="2"}} 50.0' in metrics
    assert f'inference_challenger_rows_total{{model="{MODEL}",result="alike",version="2"}}' in metrics
    challenge(place, service, "stop", "--reason", "seen enough")
    all_tell(service, "Production answers all", lambda of: not of)
    assert chosen(service) == set()
    assert [
        (one["by"], one["before"], one["version"])
        for one in json.loads(challenge(place, service, "status", "--json"))["records"]
    ][-4:] == [("challenge", "1", "2"), ("challenge", "1", "2"), ("challenge", "1", "2"), ("stop", "2", "1")]
    assert "seen enough" in place.command("history").stdout


def shadow(service: Any) -> dict[str, Any]:
    found: dict[str, Any] = told(service).get("shadow", {})
    return found


def rows_asked(service: Any) -> int:
    return int(shadow(service).get("alike", 0)) + int(shadow(service).get("unlike", 0))


def asks(service: Any, prefix: str, count: int) -> None:
    """Send requests with all flowers, each with an id of its own."""
    for number in range(count):
        headers = {"X-Request-ID": f"{prefix}-{number}"}
        requests.post(f"{service.url}/invocations", json=FLOWERS, headers=headers, timeout=30).raise_for_status()


def queried(place: Place, sql: str) -> str:
    module, kept = "inference.prediction_log", logged(place)
    shipped = place.run(sys.executable, "-m", f"{module}.shipper", "--once", timeout=60, **kept)
    assert shipped.returncode == 0, shipped.stderr
    result = place.run(sys.executable, "-m", f"{module}.command", "query", "--csv", sql, timeout=60, **kept)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_in_shadow_the_challenger_is_asked_for_what_production_answers_once_whoever_is_killed(
    place: Place, service: Any
) -> None:
    challenge(place, service, "3")  # before the next test, in which it is sent away for good
    eventually("it can be asked", lambda: shadow(service).get("alike") == 0)
    asks(service, "first", 20)
    eventually("it is asked", lambda: rows_asked(service) == 20 * len(LINES))
    killed = service.asker()
    os.kill(killed, signal.SIGKILL)
    asks(service, "second", 40)
    labels = [
        {"request_id": request_id, "row": row, "label": label}
        for request_id in [*(f"first-{number}" for number in range(20)), *(f"second-{number}" for number in range(40))]
        for row, label in enumerate(int(line[4]) for line in LINES)
    ]
    requests.post(f"{service.url}/labels", json={"labels": labels}, timeout=30).raise_for_status()
    eventually("it is asked for the rest", lambda: rows_asked(service) == 60 * len(LINES), 60)
    assert service.asker() != killed
    assert shadow(service)["failed"] == shadow(service)["skipped"] == 0
    rows = 60 * len(LINES)
    counted = (
        "select version, production_version, count(*), count(distinct (request_id, row)) from shadow "
        "where version = '3' group by all"
    )
    eventually("all is kept, once", lambda: queried(place, counted).splitlines()[1:] == [f"3,1,{rows},{rows}"])
    path = place.folder / "compared.csv"
    path.write_text(queried(place, "from compared"))
    found = json.loads(challenge(place, service, "status", "--logged", str(path), "--json"))
    assert (found["interval"]["requests"], found["interval"]["paired"]) == (60, True)
    assert found["interval"]["gain"] < 0
    assert re.search(r"% of the answers differ; for a request's rows it takes \d+\.\d\d ms", found["verdict"])
    said = " ".join(challenge(place, service, "status").split())
    assert re.search(r"Logged rows that it was asked for: (\d+ alike, )?\d+ unlike\.", said)
    metrics = service.get("/metrics").text
    assert f'inference_shadow_rows_total{{model="{MODEL}",result="unlike",version="3"}}' in metrics
    assert f'inference_shadow_seconds_count{{model="{MODEL}",version="1"}}' in metrics


def test_under_load_a_bad_challenger_is_sent_away_and_no_request_fails(place: Place, service: Any) -> None:
    with load(service, FLOWERS) as clients:
        challenge(place, service, "3", "--percent", "50")
        is_sent_away(service)
        go_round(clients)
    answers = [answer for client in clients for answer in client.answers]
    assert {status for _, status, _ in answers} == {200}
    assert {version for _, _, version in answers} == {"1", "3"}
    for client in clients:  # from Production to the challenger and back, and never to and fro
        for key in KEYS:
            assert client.turns(key) in (["1"], ["1", "3", "1"], ["3", "1"]), (key, client.turns(key))
    assert "of its answers differ from those of version 1 (limit: 10%)" in told(service)["returned"]
    is_counted = f'inference_challenger_returned{{model="{MODEL}",version="3"}} 1.0'
    eventually("that is counted", lambda: is_counted in service.get("/metrics").text)  # by another process
    said = challenge(place, service, "status")
    assert "Nobody challenges Production" in said
    assert "guard" in said
    again = place.command("challenge", "3", "--percent", "10")
    assert (again.returncode, "challenges nobody again" in again.stderr) == (5, True)


def test_a_version_that_cannot_be_served_challenges_nobody_and_production_does_not_notice(
    place: Place, service: Any
) -> None:
    place.client.set_registered_model_alias(MODEL, "challenger", "2")
    loads(service, "2")
    unsigned = place.notebook(
        "import json, mlflow\n"
        "from sklearn.dummy import DummyClassifier\n"
        "model = mlflow.sklearn.log_model(DummyClassifier().fit([[1, 2, 3, 4]], [0]), name='m', "
        "serialization_format='skops', input_example=[[1, 2, 3, 4]], pip_requirements=['scikit-learn'])\n"
        f"print(json.dumps(str(mlflow.register_model(model.model_uri, {MODEL!r}).version)))"
    )
    place.client.set_registered_model_alias(MODEL, "challenger", unsigned)
    all_tell(service, "it is refused", lambda of: "is refused" in (of.get("problem") or ""))
    assert told(service)["version"] is None
    assert service.get("/ready").json()["model"]["problem"] is None
    assert service.predict() == CLASSES
    refused = place.command("challenge", unsigned, "--percent", "10")
    assert (refused.returncode, "it is not signed" in refused.stderr) == (5, True)


def test_a_share_that_is_written_by_hand_does_not_count(place: Place, service: Any) -> None:
    challenge(place, service, "2", "--percent", "10")
    splits(service, 10)
    version = place.client.get_model_version(MODEL, "2")
    forged = version.tags["challenge"].replace('"percent":10.0', '"percent":50.0')
    assert forged != version.tags["challenge"]
    place.client.set_model_version_tag(MODEL, "2", "challenge", forged)
    all_tell(service, "it answers nobody", lambda of: of.get("mode") == "shadow")
    assert "does not count" in told(service)["problem"]


def labelled(place: Place, right: dict[str, int], trusted: bool) -> str:
    """Write a thousand answers of each version with labels, so many of which were right; return the file's name."""
    path, now = place.folder / "labelled.csv", datetime.now(UTC) + timedelta(seconds=5)
    lines = ["request_id,row,time,version,prediction,label,trusted,client"]
    for version, share in right.items():
        lines += [f"{version}-{n},0,{now},{version},1,{int(n < share)},{str(trusted).lower()}," for n in range(1000)]
    path.write_text("\n".join(lines))
    return str(path)


# A model that its owner has to vouch for, and that knows no flower with sepals of seven centimetres.
MODERN = """
import json, mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
class Modern(LogisticRegression):
    def predict(self, X):
        if X.iloc[0, 0] >= 7:
            raise RuntimeError("no such flower")
        return super().predict(X)
frame = pd.read_csv(DATA)
X, y = frame.iloc[:, :4], frame["target"]
logged = mlflow.sklearn.log_model(Modern(max_iter=1000).fit(X, y), name="modern", input_example=X.head(2),
    serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
    metadata={"class_names": ["setosa", "versicolor", "virginica"]})
print(json.dumps(str(mlflow.register_model(logged.model_uri, "iris_logistic_regression").version)))
"""


def test_one_with_code_of_its_own_that_fails_is_asked_in_shadow_and_what_it_fails_on_is_counted(
    third: Place, tmp_path: Path
) -> None:
    place = third.copy(tmp_path / "place")  # of which no other service keeps what is asked
    version = place.notebook(MODERN.replace("DATA", repr(str(DATA / "iris_dataset.csv"))))
    adopted = place.command("adopt", version, "--allow-code", "--unconfined")
    assert adopted.returncode == 0, adopted.stderr
    with place.inference(INFERENCE_WORKERS="1", ALLOW_CODE="true", **logged(place)) as service:
        service.answers("/ready")
        place.client.set_registered_model_alias(MODEL, "challenger", version)
        eventually("it can be asked", lambda: shadow(service).get("alike") == 0)
        for sample in SAMPLES:
            service.post("/invocations", {"instances": [sample]}).raise_for_status()
        eventually("it is asked", lambda: rows_asked(service) == 2)
        eventually("it fails on one", lambda: shadow(service)["failed"] == 1)
        assert service.predict() == CLASSES
        path, failed = place.folder / "failed.csv", "select version from shadow where prediction is null"
        eventually("that is kept", lambda: queried(place, failed).splitlines()[1:] == [version])
        path.write_text(queried(place, "from compared"))
        found = json.loads(challenge(place, service, "status", "--logged", str(path), "--auto", "--json"))
        assert (found["challenger"], found["records"][-1]["by"]) == (None, "auto")
        assert "it failed on 1 of the rows that Production answered" in found["records"][-1]["reason"]


def test_labels_of_known_senders_promote_a_challenger_that_is_better_and_the_history_has_the_interval(
    place: Place, service: Any
) -> None:
    challenge(place, service, "2", "--percent", "10")
    unknown = labelled(place, {"1": 700, "2": 900}, trusted=False)
    found = json.loads(challenge(place, service, "status", "--logged", unknown, "--json"))
    assert (found["interval"]["low"] > 0, found["interval"]["paired"]) == (True, False)
    assert "labels of unknown senders are among them" in found["verdict"]
    waiting = json.loads(challenge(place, service, "status", "--logged", unknown, "--auto", "--json"))
    assert (waiting["challenger"], waiting["verdict"][:20]) == ("2", "Goes on: too few lab")
    known = labelled(place, {"1": 700, "2": 900}, trusted=True)
    assert "Goes on" in challenge(place, service, "status", "--logged", known, "--auto", "--margin", "0.2")
    challenge(place, service, "status", "--logged", known, "--auto", "--margin", "0.01")
    assert place.registry()["alias"] == "2"
    last = json.loads(place.command("history", "--json").stdout)[-1]
    assert (last["by"], last["before"], last["version"]) == ("auto", "1", "2")
    assert "accuracy: 0.9000 against 0.7000, +0.2000 (+0." in last["reason"]
    assert json.loads(challenge(place, service, "status", "--json"))["challenger"] is None
    assert place.command("rollback").returncode == 0


def test_a_challenger_that_is_no_better_is_ended_and_production_stays(place: Place, service: Any) -> None:
    challenge(place, service, "2")
    known = labelled(place, {"1": 900, "2": 700}, trusted=True)
    arguments = ("challenge", "status", "--logged", known, "--auto", "--json")
    silent = json.loads(place.command(*arguments, INFERENCE_URL="http://127.0.0.1:9").stdout)
    assert (silent["challenger"], silent["verdict"][:31]) == ("2", "Goes on, as it is not known whe")
    found = json.loads(challenge(place, service, "status", "--logged", known, "--auto", "--json"))
    assert (found["challenger"], found["records"][-1]["by"]) == (None, "auto")
    assert "accuracy: 0.7000 against 0.9000, -0.2000" in found["records"][-1]["reason"]
    assert place.registry()["alias"] == "1"


def test_no_label_promotes_what_did_not_pass_the_quality_gate(place: Place, service: Any) -> None:
    challenge(place, service, "2")
    place.client.set_model_version_tag(MODEL, "2", "stage", "None")
    known = labelled(place, {"1": 700, "2": 900}, trusted=True)
    found = json.loads(challenge(place, service, "status", "--logged", known, "--auto", "--json"))
    place.client.set_model_version_tag(MODEL, "2", "stage", "Staging")
    assert (place.registry()["alias"], found["challenger"]) == ("1", None)
    assert "did not pass the quality gate" in found["verdict"]


def test_a_challenger_that_is_promoted_is_none_any_more(place: Place, service: Any) -> None:
    challenge(place, service, "2", "--percent", "10")
    splits(service, 10)
    assert place.command("promote", "2", "--reason", "it is better").returncode == 0
    eventually("it is served", lambda: service.get("/version").json()["model"]["version"] == "2")
    assert json.loads(challenge(place, service, "status", "--json"))["challenger"] is None
    assert place.command("rollback").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["1"], 5, "it cannot challenge itself"),
        (["99"], 5, "there is no version '99'"),
        (["2", "--percent", "51"], 2, "expected 0 to 50"),
        (["stop"], 5, "nobody challenges Production"),
    ],
)
def test_what_cannot_challenge_is_told_in_one_line(place: Place, arguments: list[str], code: int, words: str) -> None:
    result = place.command("challenge", *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (code, 1)
    assert words in result.stderr
