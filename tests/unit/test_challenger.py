"""The challenger in one worker: who is answered by it, what sends it away, and what is told of it."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.schema import Column, Kind
from contract.tracking.challenge import TAG, Challenge
from inference.challenger.guard import ALL, LEAST, Guard, Limits, is_no_chance
from inference.challenger.split import Split, digest_of
from inference.errors import Overloaded
from inference.http.application import Service
from inference.ipc.messages import DeploymentSpec, Report, Returned, Serve, State, Stop, ToPoller, place_of
from inference.model.deployment import Deployment
from inference.model.model import Prediction
from inference.model.observation import Observation
from inference.model.version import ModelVersion
from inference.prediction_log.recorder import PredictionLog
from inference.prediction_log.spool import Spool, segments
from inference.rollout.active_model import ActiveModel, Deployments
from inference.rollout.challenger.eligibility import RETURNED
from inference.rows import Rows, from_cells
from inference.telemetry.log import RequestLog
from werkzeug.test import Client, EnvironBuilder

from tests.unit.serving import active_of, answering, described, served_as, service_among

NAME = "roses"
NOW = datetime.now(UTC)
KEYS = [f"customer-{number}" for number in range(2000)]


class Says:
    """An estimator that gives one answer to every row, or fails."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, frame: Any) -> np.ndarray:
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full(len(frame), self.answer)


def says(answer: Any, version: str, *columns: Column) -> Deployment:
    model = answering(Says(answer), described(columns or [Column("x")]))
    return served_as(model, ModelVersion(NAME, version, "", int(version), "", ""))


def never(files: Any, description: Any) -> Any:
    raise AssertionError("nobody asked for it")


def challenge(percent: float = 10, key: str = "one", days: float = 1) -> str:
    return Challenge(percent, key, NOW.isoformat(), (NOW + timedelta(days=days)).isoformat()).text


class Worker:
    """Production with a challenger."""

    def __init__(
        self,
        challenger: Deployment,
        text: str = "",
        champion: Deployment | None = None,
        limits: Limits | None = None,
        **more: Any,
    ) -> None:
        self.told: list[ToPoller] = []
        other = ActiveModel(place_of(NAME), never)
        other.served = challenger
        self.active = ActiveModel(NAME, never, other, limits)
        self.active.served = champion or says(1, "3")
        self.active.state = State(None, self.active.served.version)
        self.say(text or challenge())
        self.service = service_among([self.active], **more)
        self.client = Client(self.service)

    def say(self, text: str) -> None:
        other = self.active.challenger
        other.state = State(None, replace(other.served.version, tags={TAG: text}))
        self.active.pair(self.told.append)

    def ask(self, key: str = "", **more: Any) -> Any:
        return self.client.post("/invocations", json={"instances": [[1]]}, headers={"X-Split-Key": key, **more})

    def client_environ(self) -> dict[str, Any]:
        return EnvironBuilder(path="/invocations", method="POST", json={"instances": [[1]]}).get_environ()

    def version(self, key: str) -> str:
        answer = self.ask(key)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["X-Model-Version"])

    def chosen(self) -> set[str]:
        """Return the keys that the challenger answers."""
        return {key for key in KEYS if self.active.split.chooses(key)}


def key_of_challenger(worker: Worker) -> str:
    return min(worker.chosen())


# --- who is answered -------------------------------------------------------------------------------------------------


def test_so_many_of_a_hundred_keys_are_the_challengers_in_each_worker_the_same() -> None:
    first, second = Worker(says(2, "4")), Worker(says(2, "4"))
    assert first.chosen() == second.chosen()
    assert 0.08 < len(first.chosen()) / len(KEYS) < 0.12
    for key in KEYS[:40]:
        expected = "4" if key in first.chosen() else "3"
        assert [worker.version(key) for worker in (first, second, first)] == [expected] * 3


