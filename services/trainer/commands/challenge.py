"""Let a version challenge Production, show how that stands, and end it.

The service answers by what MLflow says, which its own account cannot write. So where it has sent a challenger away, which it does at
once and by itself, it says so, and this command writes it down.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import click
from contract.mlmodel import manifest
from contract.tracking.challenge import MOST_PERCENT
from contract.version_files import VersionFiles
from mlflow.entities.model_registry import ModelVersion

from trainer.artifact import version_files
from trainer.commands.production import check, connect, grid_of, move
from trainer.console.terminal import Console
from trainer.errors import SettingsError, VersionError
from trainer.promotion.live_comparison import (
    Answer,
    Interval,
    Row,
    answers_of,
    beside,
    compared,
    disagreement,
    failures,
    left_out,
    rows_of,
    since,
    times_of,
    units_of,
    unlike_labels,
)
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import challengers, registry, served
from trainer.tracking.challengers import GUARD, Challenger

# Stages of versions that have passed the quality gate.
PASSED = ("Staging", "Archived", "Production")
# What may come of a logged row that it is asked for, as the service says it.
RESULTS = ("alike", "unlike", "failed", "skipped")
NAME_IT = (
    "log its classes' names (metadata={'class_names': […]}), or of a quantity a signature whose output is a double"
)
SERVICE_SAYS = "the prediction service has sent it away: "


@dataclass(frozen=True)
class Wanted:
    """What a version is to challenge Production by."""

    percent: float
    days: float
    auto: float | None = None
    """by how much it has to be better for the service `schedule` to promote it; None where that is a person's to do"""


def start(settings: Settings, version: str, wanted: Wanted, console: Console) -> None:
    """Give a version the alias and a share of the requests; raise VersionError where it may not be served, or not beside Production.

    One that has them already goes on with the new share: the same clients, and more or fewer.
    """
    connect(settings)
    name, now = settings.model_name, challengers.challenger(settings.model_name)
    if settings.key is None:
        raise SettingsError("SIGNING_KEY_FILE is not set: a share of the requests is signed, as a version is")
    champion = registry.in_production(name)
    if champion is None:
        raise VersionError(f"nothing is in Production of {name}: there is nobody to challenge")
    if str(champion.version) == version:
        raise VersionError(f"version {version} of {name} is in Production: it cannot challenge itself")
    if (reason := challengers.sent_away(name, version)) is not None:
        raise VersionError(f"version {version} challenges nobody again: {reason}; train another one")
    check(settings, version)
    if wanted.auto is not None:
        _check_served(settings)
    found = registry.model_version(name, version)
    _check_same(settings, champion, found)
    before = now.challenge if now and now.number == version else None
    asked_for = challengers.challenge(wanted.percent, wanted.days, wanted.auto, before)
    words = f"{wanted.percent:g} of 100 requests" if wanted.percent else "no requests: it is asked for what was logged"
    with Held():
        if now and now.number != version:
            challengers.end(name, now, "challenge", f"version {version} takes its place")
        challengers.begin(name, found, asked_for, settings.key, f"{words}, until {asked_for.until}")
    console.print(f"Version {version} of {name} challenges version {champion.version}: {words}.", soft_wrap=True)
    if wanted.auto is not None:
        console.print(f"The service `schedule` promotes it or ends it, until {asked_for.until}.", soft_wrap=True)


def service_of(settings: Settings) -> dict[str, Any]:
    """Return what the prediction service says of the model's challenger, as `served.challenger` does."""
    return served.challenger(settings.inference_url, settings.api_key_file, settings.model_name)


def _check_served(settings: Settings) -> None:
    """Raise SettingsError where the service answers for another model: nothing could ever be decided by what it logs."""
    said = service_of(settings)
    if served.OTHER in said:
        raise SettingsError(
            f"--auto decides by what is served, and {said['fault']}. Leave --auto out, and decide by `challenge status "
            f"--logged`; or serve it: MODEL_NAME={settings.model_name}"
        )


