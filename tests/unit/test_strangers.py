"""What strangers leave in MLflow stops no training: a heartbeat that is none, a record of a version that is not there."""

import time
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from contract.tracking.alias_history import Move
from contract.tracking.bounded_http import TooLong
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from trainer.errors import AnswerTooLong, VersionError
from trainer.promotion import champion_challenger as champion_challenger
from trainer.promotion.champion_challenger import Challenge
from trainer.promotion.policy import Contender, QualityGate
from trainer.tracking import challengers, registry, run_lifecycle
from trainer.tracking.alias_moves import Records


class Tracking:
    """MLflow with one run that is RUNNING."""

    def __init__(self, heartbeat: str) -> None:
        data = SimpleNamespace(tags={run_lifecycle.HEARTBEAT: heartbeat})
        self.run = SimpleNamespace(info=SimpleNamespace(run_id="r", run_name="odd", experiment_id="0"), data=data)
        self.ended: list[str] = []

    def __call__(self) -> "Tracking":
        return self

    def search_runs(self, **_: object) -> PagedList[SimpleNamespace]:
        return PagedList([self.run], None)

    def search_logged_models(self, *_: object, **__: object) -> list[object]:
        return []

    def search_model_versions(self, *_: object) -> list[object]:
        return []

    def set_terminated(self, run_id: str, status: str) -> None:
        self.ended.append(status)


@pytest.mark.parametrize("heartbeat", ["soon", "", "nan", "inf", "-inf", "1e300", "-1", str(time.time() + 10**6)])
def test_a_run_whose_heartbeat_is_no_trainers_is_left_alone_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, heartbeat: str
) -> None:
    tracking = Tracking(heartbeat)
    monkeypatch.setattr(run_lifecycle, "MlflowClient", tracking)
    (said,) = run_lifecycle.close_abandoned_runs("0")
    assert said == "run odd is left alone: its tag trainer_heartbeat is no time of a trainer's"
    assert tracking.ended == []


