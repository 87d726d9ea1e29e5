"""What strangers leave in MLflow stops no training: a heartbeat that is none, a record of a version that is not there."""

import time
from types import SimpleNamespace

import pytest
from trainer.errors import VersionError
from trainer.promotion import champion_challenger as contests
from trainer.promotion.champion_challenger import Contest
from trainer.promotion.policy import Contender, Gate
from trainer.tracking import run_lifecycle
from trainer.tracking.alias_history import Move
from trainer.tracking.alias_moves import Records


class Tracking:
    """MLflow with one run that is RUNNING."""

    def __init__(self, heartbeat: str) -> None:
        data = SimpleNamespace(tags={run_lifecycle.HEARTBEAT: heartbeat})
        self.run = SimpleNamespace(info=SimpleNamespace(run_id="r", run_name="odd", experiment_id="0"), data=data)
        self.ended: list[str] = []

    def __call__(self) -> "Tracking":
        return self

    def search_runs(self, *_: object) -> list[SimpleNamespace]:
        return [self.run]

    def search_logged_models(self, *_: object, **__: object) -> list[object]:
        return []

    def search_model_versions(self, *_: object) -> list[object]:
        return []

    def set_terminated(self, run_id: str, status: str) -> None:
        self.ended.append(status)


@pytest.mark.parametrize("heartbeat", ["soon", "", "nan", "inf", "-inf", "1e300", "-1", str(time.time() + 10**6)])
def test_a_run_whose_heartbeat_is_no_trainers_is_left_alone_and_not_waited_for(monkeypatch, heartbeat):
    tracking = Tracking(heartbeat)
    monkeypatch.setattr(run_lifecycle, "MlflowClient", tracking)
    (said,) = run_lifecycle.close_abandoned_runs("0")
    assert said == "run odd is left alone: its tag trainer_heartbeat is no time of a trainer's"
    assert tracking.ended == []


def test_a_run_without_a_recent_heartbeat_is_closed_still(monkeypatch):
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

    def search_runs(self, *_: object) -> list[SimpleNamespace]:
        # They come by turns: at each look, one more of them shows that it lives.
        turn = int(self.clock.now - 1e9)
        return [self._run(i, renewed=self.renewed and i < turn) for i in range(1000)]

    def _run(self, number: int, renewed: bool) -> SimpleNamespace:
        info = SimpleNamespace(run_id=f"r{number}", run_name=f"run-{number}", experiment_id="0")
        return SimpleNamespace(
            info=info, data=SimpleNamespace(tags={run_lifecycle.HEARTBEAT: "1" if renewed else self.beat})
        )


@pytest.mark.parametrize(("renewed", "ahead"), [(True, 0), (False, 0), (False, 50)])
def test_a_thousand_runs_are_watched_no_longer_than_one(monkeypatch, renewed, ahead):
    clock = Clock()
    tracking = Many(clock, renewed, ahead)
    monkeypatch.setattr(run_lifecycle, "MlflowClient", tracking)
    monkeypatch.setattr(run_lifecycle, "time", clock)
    said = list(run_lifecycle.close_abandoned_runs("0"))
    assert clock.now - 1e9 <= run_lifecycle.GIVEN_UP_SECONDS
    assert len(said) == len(tracking.ended) == (1000 - int(clock.now - 1e9) if renewed else 1000)


def test_a_run_that_shows_that_it_lives_or_ends_meanwhile_is_not_closed(monkeypatch):
    clock = Clock()
    lives = Tracking(str(clock.now))
    monkeypatch.setattr(run_lifecycle, "MlflowClient", lives)
    monkeypatch.setattr(run_lifecycle, "time", clock)
    ended = SimpleNamespace(info=SimpleNamespace(run_id="e", run_name="ends", experiment_id="0"), data=lives.run.data)
    renewed = SimpleNamespace(
        info=lives.run.info, data=SimpleNamespace(tags={run_lifecycle.HEARTBEAT: str(clock.now + 4)})
    )
    found = iter([[lives.run, ended], [lives.run, ended], [renewed]])
    monkeypatch.setattr(lives, "search_runs", lambda *_: next(found))
    assert list(run_lifecycle.close_abandoned_runs("0")) == []
    assert lives.ended == []


class Registry:
    """A registered model without versions but the candidate's, and records that appear once it has moved the alias."""

    def __init__(self, later: dict[str, Move]) -> None:
        self.alias: str | None = None
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

    def move(self, name: str, by: str, version: str, reason: str) -> None:
        self.alias = version


def test_a_record_of_a_version_that_is_not_there_is_nobody_to_contest_with(monkeypatch):
    registry = Registry({f"move.{number}": Move(None, "train", None, number, "") for number in ("98", "99")})
    for name in ("registry", "alias_moves"):
        monkeypatch.setattr(contests, name, registry)
    candidate, gate = Contender("1", 0.9, "digest"), Gate("accuracy", {})
    contest = Contest("m", candidate, None, {}, None, None, gate, None, None, frozenset())  # type: ignore[arg-type]
    assert contest.carry_out(contest.decide()).promote
    assert registry.alias == "1"