def _check_same(settings: Settings, champion: ModelVersion, version: ModelVersion) -> None:
    """Raise VersionError unless a version takes and answers what the one in Production does."""
    if change := manifest.breaking_change(_signed(settings, champion), _signed(settings, version)):
        raise VersionError(f"version {version.version}: {change}; that would break requests that Production answers")


def _signed(settings: Settings, version: ModelVersion) -> manifest.Description:
    """Return what a version's signed files say of it; raise VersionError where their signature does not hold."""
    with version_files.signed(version, settings.model_name, settings.signing_key) as folder:
        return manifest.read(VersionFiles.of(folder), is_signed=True)


def stop(settings: Settings, reason: str, console: Console) -> None:
    """Have Production answer all requests again; raise VersionError where nobody challenges it."""
    connect(settings)
    name, now = settings.model_name, challengers.challenger(settings.model_name)
    if now is None:
        raise VersionError(f"nobody challenges Production of {name}")
    with Held():
        challengers.end(name, now, "stop", reason)
    console.print(f"Version {now.number} of {name} challenges nobody any more.")


@dataclass(frozen=True)
class Asked:
    """What `status` is asked for."""

    as_json: bool = False
    logged: Iterable[str] | None = None
    """lines of CSV with what is in the prediction log, and labels; None without"""
    auto: bool = False
    """whether to act on what they say"""
    margin: float | None = None
    """by how much it has to be better; None: as the challenge was started with, or 0"""


def status(settings: Settings, asked: Asked, console: Console) -> None:
    """Print who challenges Production, what the service says of it, what labels say, and how earlier challenges went."""
    connect(settings)
    name, service = settings.model_name, service_of(settings)
    now = note_return(settings, challengers.challenger(name), service)
    interval = words = None
    if now and asked.logged is not None:
        interval, words = judged(settings, now, asked, service.get("fault"), console)
        now = challengers.challenger(name)
    told = challengers.records(name)
    if asked.as_json:
        found = {"interval": interval and asdict(interval), "verdict": words, "service": service}
        click.echo(json.dumps({"model": name, **_content(now), **found, "records": [vars(one) for one in told]}))
        return
    console.print(_in_words(name, now, service), soft_wrap=True)
    if words:
        console.print(words, soft_wrap=True)
    if told:
        console.print(grid_of(name, told, "Challengers"))


@dataclass(frozen=True)
class Verdict:
    """What the log says of a challenger."""

    champion: str
    """the version that it was measured beside"""
    interval: Interval | None
    words: str
    failed: int
    """rows that Production answered, and it did not"""
    has_strangers: bool
    """whether labels of unknown senders are among those that counted"""


def judged(
    settings: Settings, now: Challenger, asked: Asked, fault: str | None, console: Console
) -> tuple[Interval | None, str]:
    """Return what labels say of a challenger, as an interval and in words, and act on it where that is asked for.

    By labels that anybody can have written nobody is promoted and nothing is ended: then only those of known senders count. And as long as the
    service does not say (the fault tells why) whether it has sent the challenger away, nothing is done.
    """
    champion = registry.in_production(settings.model_name)
    if champion is None:
        return None, "Nothing is compared."
    found = _verdict(settings, now, asked, champion)
    words = found.words
    if asked.auto and fault is not None:
        words = f"Goes on, as it is not known whether the service has sent it away: {words}"
    elif asked.auto:
        own = now.challenge.auto if now.challenge else None
        margin = asked.margin if asked.margin is not None else own or 0.0
        words = _carried_out(settings, now, found, margin, console)
    elif found.has_strangers:
        words += "; labels of unknown senders are among them, by which nothing is decided"
    return found.interval, words


