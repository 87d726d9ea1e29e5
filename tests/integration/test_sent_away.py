"""Challengers that fail, that are slow, and that know too little, under load: nobody notices, and each is sent away once for all."""

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contract.tracking.challenge import ALIAS, TAG, Challenge
from inference.challenger.split import Split

from tests.integration.challenging import KEYS, Client, go_round, is_sent_away, load, told
from tests.integration.places import DATA, MODEL, Place, Service, eventually

PLACES = ["field", "garden", "moor"]
FLOWERS = [[5.1, 3.5, 1.4], [6.0, 2.9, 4.5], [6.3, 3.3, 6.0]]
BODY = {"instances": [[*flower, place] for flower in FLOWERS for place in PLACES]}
# With a flower that none of the others is as tall as.
TALL = {"instances": [*BODY["instances"], [7.6, 3.0, 6.6, "field"]]}

# Logged as models from code, which their owner has to vouch for. Apart from what is wrong with them they answer as Production does.
RULES = """
import time, mlflow
from mlflow.models import set_model

class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if context.model_config["fault"] == "slow":
            time.sleep(0.04)
        elif (model_input.iloc[:, 0] >= 7).any():
            raise RuntimeError("no such flower")
        return model_input.iloc[:, 2] * 0.4 - 0.4

set_model(Rules())
"""
NOTEBOOK = """
import json, mlflow, pandas as pd
from pathlib import Path
from mlflow.models import infer_signature
Path("rules.py").write_text(RULES)
X, versions = pd.read_csv(DATA).iloc[:, :4], []
for fault in ("failed", "slow"):
    logged = mlflow.pyfunc.log_model(name=fault, python_model="rules.py", model_config={"fault": fault},
        input_example=X.head(2), signature=infer_signature(X, pd.Series([0.0])), pip_requirements=["pandas"])
    versions.append(str(mlflow.register_model(logged.model_uri, "iris_logistic_regression").version))
print(json.dumps(versions))
"""


@dataclass(frozen=True)
class Bad:
    """A challenger, by what is counted of it."""

    version: str
    said: str
    """why it is sent away"""


BAD = {
    "unknown": Bad("2", r"3\d% of the rows have a text that version 1 knows and it does not \(limit: 5%\)"),
    "failed": Bad("3", r"it fails where version 1 answers \(RuntimeError\)"),
    "slow": Bad("4", r"\d+% of its answers take far longer than those of version 1 \(limit: 5%\)"),
}


@dataclass
class Seen:
    """What clients and an operator saw of one challenger."""

    clients: list[Client]
    tag: str
    """the share that it was given, as it was signed"""
    told: dict[str, Any] = field(default_factory=dict)
    metrics: str = ""
    after: list[int] = field(default_factory=list)
    """how many answers each client had when it was sent away in all workers"""
    status: dict[str, Any] = field(default_factory=dict)


