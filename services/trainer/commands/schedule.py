"""Train by the clock and on drift, and carry a challenge on, until a signal ends it.

This process imports nothing of MLflow's and reads no data: each training is a process of its own, and so is whatever changes a challenge. So what
ends one, or takes its memory, is not the end of the schedule.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click
from contract.settings import told

from trainer import training_lock
from trainer.console import terminal
from trainer.errors import SettingsError
from trainer.schedule import monitor, record, training, web
from trainer.schedule.following import Looker
from trainer.schedule.scheduler import Scheduler
from trainer.schedule.settings import Schedule
from trainer.settings import Settings
from trainer.tracking import rest


def run(settings: Settings, schedule: Schedule) -> None:
    """Look whether a training is due, and beside it whether a challenge calls for something, again and again."""
    tell(f"settings: {json.dumps(told(settings, schedule), ensure_ascii=False)}")
    scheduler = scheduler_of(settings, schedule)
    looker = Looker(settings, schedule.challenge_seconds, tell)
    port = web.serve(scheduler, looker.following)
    due = web.status(scheduler, looker.following)["next"]
    tell(
        f"next training {'on drift alone' if due is None else due}, with {list(schedule.arguments)}; /status on port {port}"
    )
    scheduler.begin()
    with looker:
        while True:
            time.sleep(scheduler.look())


def scheduler_of(settings: Settings, schedule: Schedule) -> Scheduler:
    """Return the scheduler of this place, with what is kept of its trainings."""
    scheduler = Scheduler(
        schedule=schedule,
        record=_record(schedule),
        now=time.time,
        turn=partial(_turn, settings),
        train=partial(training.train, schedule.arguments),
        ask=partial(monitor.ask, settings.monitor_url),
        keep=partial(_keep, schedule),
        tell=tell,
    )
    record.write(schedule.file, scheduler.record)  # what cannot be kept is told now, and not after the first training
    return scheduler


def _record(schedule: Schedule) -> record.Record:
    """Return what is kept; with another schedule than before, nothing of it has been missed."""
    new = record.Record(f"{schedule.cron} {schedule.time_zone}", time.time())
    try:
        found = record.read(schedule.file)
    except ValueError as error:
        tell(f"{schedule.file} is begun anew: {error}")
        found = None
    if found is None or found.schedule == new.schedule:
        return found or new
    return record.Record(**vars(found) | {"schedule": new.schedule, "seen": new.seen})


def _keep(schedule: Schedule, kept: record.Record) -> None:
    """Write down what is kept; where that fails, a training is no worse for it."""
    try:
        record.write(schedule.file, kept)
    except SettingsError as error:
        tell(str(error))


@contextmanager
def _turn(settings: Settings) -> Iterator[list[int]]:
    rest.check_reachable(settings.tracking_uri)
    with training_lock.alone(settings.data_dir) as lock:
        yield lock


def tell(words: str) -> None:
    """Write a line of the log."""
    click.echo(terminal.one_line(f"schedule: {words}"), err=True)