def test_with_more_percent_the_same_keys_are_the_challengers_and_others() -> None:
    worker = Worker(says(2, "4"))
    few = worker.chosen()
    worker.say(challenge(30))
    many = worker.chosen()
    assert few < many
    worker.say(challenge(30, key="another experiment"))
    assert 0.05 < len(worker.chosen() & few) / len(few) < 0.6  # as many as chance has it, and not all or none


def test_where_no_key_is_sent_the_requests_id_is_one() -> None:
    worker = Worker(says(2, "4"))
    theirs = key_of_challenger(worker)
    assert worker.ask(**{"X-Request-ID": theirs}).headers["X-Model-Version"] == "4"
    ours = min(set(KEYS) - worker.chosen())
    assert worker.ask(**{"X-Request-ID": ours}).headers["X-Model-Version"] == "3"


def test_an_answer_a_log_line_and_an_observer_tell_who_has_answered() -> None:
    readable, writable = os.pipe()
    seen: list[Observation] = []
    worker = Worker(says(2, "4"), log=RequestLog(1000, writable), observers=(seen.append,))
    answer = worker.ask(key_of_challenger(worker))
    os.close(writable)
    with open(readable) as lines:
        (line,) = map(json.loads, lines)
    assert answer.json == {"predictions": [2]}
    assert (answer.headers["X-Model-Version"], line["version"]) == ("4", "4")
    assert [observation.deployment.version.version for observation in seen] == ["4"]


def test_whoever_asks_for_a_version_gets_that_of_production() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    row = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}
    headers = {"X-Split-Key": key_of_challenger(worker)}
    named = worker.client.post(f"/v2/models/{NAME}/versions/3/infer", json=row, headers=headers)
    free = worker.client.post(f"/v2/models/{NAME}/infer", json=row, headers=headers)
    assert (named.headers["X-Model-Version"], free.headers["X-Model-Version"]) == ("3", "4")


@pytest.mark.parametrize("text", ["over", challenge(0), challenge(days=-1), '{"percent": 90}'])
def test_without_a_share_the_challenger_answers_nobody(text: str) -> None:
    worker = Worker(says(2, "4"), text)
    assert worker.active.split is None
    assert {worker.version(key) for key in KEYS[:50]} == {"3"}


def test_a_challenger_that_does_not_take_what_production_takes_answers_nobody_and_that_is_said() -> None:
    worker = Worker(says(2, "4", Column("x"), Column("y")))
    assert worker.active.split is None
    told = worker.client.get("/version").json["challenger"]
    assert (told["mode"], told["version"]) == ("shadow", "4")
    assert "would break requests that Production answers" in told["problem"]


def test_once_it_is_in_production_itself_it_is_nobodys_challenger() -> None:
    worker = Worker(says(2, "3"))
    assert worker.active.split is None
    assert worker.client.get("/version").json["challenger"]["problem"] == "it is in Production"


def test_when_its_time_is_over_production_answers_all() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    split = worker.active.split
    assert split is not None
    worker.active.split = replace(split, until=time.time() - 1)
    worker.service.look_around()
    assert {worker.version(key) for key in KEYS[:20]} == {"3"}


def test_each_version_that_takes_turns_fills_its_own_segment(tmp_path: Path) -> None:
    log = PredictionLog(1.0, frozenset(), Spool(tmp_path, 1 << 22, 1 << 20))
    worker = Worker(says(2, "4"), challenge(50), observers=(log,))
    for key in KEYS[:40]:
        worker.version(key)
    assert len(list(segments(tmp_path))) == 2


def test_while_there_is_a_challenger_a_client_is_known_by_its_key_s_hash_whoever_answers() -> None:
    seen: list[Observation] = []
    worker = Worker(says(2, "4"), challenge(50), observers=(seen.append,))

    def clients(*texts: str) -> list[bytes | None]:
        seen.clear()
        for text in texts:
            worker.say(text)
            worker.ask("mine")
        return [one.client for one in seen]

    split, more, shadow, other, alone = clients(
        challenge(50), challenge(40), challenge(0), challenge(50, key="two"), "over"
    )
    assert split == more == shadow == digest_of("mine", b"one") != digest_of("yours", b"one")
    assert len({split, other, alone, b""}) == 4  # in another experiment it is another one
    assert b"mine" not in split
    worker.ask()
    assert seen[-1].client is None
    worker.active.challenger.served = None
    worker.active.pair(worker.told.append)
    worker.ask("mine")
    assert seen[-1].client == b""


