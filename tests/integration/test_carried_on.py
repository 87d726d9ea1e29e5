"""A challenge that nobody types anything for: the schedule writes down what the guard did, and promotes or ends it by labels."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from contract.tracking.alias_history import parsed
from contract.tracking.challenge import RECORD

from tests.integration.places import DATA, MODEL, Place, Process, Service, eventually, free_port

LINES = [line.split(",") for line in (DATA / "iris_dataset.csv").read_text().splitlines()[1::5]]
FLOWERS = [[float(value) for value in line[:4]] for line in LINES]
LABELS = [int(line[4]) for line in LINES]
REQUESTS = 60


@dataclass
class Loop:
    """The prediction service, what ships its log, the monitor and the schedule; nobody else is at work."""

    place: Place
    service: Service
    schedule: Process
    status_url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def told(self) -> dict[str, Any]:
        """Return what the service says of its challenger."""
        answer = requests.get(f"{self.service.url}/version", headers=self.headers, timeout=30)
        return dict(answer.json().get("challenger") or {})

    def served(self) -> str:
        model = requests.get(f"{self.service.url}/version", headers=self.headers, timeout=30).json()["model"]
        return str(model["version"])

    def status(self) -> dict[str, Any]:
        """Return what the schedule says of the challenge."""
        return dict(requests.get(f"{self.status_url}/status", timeout=30).json()["challenge"])

    def ask(self, prefix: str) -> None:
        """Send requests with all flowers, and then the labels of all, by a sender who is known."""
        for number in range(REQUESTS):
            headers = self.headers | {"X-Request-ID": f"{prefix}-{number}"}
            body = {"instances": FLOWERS}
            requests.post(f"{self.service.url}/invocations", json=body, headers=headers, timeout=30).raise_for_status()
        labels = [
            {"request_id": f"{prefix}-{number}", "row": row, "label": label}
            for number in range(REQUESTS)
            for row, label in enumerate(LABELS)
        ]
        sent = requests.post(f"{self.service.url}/labels", json={"labels": labels}, headers=self.headers, timeout=30)
        assert sent.json() == {"accepted": len(labels), "repeated": 0, "trusted": True}, sent.text

    def challenge(self, *arguments: str) -> None:
        result = self.place.command("challenge", *arguments)
        assert result.returncode == 0, result.stderr

    def comes_to(self, outcome: str) -> dict[str, Any]:
        """Wait until the schedule says that this came of the challenge; return what it says."""

        def last() -> Any:
            assert self.schedule.is_running, self.schedule.log
            found = self.status()
            return found["last"] if found["count"][outcome] == 1 else None

        found: dict[str, Any] = eventually(f"it is {outcome}", last, 90)
        return found

    def record(self) -> tuple[str, str, str, str]:
        """Return how the last challenge ended, as the registry has it: by whom, from whom, to whom, and why."""
        *_, made = parsed(self.place.client.get_registered_model(MODEL).tags, RECORD)[0].values()
        return made.by, str(made.before), str(made.version), made.reason


def key_of(place: Place) -> str:
    """Make an API key by which one may ask and send labels; have it in a file too."""
    command = ("inference.api_keys.command", "add", "laboratory", "--scopes", "predict,labels")
    added = place.run(sys.executable, "-m", *command)
    assert added.returncode == 0, added.stderr
    (place.folder / "api-key").write_text(added.stdout)
    return added.stdout.strip()


@pytest.fixture(scope="module")
def loop(third: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    place = third.copy(tmp_path_factory.mktemp("carried-on") / "place")
    port, monitor, key = free_port(), free_port(), key_of(place)
    log = {
        "PREDICTION_LOG": "1",
        "PREDICTION_LOG_DIR": str(place.folder / "spool"),
        "PREDICTION_LOG_STORE": str(place.folder / "kept"),
        "PREDICTION_LOG_SECONDS": "0.5",
    }
    with ExitStack() as parts:

        def started(process: Process) -> Process:
            parts.callback(process.kill_what_is_left)
            return process

        service = parts.enter_context(place.inference(INFERENCE_WORKERS="1", CHALLENGER_MAX_DISAGREEMENT="0.1", **log))
        for command in (["inference.prediction_log.shipper"], ["monitoring", "watch", f"--port={monitor}"]):
            environ = place.environ(**log, MONITOR_LOG="false")
            started(Process([sys.executable, "-m", *command], environ, place.work, place._new_log()))
        schedule = started(
            place.start_trainer(
                "schedule",
                TRAIN_SCHEDULE="never",
                TRAIN_ON_DRIFT="false",
                CHALLENGE_SECONDS="1",
                SCHEDULE_FILE=str(place.folder / "schedule.json"),
                SCHEDULE_PORT=str(port),
                INFERENCE_URL=service.url,
                MONITOR_URL=f"http://127.0.0.1:{monitor}",
                API_KEY_FILE=str(place.folder / "api-key"),
                AUDIT_WHO="schedule",
            )
        )
        service.answers("/ready")
        found = Loop(place, service, schedule, f"http://127.0.0.1:{port}", key)
        eventually("the schedule answers", lambda: found.status()["problem"] is None)
        yield found


def can_be_asked(loop: Loop, version: str) -> Callable[[], bool]:
    return lambda: loop.told().get("version") == version and "alike" in loop.told().get("shadow", {})


def test_one_that_is_no_better_is_ended_without_anybody_typing(loop: Loop) -> None:
    loop.challenge("3", "--auto")
    eventually("it can be asked", can_be_asked(loop, "3"))
    eventually("the schedule knows of it", lambda: loop.status()["version"] == "3")  # which asks once a second
    assert loop.status()["auto"] is True
    loop.ask("worse")
    last = loop.comes_to("ended")
    assert last["version"] == "3"
    assert last["reason"].startswith("not better by 0: accuracy: 0."), last
    by, before, after, reason = loop.record()
    assert (by, before, after) == ("auto", "3", "1")
    assert "at every look, on " in reason
    assert loop.place.registry()["alias"] == "1"
    eventually("it answers nobody", lambda: not loop.told())


def test_what_the_guard_did_is_written_down_without_anybody_typing(loop: Loop) -> None:
    loop.challenge("3", "--percent", "50")
    eventually("it answers", lambda: loop.told().get("mode") == "split")
    for number in range(3 * REQUESTS):
        headers = loop.headers | {"X-Split-Key": f"customer-{number}"}
        body = {"instances": FLOWERS}
        answer = requests.post(f"{loop.service.url}/invocations", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        if loop.told().get("returned"):
            break
    last = loop.comes_to("returned")
    assert (last["version"], "of its answers differ from those of version 1" in last["reason"]) == ("3", True), last
    by, before, after, reason = loop.record()
    assert (by, before, after) == ("guard", "3", "1")
    assert reason.startswith("the prediction service has sent it away: ")
    again = loop.place.command("challenge", "3", "--percent", "10", "--auto")
    assert (again.returncode, "challenges nobody again" in again.stderr) == (5, True)


def test_one_that_is_better_is_promoted_without_anybody_typing(loop: Loop) -> None:
    loop.place.move_alias("3")
    eventually("it is served", lambda: loop.served() == "3")
    loop.challenge("2", "--auto", "--margin", "0.1")
    eventually("it can be asked", can_be_asked(loop, "2"))
    loop.ask("better")
    last = loop.comes_to("promoted")
    assert (last["version"], last["reason"][:10]) == ("2", "accuracy: "), last
    assert loop.place.registry()["alias"] == "2"
    moved = json.loads(loop.place.command("history", "--json").stdout)[-1]
    assert (moved["by"], moved["before"], moved["version"]) == ("auto", "3", "2")
    assert moved["reason"].startswith("better by more than 0.1: accuracy: ")
    assert moved["reason"].endswith("(by schedule)")
    eventually("it is served", lambda: loop.served() == "2")


def test_all_of_it_is_in_the_log_and_in_the_metrics(loop: Loop) -> None:
    said = [line for line in loop.schedule.log.splitlines() if line.startswith("schedule: challenge: ")]
    assert [line.split(": ")[2] for line in said if ": version " in line] == ["ended", "returned", "promoted"], said
    metrics = requests.get(f"{loop.status_url}/metrics", timeout=30).text
    for outcome, count in (("ended", 1), ("returned", 1), ("promoted", 1), ("failed", 0)):
        assert f"challenge_{outcome}_total {count}.0" in metrics
    assert "challenge_running 0.0" in metrics
    assert loop.schedule.stop() == 143