def write_flowers(path: Path, places: list[str]) -> None:
    """Write how wide a flower's petals are, by its other sizes and by where it was found, which says nothing of it."""
    rows = [line.split(",") for line in (DATA / "iris_dataset.csv").read_text().splitlines()[1:]]
    lines = [",".join([*row[:3], places[number % len(places)], row[3]]) for number, row in enumerate(rows)]
    path.write_text("\n".join(["sepal length,sepal width,petal length,place,petal width", *lines, ""]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A registry with a version in Production, and one for each fault."""
    place = Place(tmp_path_factory.mktemp("sent-away") / "place")
    for name, places in (("all.csv", PLACES), ("few.csv", PLACES[:2])):
        write_flowers(place.folder / name, places)
        arguments = ("--data", name, "--target", "petal width", "--model-name", MODEL)
        trained = place.command("train", *arguments, DATA_DIR=str(place.folder))
        assert trained.returncode == 0, trained.stderr
    data = str(place.folder / "all.csv")
    vouched = place.notebook(NOTEBOOK.replace("RULES", repr(RULES)).replace("DATA", repr(data)))
    for version in vouched:
        adopted = place.command("adopt", version, "--allow-code", "--unconfined")
        assert adopted.returncode == 0, adopted.stderr
    assert (place.registry()["alias"], vouched) == ("1", [BAD["failed"].version, BAD["slow"].version])
    return place


def serving(place: Place, workers: str) -> AbstractContextManager[Service]:
    return place.inference(INFERENCE_WORKERS=workers, ALLOW_CODE="true", CHALLENGER_MAX_DISAGREEMENT="1")


def challenged(place: Place, service: Service, version: str) -> Seen:
    """Have a version challenge Production under load until it is sent away, and on; then ask how it went."""
    with load(service, BODY) as clients:
        go_round(clients)
        started = place.command("challenge", version, "--percent", "50")
        assert started.returncode == 0, started.stderr
        seen = Seen(clients, place.client.get_model_version(MODEL, version).tags[TAG])
        eventually("it answers", lambda: any(version == who for one in clients for _, _, who in one.answers))
        for client in clients:
            client.body = TALL
        is_sent_away(service)
        seen.told, seen.after = told(service), [len(client.answers) for client in clients]
        go_round(clients)
    is_counted = f'inference_challenger_returned{{model="{MODEL}",version="{version}"}} 1.0'
    eventually("that is counted", lambda: is_counted in service.get("/metrics").text)
    seen.metrics = service.get("/metrics").text
    status = place.command("challenge", "status", "--json", INFERENCE_URL=service.url)
    assert status.returncode == 0, status.stderr
    seen.status = json.loads(status.stdout)
    return seen


@pytest.fixture(scope="module")
def seen(place: Place) -> dict[str, Seen]:
    with serving(place, "2") as service:
        service.answers("/ready")
        return {fault: challenged(place, service, bad.version) for fault, bad in BAD.items()}


@pytest.fixture(scope="module")
def restarted(place: Place, seen: dict[str, Seen]) -> Iterator[Service]:
    with serving(place, "1") as service:
        service.answers("/ready")
        yield service


@pytest.mark.parametrize("fault", BAD)
def test_no_request_fails_and_each_client_goes_to_the_challenger_and_back_at_most_once(
    seen: dict[str, Seen], fault: str
) -> None:
    found, version = seen[fault], BAD[fault].version
    answers = [answer for client in found.clients for answer in client.answers]
    assert {status for _, status, _ in answers} == {200}
    split = Split.of(None, Challenge.of(found.tag).key, 50, 0)  # type: ignore[arg-type]
    theirs = {key for key in KEYS if split.chooses(key)}
    assert set() < {key for key, _, who in answers if who == version} <= theirs
    for client in found.clients:
        for key in KEYS:
            assert client.turns(key) in (["1"], ["1", version, "1"]), (key, client.turns(key))
    for client, count in zip(found.clients, found.after, strict=True):
        # But for the request that was on its way.
        assert {who for _, _, who in client.answers[count + 1 :]} == {"1"}


@pytest.mark.parametrize("fault", BAD)
def test_the_service_and_its_metrics_say_why_and_the_next_status_writes_it_down(
    seen: dict[str, Seen], fault: str
) -> None:
    found, bad = seen[fault], BAD[fault]
    assert (found.told["version"], found.told["percent"]) == (bad.version, 0)
    assert re.fullmatch(bad.said, found.told["returned"])
    assert (
        f'inference_challenger_rows_total{{model="{MODEL}",result="{fault}",version="{bad.version}"}}' in found.metrics
    )
    last = found.status["records"][-1]
    assert (last["by"], last["before"], last["version"]) == ("guard", bad.version, "1")
    assert found.told["returned"] in last["reason"]
    assert found.status["challenger"] is None


@pytest.mark.parametrize("fault", BAD)
def test_no_restart_no_alias_and_no_share_of_before_brings_it_back(
    place: Place, seen: dict[str, Seen], restarted: Service, fault: str
) -> None:
    version = BAD[fault].version
    place.client.set_model_version_tag(MODEL, version, TAG, seen[fault].tag)
    place.client.set_registered_model_alias(MODEL, ALIAS, version)
    eventually("it is loaded", lambda: told(restarted).get("version") == version)
    assert told(restarted)["returned"] == seen[fault].told["returned"]
    with load(restarted, BODY) as clients:
        go_round(clients)
    assert {answer[1:] for client in clients for answer in client.answers} == {(200, "1")}
    again = place.command("challenge", version, "--percent", "10")
    assert (again.returncode, "challenges nobody again" in again.stderr) == (5, True)