# --- what sends it away ----------------------------------------------------------------------------------------------


def test_what_the_challenger_cannot_answer_production_answers_and_from_then_on_all() -> None:
    worker = Worker(says(ZeroDivisionError("of 4711"), "4"), challenge(50))
    key = key_of_challenger(worker)
    answer = worker.ask(key)
    assert (answer.status_code, answer.json) == (200, {"predictions": [1]})
    assert answer.headers["X-Model-Version"] == "3"
    assert worker.active.split is None
    (told,) = worker.told
    assert isinstance(told, Returned)
    assert (told.version.version, told.reason) == ("4", "it fails where version 3 answers (ZeroDivisionError)")
    worker.say(challenge(50, key="again"))
    assert worker.active.split is None  # once is for good
    assert {worker.version(key) for key in KEYS[:20]} == {"3"}
    assert worker.client.get("/version").json["challenger"]["returned"] == told.reason


def explained(deployment: Deployment) -> Deployment:
    return replace(deployment, model=replace(deployment.model, background=Rows(np.zeros((4, 1)), None)))


def test_what_is_explained_is_what_the_version_says_that_answers_the_client() -> None:
    worker = Worker(explained(says(2.5, "4")), challenge(50), champion=explained(says(1.5, "3")))
    theirs, ours = key_of_challenger(worker), min(set(KEYS) - worker.chosen())
    for key, version, value in ((theirs, "4", 2.5), (ours, "3", 1.5)):
        answer = worker.client.post("/explain", json={"instances": [[1]]}, headers={"X-Split-Key": key})
        assert (answer.headers["X-Model-Version"], answer.json["prediction"]) == (version, value)
        assert worker.version(key) == version


def test_what_a_challenger_cannot_explain_production_does_and_that_sends_nobody_away() -> None:
    worker = Worker(says(2.5, "4"), challenge(50), champion=explained(says(1.5, "3")))
    headers = {"X-Split-Key": key_of_challenger(worker)}
    answer = worker.client.post("/explain", json={"instances": [[1]]}, headers=headers)
    assert (answer.status_code, answer.headers["X-Model-Version"], answer.json["prediction"]) == (200, "3", 1.5)
    assert (worker.active.split is not None, worker.told) == (True, [])


def test_labels_are_the_models_whoever_the_client_is() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    headers = {"X-Split-Key": key_of_challenger(worker)}
    assert worker.client.post("/labels", json={"labels": []}, headers=headers).headers["X-Model-Version"] == "3"


def test_a_request_that_is_answered_aside_keeps_its_id_and_who_answers_it() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    for _ in range(20):
        context = worker.service.begin(worker.client_environ())
        found = []
        for _ in range(2):
            worker.service._receive(context)
            found.append((context.request_id, context.served.version.version))
        assert found[0] == found[1]


def test_what_neither_of_them_takes_is_no_fault_of_the_challengers() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    key = key_of_challenger(worker)
    answer = worker.client.post("/invocations", json={"instances": [["no number"]]}, headers={"X-Split-Key": key})
    assert (answer.status_code, answer.json["where"]) == (400, "instances[0][0]")
    assert worker.active.split is not None
    assert worker.told == []


def test_what_neither_of_them_can_answer_is_production_s_error() -> None:
    broken = says(ValueError("no"), "3")
    worker = Worker(says(ValueError("no"), "4"), challenge(50), champion=broken)
    answer = worker.ask(key_of_challenger(worker))
    assert (answer.status_code >= 400, answer.headers["X-Model-Version"]) == (True, "3")
    assert worker.told == []


