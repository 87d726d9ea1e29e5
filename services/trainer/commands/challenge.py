"""Let a version challenge Production, show how that stands, and end it.

The service answers by what MLflow says, which its own account cannot write. So where it has sent a challenger away, which it does at
once and by itself, it says so, and this command writes it down.
"""

import json
from datetime import UTC, datetime
from typing import Any

import click
import requests
from contract import manifest
from contract.tracking.challenge import MOST_PERCENT
from contract.version_files import VersionFiles
from mlflow.entities.model_registry import ModelVersion
from urllib3.exceptions import HTTPError

from trainer.artifact import version_files
from trainer.commands.production import check, connect, grid_of
from trainer.console.terminal import Console
from trainer.errors import SettingsError, VersionError
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import challengers, registry
from trainer.tracking.challengers import GUARD, Challenger
from trainer.workshop.seen import asked

SERVICE_SAYS = "the prediction service has sent it away: "


def start(settings: Settings, version: str, percent: float, days: float, console: Console) -> None:
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
    found = registry.model_version(name, version)
    _check_same(settings, champion, found)
    before = now.challenge if now and now.number == version else None
    asked_for = challengers.challenge(percent, days, before)
    words = f"{percent:g} of 100 requests" if percent else "no requests: it is asked for what was logged"
    with Held():
        if now and now.number != version:
            challengers.end(name, now, "challenge", f"version {version} takes its place")
        challengers.begin(name, found, asked_for, settings.key, f"{words}, until {asked_for.until}")
    console.print(f"Version {version} of {name} challenges version {champion.version}: {words}.", soft_wrap=True)


def _check_same(settings: Settings, champion: ModelVersion, version: ModelVersion) -> None:
    """Raise VersionError unless a version takes and answers what the one in Production does."""
    found = []
    for one in (champion, version):
        with version_files.signed(one, settings.model_name, settings.signing_key) as folder:
            found.append(manifest.read(VersionFiles.of(folder)))
    if change := manifest.breaking_change(*found):
        raise VersionError(f"version {version.version}: {change}; that would break requests that Production answers")


def stop(settings: Settings, reason: str, console: Console) -> None:
    """Have Production answer all requests again; raise VersionError where nobody challenges it."""
    connect(settings)
    name, now = settings.model_name, challengers.challenger(settings.model_name)
    if now is None:
        raise VersionError(f"nobody challenges Production of {name}")
    with Held():
        challengers.end(name, now, "stop", reason)
    console.print(f"Version {now.number} of {name} challenges nobody any more.")


def status(settings: Settings, as_json: bool, console: Console) -> None:
    """Print who challenges Production, what the service says of it, and how earlier challenges went."""
    connect(settings)
    name, service = settings.model_name, _of_service(settings.inference_url)
    now = note_return(settings, challengers.challenger(name), service)
    told = challengers.records(name)
    if as_json:
        click.echo(
            json.dumps({"model": name, **_content(now), "service": service, "records": [vars(one) for one in told]})
        )
        return
    console.print(_in_words(name, now, service), soft_wrap=True)
    if told:
        console.print(grid_of(name, told, "Challengers"))


def note_return(settings: Settings, now: Challenger | None, service: dict[str, Any]) -> Challenger | None:
    """Write down that the service has sent a challenger away, where it has; return who challenges Production then."""
    reason = service.get("returned")
    if now is None or not isinstance(reason, str) or service.get("version") != now.number:
        return now
    with Held():
        challengers.end(settings.model_name, now, GUARD, f"{SERVICE_SAYS}{reason}")
    return None


def _of_service(url: str) -> dict[str, Any]:
    """Return what the service says of its challenger, {"fault": …} where it says nothing."""
    try:
        found = json.loads(asked(f"{url}/version")).get("challenger")
    except requests.HTTPError as error:
        return {"fault": f"{url} answers {error.response.status_code}"}
    except (requests.RequestException, HTTPError, ValueError, AttributeError):
        return {"fault": f"{url} does not answer"}
    return found if isinstance(found, dict) else {}


def _content(now: Challenger | None) -> dict[str, Any]:
    if now is None:
        return {"challenger": None}
    asked_for = now.challenge
    return {
        "challenger": now.number,
        "percent": asked_for.percent if asked_for else 0,
        "since": asked_for and asked_for.since,
        "until": asked_for and asked_for.until,
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
    return f"{words} {_service_in_words(now, service)}"


def _service_in_words(now: Challenger, service: dict[str, Any]) -> str:
    if fault := service.get("fault"):
        return f"What the service makes of it is not known: {fault}."
    if service.get("version") != now.number:
        return f"The service has not loaded it: {service.get('problem') or 'it will look within seconds'}."
    if problem := service.get("problem"):
        return f"The service says: {problem}."
    return f"The service: {service.get('mode')}, {service.get('percent')} of 100."


def check_percent(percent: float) -> None:
    """Raise SettingsError for a share that no challenger has."""
    if not 0 <= percent <= MOST_PERCENT:
        raise SettingsError(
            f"--percent is {percent:g}; expected 0 to {MOST_PERCENT:g}, as Production answers at least as many"
        )