def _verdict(settings: Settings, now: Challenger, asked: Asked, champion: ModelVersion) -> Verdict:
    """Return what the log says of a challenger beside a champion."""
    number, given = str(champion.version), rows_of(asked.logged or ())
    # Where the alias alone was set, who knows since when?
    rows = since(given, now.challenge.since) if now.challenge is not None else given
    earlier = len(given) - len(rows)
    failed, rows = failures(rows, now.number), beside(rows, number)
    is_quantity = predicts_quantity(_signed(settings, champion))
    if is_quantity is None:
        words = f"no verdict: the signed files of version {number} do not say whether it predicts classes or a quantity; {NAME_IT}"
        return Verdict(number, None, words + _failed(failed), failed, has_strangers=False)
    found = answers_of(rows, is_quantity)
    counted = [one for one in found if one.trusted] if asked.auto else found
    interval = compared(counted, number, now.number)
    # Of pairs, both have the labels of the same requests.
    is_apart = interval is not None and not interval.paired
    unlike = unlike_labels(rows, number, now.number, only_trusted=asked.auto) if is_apart else None
    what = "mean absolute error, negative:" if is_quantity else "accuracy:"
    older = f"; {earlier} rows are of before the challenge, and do not count" if earlier else ""
    words = unlike or (f"{what} {interval}" if interval else _too_few(counted) + older)
    words += _besides(rows, number, now.number, is_quantity) + _failed(failed) + _left_out(left_out(given))
    return Verdict(number, None if unlike else interval, words, failed, not all(one.trusted for one in counted))


def predicts_quantity(described: manifest.Description) -> bool | None:
    """Tell whether a version predicts a quantity, and not classes; None where its files say neither."""
    metrics = (described.figures or {}).get("metrics", {})
    if described.class_names or described.has_probabilities or "test_accuracy" in metrics:
        return False
    if described.output in ("string", "boolean"):
        return False
    if described.width == 1 and (described.output in ("double", "float") or "test_r2" in metrics):
        return True
    return None  # whole numbers may be classes, or be counted


def _too_few(counted: list[Answer]) -> str:
    units, requests = units_of(counted), len({one.request_id for one in counted})
    of = f", of {units} clients" if units < requests else ""
    return f"too few labels: {len(counted)} answers that count have one{of}"


def _failed(rows: int) -> str:
    return f"; it failed on {rows} of the rows that Production answered" if rows else ""


def _left_out(rows: int) -> str:
    return (
        f"; {rows} rows more were left out: the monitor gives the first of each client, and so many in all"
        if rows
        else ""
    )


def _besides(rows: list[Row], champion: str, challenger: str, is_quantity: bool) -> str:
    """Return in words what is known without a label: how often the two differ, and what they take."""
    words = ""
    if apart := disagreement(rows, champion, challenger, is_quantity):
        words += f"; the two are {apart.gain:.4f} apart" if is_quantity else f"; {apart.gain:.1%} of the answers differ"
    if times := times_of(rows, champion, challenger):
        words += f"; {times}"
    return words


def _carried_out(settings: Settings, now: Challenger, found: Verdict, margin: float, console: Console) -> str:
    """Promote a challenger, or end its challenge, where that is decided; return what was done, and why.

    One that fails where Production answers is never promoted, however good its other answers are: once is enough, as in a split.
    """
    name, interval, words = settings.model_name, found.interval, found.words
    fault = None
    if is_better := bool(not found.failed and interval and interval.low > margin):
        reason = f"better by more than {margin:g}: {words}"
        if (fault := _unfit(settings, now)) is not None:
            reason = f"it is better, and not promoted: {fault}; {words}"
    elif found.failed:
        reason = f"once is enough: {words}"
    elif interval and interval.high < margin:
        reason = f"not better by {margin:g}: {words}"
    elif now.challenge is not None and now.challenge.is_over(datetime.now(UTC)):
        reason = f"its time is over, and nothing is decided: {words}"
    else:
        return f"Goes on: {words}"
    # The last look before it is done: MLflow has no way to do both at once.
    if (change := changed(name, now, found.champion)) is not None:
        return f"Goes on: {change}; {words}"
    if is_better and fault is None:
        move(settings, "auto", now.number, reason, console)
        return f"Promoted: {words}"
    with Held():
        challengers.end(name, now, "auto", reason)
    return f"Ended: {reason}"