def test_answers_that_differ_too_often_send_it_away_and_one_experiment_is_not_held_against_another() -> None:
    worker = Worker(says(2, "4"), challenge(50), limits=Limits(unlike=0.5))
    key = key_of_challenger(worker)
    assert {worker.version(key) for _ in range(LEAST)} == {"4"}
    assert worker.version(key) == "3"
    (told,) = worker.told
    assert told.reason == "100% of its answers differ from those of version 3 (limit: 50%)"


def test_answers_that_differ_as_often_as_they_may_do_not() -> None:
    worker = Worker(says(2, "4"), challenge(50), limits=Limits(unlike=1.0))
    key = key_of_challenger(worker)
    assert {worker.version(key) for _ in range(ALL + 20)} == {"4"}
    assert worker.told == []


def guard(champion: Deployment, challenger: Deployment, **limits: float) -> tuple[Guard, list[str]]:
    reasons: list[str] = []
    return Guard(champion, challenger, reasons.append, Limits(**limits)), reasons


def compare(one: Guard, challenger: Deployment, rows: list[list[Any]], seconds: float = 0.0) -> None:
    cells = from_cells(rows, challenger.model.description.columns, lambda i, j: "")
    one.compare(cells, challenger.model.answer(cells), seconds)


def test_a_challenger_that_takes_far_longer_is_sent_away_and_one_stall_is_none() -> None:
    champion, challenger = says(1, "3"), says(1, "4")
    once, none = guard(champion, challenger)
    for number in range(LEAST):
        compare(once, challenger, [[1]], seconds=5.0 if number == 7 else 0.0)
    assert none == []
    always, reasons = guard(champion, challenger)
    for _ in range(LEAST):
        compare(always, challenger, [[1]], seconds=5.0)
    assert reasons == ["100% of its answers take far longer than those of version 3 (limit: 5%)"]


class Clock:
    """Goes on by a step with each look at it."""

    def __init__(self) -> None:
        self.now = self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def stalled(likelihood: float, more: float, requests: int) -> list[str]:
    """Return why a challenger is sent away where the machine stalls either version so often, and itself it stalls more often by so much."""
    champion, challenger = says(1, "3"), says(1, "4")
    clock, reasons = Clock(), list[str]()
    one = Guard(champion, challenger, reasons.append, Limits(), clock)
    cells = from_cells([[1]], challenger.model.description.columns, lambda i, j: "")
    answer = challenger.model.answer(cells)
    chances = np.random.default_rng(7).random((requests, 2)) < (likelihood, likelihood + more)
    for theirs, ours in np.where(chances, 0.03, 0.001).tolist():
        clock.step = theirs
        one.compare(cells, answer, ours)
    return reasons


@pytest.mark.fuzz
@pytest.mark.parametrize("likelihood", [0.02, 0.1, 0.3])
def test_a_machine_that_stalls_either_version_sends_no_challenger_away(likelihood: float) -> None:
    assert stalled(likelihood, 0.0, requests=10_000) == []


@pytest.mark.parametrize("likelihood", [0.0, 0.1, 0.3])
def test_a_challenger_that_is_slow_is_found_out_on_a_busy_machine_too(likelihood: float) -> None:
    (reason,) = stalled(likelihood, 0.3, requests=1000)
    assert reason.endswith("take far longer than those of version 3 (limit: 5%)")


def test_a_fair_coin_is_taken_for_an_unfair_one_in_one_case_of_a_thousand_at_most_at_whatever_throw() -> None:
    not_yet, taken = np.ones(1), 0.0  # the likelihood of each count of heads, where it was not taken for one so far
    for throws in range(1, 300):
        not_yet = (np.append(not_yet, 0) + np.append(0, not_yet)) / 2
        is_taken = [is_no_chance(heads, throws - heads) for heads in range(throws + 1)]
        taken += not_yet[is_taken].sum()
        not_yet[is_taken] = 0
    assert 1 / 10_000 < taken < 1 / 1000
    assert not is_no_chance(13, 0)
    assert is_no_chance(14, 0)
    assert not is_no_chance(0, 14)


