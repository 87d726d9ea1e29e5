"""Who trains when: by the clock, what was missed once, and on drift not too often."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from trainer.errors import TrackingError
from trainer.schedule.monitor import Verdict
from trainer.schedule.record import FAILED, Outcome, Record, Training
from trainer.schedule.settings import Schedule
from trainer.training_lock import Busy

BY_CLOCK, BY_DRIFT = "schedule", "drift"
# How long until the next look, where nothing is due before; and where what is due has to wait.
LOOK_SECONDS, WAIT_SECONDS = 60.0, 10.0


@dataclass
class Scheduler:
    """Looks whether a training is due, has it run, and keeps what came of it. Times are in seconds since 1970."""

    schedule: Schedule
    record: Record
    now: Callable[[], float]
    turn: Callable[[], AbstractContextManager[list[int]]]
    """holds the lock for a training; raises Busy or TrackingError where none can begin"""
    train: Callable[[list[int]], Outcome]
    ask: Callable[[], Verdict]
    """the monitor"""
    keep: Callable[[Record], object]
    tell: Callable[[str], object]
    waiting: str | None = field(default=None, init=False)
    """why a training that is due has not begun"""
    verdict: Verdict = field(default=Verdict(False), init=False)

    @property
    def next(self) -> float | None:
        """When a training is due by the clock, in the past where one is due; None for never."""
        return self.schedule.after(self.record.seen)

    def begin(self) -> None:
        """Take up what is kept: a training that the service did not live to see the end of has failed."""
        if (running := self.record.running) is not None:
            ended = replace(running, ended=self.now(), outcome=Outcome(FAILED, "the service ended before it did"))
            self._note(ended)

    def look(self) -> float:
        """Train where that is due; return how many seconds to wait until the next look."""
        if self.schedule.on_drift:
            self.verdict = self.ask()
        trigger = self._due()
        if trigger is None:
            self.waiting = None
        else:
            self._run(trigger)
        until = LOOK_SECONDS if self.next is None else self.next - self.now()
        return max(0.0, WAIT_SECONDS if self.waiting else min(LOOK_SECONDS, until))

    def _due(self) -> str | None:
        if self.next is not None and self.next <= self.now():
            return BY_CLOCK
        return BY_DRIFT if self.schedule.on_drift and self.verdict.drift and self._is_rested() else None

    def _is_rested(self) -> bool:
        last = self.record.last
        return last is None or self.now() - (last.ended or 0) >= self.schedule.min_hours * 3600

    def _run(self, trigger: str) -> None:
        try:
            with self.turn() as lock:
                self.waiting = None
                self._train(trigger, lock)
        except (Busy, TrackingError) as why:
            if str(why) != self.waiting:  # once, and not at each look
                self.tell(f"a training is due by {trigger} and waits: {why}")
            self.waiting = str(why)

    def _train(self, trigger: str, lock: list[int]) -> None:
        """Whatever was due until now is seen to by this training, also if nobody lives to see its end."""
        running = Training(trigger, self.now())
        self._keep(replace(self.record, seen=running.started, running=running))
        self.tell(f"training, by {trigger}")
        outcome = self.train(lock)
        self._note(replace(running, ended=self.now(), outcome=outcome))

    def _note(self, ended: Training) -> None:
        made = ended.outcome
        assert made is not None, "it has ended"  # noqa: S101
        failed = made.outcome == FAILED
        self._keep(
            replace(
                self.record,
                running=None,
                last=ended,
                last_success=self.record.last_success if failed else ended.ended,
                count=self.record.count | {made.outcome: self.record.count[made.outcome] + 1},
            )
        )
        version = f"version {made.version} of {made.model_name}, " if made.version else ""
        self.tell(f"{made.outcome}: {version}{made.reason}")

    def _keep(self, record: Record) -> None:
        self.record = record
        self.keep(record)