def test_a_run_without_a_recent_heartbeat_is_closed_still(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = Tracking(str(time.time() - 3600))
    monkeypatch.setattr(run_lifecycle, "MlflowClient", tracking)
    (said,) = run_lifecycle.close_abandoned_runs("0")
    assert "is closed as KILLED" in said
    assert tracking.ended == ["KILLED"]


class Clock:
    """Time that passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Many(Tracking):
    """MLflow with a thousand runs, whose heartbeats are renewed for ever, or never."""

    def __init__(self, clock: Clock, renewed: bool, ahead: float = 0) -> None:
        super().__init__("")
        self.clock, self.renewed, self.beat = clock, renewed, str(clock.now + ahead)

    def search_runs(self, *, max_results: int, page_token: str | None, **_: object) -> PagedList[SimpleNamespace]:  # type: ignore[override]
        # They come by turns: at each look, one more of them shows that it lives.
        turn, start = int(self.clock.now - 1e9), int(page_token or 0)
        end = min(start + max_results, 1000)
        found = [self._run(i, renewed=self.renewed and i < turn) for i in range(start, end)]
        return PagedList(found, str(end) if end < 1000 else None)

    def _run(self, number: int, renewed: bool) -> SimpleNamespace:
        info = SimpleNamespace(run_id=f"r{number}", run_name=f"run-{number}", experiment_id="0")
        return SimpleNamespace(
            info=info, data=SimpleNamespace(tags={run_lifecycle.HEARTBEAT: "1" if renewed else self.beat})
        )


@pytest.mark.parametrize(("renewed", "ahead"), [(True, 0), (False, 0), (False, 50)])
def test_a_thousand_runs_are_watched_no_longer_than_one(
    monkeypatch: pytest.MonkeyPatch, renewed: bool, ahead: int
) -> None:
    clock = Clock()
    tracking = Many(clock, renewed, ahead)
    monkeypatch.setattr(run_lifecycle, "MlflowClient", tracking)
    monkeypatch.setattr(run_lifecycle, "time", clock)
    said = list(run_lifecycle.close_abandoned_runs("0"))
    assert clock.now - 1e9 <= run_lifecycle.GIVEN_UP_SECONDS
    assert len(said) == len(tracking.ended) == (1000 - int(clock.now - 1e9) if renewed else 1000)


def test_a_run_that_shows_that_it_lives_or_ends_meanwhile_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    lives = Tracking(str(clock.now))
    monkeypatch.setattr(run_lifecycle, "MlflowClient", lives)
    monkeypatch.setattr(run_lifecycle, "time", clock)
    ended = SimpleNamespace(info=SimpleNamespace(run_id="e", run_name="ends", experiment_id="0"), data=lives.run.data)
    renewed = SimpleNamespace(
        info=lives.run.info, data=SimpleNamespace(tags={run_lifecycle.HEARTBEAT: str(clock.now + 4)})
    )
    found = iter([[lives.run, ended], [lives.run, ended], [renewed]])
    monkeypatch.setattr(lives, "search_runs", lambda **_: PagedList(next(found), None))
    assert list(run_lifecycle.close_abandoned_runs("0")) == []
    assert lives.ended == []


class TooMuch(Tracking):
    """MLflow where somebody has written more into what is listed than is read, behind the first of it."""

    def search_runs(self, *, page_token: str | None = None, **_: object) -> PagedList[SimpleNamespace]:  # type: ignore[override]
        return PagedList([self.run] * 20, "more") if page_token is None else self._cut()

    def search_model_versions(self, *_: object, **__: object) -> list[object]:
        return self._cut()

    def get_model_version_by_alias(self, *_: object) -> None:
        return None

    def get_registered_model(self, *_: object) -> None:
        self._cut()

    def _cut(self) -> NoReturn:
        try:
            raise TooLong("it goes on after 16 MB")
        except TooLong as error:
            raise MlflowException(f"API request failed with exception {error}")  # noqa: B904 - as MLflow does


def test_what_is_too_much_to_be_read_stops_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = TooMuch(str(time.time() - 3600))
    for module in (run_lifecycle, registry):
        monkeypatch.setattr(module, "MlflowClient", tracking)
    (said,) = run_lifecycle.close_abandoned_runs("0")
    assert said.startswith("runs that were left behind are not looked for: an answer of MLflow's is not read (")
    assert run_lifecycle.attempts("0", "digest", "flowers") == 20
    registry.show_stages("flowers")
    with pytest.raises(AnswerTooLong):
        registry.newest("flowers")


def test_what_is_too_much_to_be_read_lets_nobody_challenge_who_may_have_been_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(challengers, "MlflowClient", TooMuch(""))
    with pytest.raises(
        VersionError, match="whether version 4 of flowers was sent away before cannot be told, so"
    ) as told:
        challengers.sent_away("flowers", "4")
    assert "has to be deleted" in str(told.value)
    assert challengers.records("flowers") == []  # for display


class Registry:
    """A registered model without versions but the challenger's, and records that appear once it has moved the alias."""

    def __init__(self, later: dict[str, Move]) -> None:
        self.alias: str | None = None
        self.meanwhile: str | None = None
        """where somebody else puts the alias just before it is moved"""
        self.later = later

    def in_production(self, name: str) -> None:
        assert self.alias is None

    def production(self, name: str) -> str | None:
        return self.alias

    def model_version(self, name: str, version: str) -> None:
        raise VersionError(f"there is no version {version!r}")

    def read(self, name: str) -> Records:
        return Records(self.records(name), [], self.alias)

    def records(self, name: str) -> dict[str, Move]:
        return {} if self.alias is None else self.later

    def move(self, name: str, by: str, version: str, reason: str) -> Move:
        before, self.alias = self.meanwhile or self.alias, version
        self.meanwhile = None
        return Move(None, by, before, version, reason)


def test_a_record_of_a_version_that_is_not_there_is_nobody_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry({f"move.{number}": Move(None, "train", None, number, "") for number in ("98", "99")})
    for name in ("registry", "alias_moves"):
        monkeypatch.setattr(champion_challenger, name, registry)
    challenger, gate = Contender("1", 0.9, "digest"), QualityGate("accuracy", {})
    challenge = Challenge("m", challenger, None, {}, None, None, gate, None, None, frozenset())  # type: ignore[arg-type]
    assert challenge.carry_out(challenge.decide()).promote
    assert registry.alias == "1"


class Better(Registry):
    """One with a version of whatever number, whose recorded score is better, and which cannot be tried."""

    def model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(version=version)


@pytest.mark.parametrize(("meanwhile", "alias"), [(None, "1"), ("98", "98")])
def test_a_challenger_makes_way_for_a_version_that_the_alias_was_at_and_for_none_that_a_record_names(
    monkeypatch: pytest.MonkeyPatch, meanwhile: str | None, alias: str
) -> None:
    registry = Better({"move.98": Move(None, "train", None, "98", "")})
    registry.meanwhile = meanwhile
    for name in ("registry", "alias_moves"):
        monkeypatch.setattr(champion_challenger, name, registry)
    monkeypatch.setattr(
        champion_challenger, "contender", lambda version, *_: Contender(version.version, 0.99, "digest")
    )
    monkeypatch.setattr(Challenge, "_compare", lambda *_: "it could not be tried")
    challenger, gate = Contender("1", 0.9, "digest"), QualityGate("accuracy", {})
    challenge = Challenge("m", challenger, None, {}, None, None, gate, None, None, frozenset())  # type: ignore[arg-type]
    assert challenge.carry_out(challenge.decide()).promote == (alias == "1")
    assert registry.alias == alias