def test_texts_that_the_challenger_alone_never_saw_send_it_away() -> None:
    column = Column("town", Kind.TEXT, datatype="BYTES")

    def knowing(version: str, *towns: str) -> Deployment:
        found = says(1, version, column)
        description = replace(found.model.description, categories={"town": list(towns)})
        return replace(found, model=replace(found.model, description=description))

    champion, challenger = knowing("3", "Ulm", "Rom"), knowing("4", "Ulm")
    one, reasons = guard(champion, challenger)
    for _ in range(LEAST):
        compare(one, challenger, [["Ulm"], ["Rom"], ["Oslo"], ["Ulm"]])
    assert reasons == ["25% of the rows have a text that version 3 knows and it does not (limit: 5%)"]


def test_quantities_are_unlike_where_they_are_further_apart_than_they_vary() -> None:
    class Doubles:
        def __init__(self, shift: float) -> None:
            self._shift = shift

        def predict(self, frame: Any) -> np.ndarray:
            return np.asarray(frame["x"], float) * 2 + self._shift

    def shifted(version: str, shift: float) -> Deployment:
        return served_as(
            answering(Doubles(shift), described([Column("x")])), ModelVersion(NAME, version, "", 1, "", "")
        )

    champion = shifted("3", 0.0)
    for shift, is_unlike in ((0.1, False), (50.0, True)):
        one, reasons = guard(champion, challenger := shifted("4", shift))
        for number in range(LEAST):
            compare(one, challenger, [[number % 7], [number % 5]])
        assert bool(reasons) is is_unlike


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_quantity_that_is_no_number_is_unlike_one_that_is_and_hides_no_other(value: float) -> None:
    champion, challenger = says(1.5, "3"), says(value, "4")
    one, reasons = guard(champion, challenger)
    for _ in range(LEAST):
        compare(one, challenger, [[1]])
    assert reasons == ["100% of its answers differ from those of version 3 (limit: 30%)"]
    swapped, reasons = guard(challenger, champion)
    for _ in range(LEAST):
        compare(swapped, champion, [[1]])
    assert len(reasons) == 1


def test_one_request_for_which_it_has_no_time_is_no_reason_and_many_are() -> None:
    one, reasons = guard(says(1, "3"), challenger := says(1, "4"))
    one.failed(Overloaded("it takes too long"))
    for _ in range(LEAST):
        compare(one, challenger, [[1]])
    assert reasons == []
    for _ in range(LEAST):
        one.failed(Overloaded("it takes too long"))
    assert reasons[0].endswith("take far longer than those of version 3 (limit: 5%)")


def test_names_alone_are_compared_too() -> None:
    champion, challenger = says(0, "3"), says(0, "4")

    def sure(of: Deployment, shares: list[float]) -> Deployment:
        estimator = Says(0)
        estimator.classes_ = np.array([0, 1])  # type: ignore[attr-defined]
        estimator.predict_proba = lambda frame: np.array([shares] * len(frame))  # type: ignore[attr-defined]
        return replace(of, model=answering(estimator, described([Column("x")], class_names=["a", "b"])))

    one, reasons = guard(sure(champion, [0.9, 0.1]), other := sure(challenger, [0.2, 0.8]))
    rows = from_cells([[1]], other.model.description.columns, lambda i, j: "")
    for _ in range(LEAST):
        one.compare(rows, Prediction(None, np.array([[0.2, 0.8]]), "test"), 0.0)
    assert reasons == ["100% of its answers differ from those of version 3 (limit: 30%)"]


def test_a_comparison_that_fails_is_no_reason_not_to_answer() -> None:
    worker = Worker(says(2, "4"), challenge(50), champion=says(ZeroDivisionError("of Production's"), "3"))
    answer = worker.ask(key_of_challenger(worker))
    assert (answer.status_code, answer.json, worker.told) == (200, {"predictions": [2]}, [])


