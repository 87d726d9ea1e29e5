"""Do by itself what a challenge was started to come to: write down the guard's act, and, with --auto, promote or end it.

What is decided, and how, is `challenge status --auto`'s. This is run again and again by the service `schedule`, or by cron.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
from contract.tracking.rest import logged_model_id

from trainer.artifact import signing
from trainer.commands import challenge
from trainer.commands.challenge import Asked
from trainer.commands.production import connect
from trainer.console.terminal import Console
from trainer.errors import DataError, VersionError
from trainer.promotion.live_comparison import rows_of
from trainer.schedule.following import ENDED, NOBODY, OPEN, PROMOTED, RETURNED
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import answered, challengers, registry
from trainer.tracking.challengers import Challenger


@dataclass(frozen=True)
class Step:
    """What was done about a challenge."""

    outcome: str
    """RETURNED, PROMOTED, ENDED; OPEN where it goes on, NOBODY where there is none"""
    reason: str
    model_name: str
    version: str | None = None
    problem: str | None = None
    """what is in the way of deciding"""


def carry_on(settings: Settings, as_json: bool, console: Console) -> None:
    """Look once at who challenges Production, do what that calls for, and print it."""
    connect(settings)
    found = step(settings, console)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        console.print(
            f"{found.outcome}: {found.reason}{f' ({found.problem})' if found.problem else ''}", soft_wrap=True
        )


def step(settings: Settings, console: Console) -> Step:
    """Do what a challenge calls for; return what that was."""
    name, now = settings.model_name, challengers.challenger(settings.model_name)
    if now is None:
        return Step(NOBODY, f"nobody challenges Production of {name}", name)
    service = challenge.service_of(settings)
    if challenge.note_return(settings, now, service) is None:
        return Step(RETURNED, str(service["returned"]), name, now.number)
    if now.challenge is None or now.challenge.auto is None:
        words = "it was not started with --auto: a person promotes it or ends it"
        return Step(OPEN, words, name, now.number, service.get("fault"))
    try:
        _check_signed(settings, now)
    except VersionError as error:
        words = f"its tag does not count, by which it would be promoted or ended: {error}"
        return Step(OPEN, words, name, now.number, words)
    return _decided(settings, now, service.get("fault"), console)


def _check_signed(settings: Settings, now: Challenger) -> None:
    """Raise VersionError where what a challenger's tag says was not signed with the key here: whoever reaches MLflow can write one."""
    said = now.challenge
    assert said is not None, "it says something"  # noqa: S101
    content = said.signed_bytes(settings.model_name, now.number, logged_model_id(now.version.source) or "")
    signing.verify_text(content, said.signature, settings.signing_key)


def _decided(settings: Settings, now: Challenger, fault: str | None, console: Console) -> Step:
    """Promote a challenger or end it, where the labels or its time say so."""
    assert now.challenge is not None, "it was started with --auto"  # noqa: S101
    name, problem, lines = settings.model_name, fault, None
    try:
        lines = _answered(settings, now.challenge.since)
    except DataError as error:
        problem = problem or str(error)
        if fault is not None or not now.challenge.is_over(datetime.now(UTC)):
            return Step(OPEN, "nothing can be decided", name, now.number, problem)
    reason = _judged(settings, now, lines, fault, console) if lines is not None else _over(name, now, str(problem))
    for outcome in (PROMOTED, ENDED):
        if reason.startswith(word := f"{outcome.capitalize()}: "):
            return Step(outcome, reason.removeprefix(word), name, now.number)
    return Step(OPEN, reason, name, now.number, problem)


def _answered(settings: Settings, moment: str) -> list[str]:
    """Return what the monitor has of a model since a time, as CSV; raise DataError where it gives nothing, or another thing."""
    url = settings.monitor_url
    lines = answered.since(url, settings.model_name, moment, settings.signing_key)
    try:
        rows_of(lines[:1])
    except DataError as error:
        raise DataError(f"{url} gives another thing than a monitor's /compared (MONITOR_URL): {error}") from error
    return lines


def _judged(settings: Settings, now: Challenger, lines: Iterable[str], fault: str | None, console: Console) -> str:
    return challenge.judged(settings, now, Asked(logged=lines, auto=True), fault, console)[1]


def _over(name: str, now: Challenger, problem: str) -> str:
    """End what is over by itself: what nobody can read until then decides nothing any more."""
    reason = f"its time is over, and nothing is decided: {problem}"
    if (change := challenge.changed(name, now, registry.production(name))) is not None:
        return f"Goes on: {change}; {problem}"
    with Held():
        challengers.end(name, now, "auto", reason)
    return f"Ended: {reason}"