def changed(name: str, now: Challenger, champion: str | None) -> str | None:
    """Say what has changed since a challenger was measured beside a champion, None where nothing has: then it is decided of others."""
    if (current := registry.production(name)) != champion:
        return f"version {current} is in Production by now, and it was measured beside version {champion}"
    after = challengers.challenger(name)
    if after is None or (after.number, after.challenge) != (now.number, now.challenge):
        return "somebody has ended the challenge meanwhile, or changed it"
    return None


def _unfit(settings: Settings, now: Challenger) -> str | None:
    """Say why a version may not be in Production whatever its answers were, None where it may.

    Its files are verified once more, and it has to have passed the quality gate when it was trained.
    """
    try:
        check(settings, now.number)
        if (champion := registry.in_production(settings.model_name)) is not None:
            _check_same(settings, champion, now.version)
    except VersionError as error:
        return str(error)
    if now.version.tags.get(registry.STAGE) not in PASSED:
        return "it did not pass the quality gate when it was trained"
    # Imported where it is needed: it has scikit-learn imported, which takes as long as most of this command's answers.
    from trainer.promotion.policy import below_threshold

    limits = {"test_accuracy": settings.min_test_accuracy, "test_r2": settings.min_test_r2}
    metrics = registry.recorded(now.version)[0]
    return below_threshold(
        metrics, {key: least for key, least in limits.items() if least is not None and key in metrics}
    )


def note_return(settings: Settings, now: Challenger | None, service: dict[str, Any]) -> Challenger | None:
    """Write down that the service has sent a challenger away, where it has; return who challenges Production then."""
    reason = service.get("returned")
    if now is None or not isinstance(reason, str) or service.get("version") != now.number:
        return now
    with Held():
        challengers.end(settings.model_name, now, GUARD, f"{SERVICE_SAYS}{reason}")
    return None


def _content(now: Challenger | None) -> dict[str, Any]:
    if now is None:
        return {"challenger": None}
    asked_for = now.challenge
    return {
        "challenger": now.number,
        "percent": asked_for.percent if asked_for else 0,
        "since": asked_for and asked_for.since,
        "until": asked_for and asked_for.until,
        "auto": asked_for and asked_for.auto,
    }


def _in_words(name: str, now: Challenger | None, service: dict[str, Any]) -> str:
    if now is None:
        return f"Nobody challenges Production of {name}."
    asked_for = now.challenge
    if asked_for is None or not asked_for.percent:
        words = f"Version {now.number} of {name} is the challenger, and answers nobody."
    elif asked_for.is_over(datetime.now(UTC)):
        words = f"Version {now.number} of {name} is the challenger; its time was over at {asked_for.until}."
    else:
        words = (
            f"Version {now.number} of {name} answers {asked_for.percent:g} of 100 requests, until {asked_for.until}."
        )
    if asked_for is not None and asked_for.auto is not None:
        words += f" The service `schedule` promotes it where it is better by more than {asked_for.auto:g}, or ends it."
    return f"{words} {_service_in_words(now, service)}"


def _service_in_words(now: Challenger, service: dict[str, Any]) -> str:
    if fault := service.get("fault"):
        return f"What the service makes of it is not known: {fault}."
    if service.get("version") != now.number:
        return f"The service has not loaded it: {service.get('problem') or 'it will look within seconds'}."
    asked = _shadow_in_words(service.get("shadow") or {})
    if problem := service.get("problem"):
        return f"The service says: {problem}. {asked}"
    return f"The service: {service.get('mode')}, {service.get('percent')} of 100. {asked}"


def _shadow_in_words(shadow: dict[str, Any]) -> str:
    """Return what came of the logged rows that the service has asked it for."""
    counts = ", ".join(f"{shadow[result]} {result}" for result in RESULTS if shadow.get(result))
    words = f"Logged rows that it was asked for: {counts or 'none'}"
    return f"{words}; {problem}." if (problem := shadow.get("problem")) else f"{words}."


def check_percent(percent: float) -> None:
    """Raise SettingsError for a share that no challenger has."""
    if not 0 <= percent <= MOST_PERCENT:
        raise SettingsError(
            f"--percent is {percent:g}; expected 0 to {MOST_PERCENT:g}, as Production answers at least as many"
        )