# --- what a worker is told -------------------------------------------------------------------------------------------


class Speaker:
    """Says what it is given, and then that it is gone."""

    def __init__(self, *said: Any) -> None:
        self._said = said
        self.answers: list[ToPoller] = []

    def messages(self) -> Any:
        yield from self._said

    def answer(self, message: ToPoller) -> None:
        self.answers.append(message)


def spec_of(served: Deployment, id: int = 1) -> DeploymentSpec:
    return DeploymentSpec(id, f"/{id}", served.version, {}, "", {}, served.model.description.to_json())


def following(*said: Any) -> ActiveModel:
    champion, challenger = says(1, "3"), says(2, "4")
    loaded: Callable[..., Any] = lambda files, _: (champion if str(files.folder) == "/1" else challenger).model  # noqa: E731
    active = ActiveModel(NAME, loaded, ActiveModel(place_of(NAME), loaded))
    deployments = Deployments([active])
    produced = (Serve(NAME, spec_of(champion)), Report(NAME, State(None, champion.version)))
    deployments.follow(Speaker(*produced, *said), lambda: None, 30)
    return active


def test_a_worker_that_joins_waits_for_its_challenger_and_splits_from_its_first_request_on() -> None:
    challenger = says(2, "4")
    told = State(None, replace(challenger.version, tags={TAG: challenge()}))
    active = following(Serve(place_of(NAME), spec_of(challenger, 2)), Report(place_of(NAME), told))
    assert active.split.challenger.version.version == "4"


def test_a_challenger_that_is_none_any_more_answers_nobody() -> None:
    challenger = says(2, "4")
    told = State(None, replace(challenger.version, tags={TAG: challenge()}))
    place = place_of(NAME)
    active = following(Serve(place, spec_of(challenger, 2)), Stop(place), Report(place, State(None)))
    assert (active.split, active.challenger.served) == (None, None)
    assert told.version is not None


# --- what is told of it ----------------------------------------------------------------------------------------------


def test_without_a_challenger_nothing_is_said_of_one() -> None:
    assert "challenger" not in Client(service_among([active_of(says(1, "3"))])).get("/version").json


def test_the_page_and_the_version_tell_who_answers_whom() -> None:
    worker = Worker(says(2, "4"), challenge(12.5))
    told = worker.client.get("/version").json["challenger"]
    assert (told["version"], told["mode"], told["percent"], told["returned"]) == ("4", "split", 12.5, None)
    page = worker.client.get("/", headers={"Accept": "text/html"}).text
    assert "Version 4, the challenger, answers 12.5 of 100 requests" in page
    worker.say("over")
    told = worker.client.get("/version").json["challenger"]
    assert (told["mode"], told["percent"]) == ("shadow", 0.0)
    assert (
        "Version 4, the challenger, answers nobody yet." in worker.client.get("/", headers={"Accept": "text/html"}).text
    )


def test_whom_another_worker_has_sent_away_answers_nobody_and_that_is_said() -> None:
    worker = Worker(says(2, "4"), challenge(50))
    other = worker.active.challenger
    other.state = State(None, replace(other.served.version, tags={RETURNED: "it fails"}))
    worker.active.pair(worker.told.append)
    assert worker.active.split is None
    assert worker.client.get("/version").json["challenger"]["returned"] == "it fails"
    assert "answers nobody any more: it fails." in worker.client.get("/", headers={"Accept": "text/html"}).text


def test_the_split_s_hash_takes_any_key_that_a_header_has() -> None:
    split = Split.of(says(2, "4"), "one", 50, time.time() + 60)
    assert isinstance(split.chooses("\xff\udc80 umläut"), bool)


def test_a_service_without_a_challenger_looks_at_one_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("nobody is to choose")

    monkeypatch.setattr(Service, "_chosen", asked)
    client = Client(service_among([active_of(says(1, "3"))]))
    assert client.post("/invocations", json={"instances": [[1]]}).json == {"predictions": [1]}
