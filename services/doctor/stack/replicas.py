"""The replicas of the prediction service: whether all serve the version behind the alias, with the packages it was made with."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from contract.tracking.bounded_http import UNREADABLE

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row
from doctor.registry.model import Files, unread
from doctor.stack.tracking import Mlflow

# Of several replicas, one after the other.
ROLL = "scripts/roll"
LOGS = "docker compose logs --tail 20 inference"
MOST_BYTES = 1_000_000
REQUIREMENTS = "requirements.txt"
UNAUTHENTICATED, SERVED = 401, "X-Model-Version"


def asked(host: str, port: int, seconds: float) -> dict[str, Any]:
    """Return address → what each replica says of itself, and of one that says nothing beside others why.

    Raises NotLookedAt where there is none, or none says anything.
    """
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        raise NotLookedAt(f"no container of {host} runs") from error
    with ThreadPoolExecutor() as pool:  # what hangs costs the others nothing
        asked = {
            address: pool.submit(_version, f"http://{quote(address)}:{port}/version", host, seconds)
            for address in addresses
        }
    silent = {address: why for address, found in asked.items() if (why := found.exception()) is not None}
    if len(silent) == len(asked):
        raise next(iter(silent.values()))
    return {
        address: {"model": None, "reasons": [str(silent[address])]} if address in silent else found.result()
        for address, found in asked.items()
    }


def _version(url: str, host: str, seconds: float) -> Any:
    try:
        with urlopen(Request(url, headers={"Host": host}), timeout=seconds) as answer:
            return json.loads(answer.read(MOST_BYTES))
    except HTTPError as error:
        error.close()
        # Every answer says in its head which version is served, one that asks for an API key too.
        if error.code == UNAUTHENTICATED and (version := error.headers.get(SERVED)):
            return {"model": {"version": version}}
        keys = " with API keys on, and does not say what is served" if error.code == UNAUTHENTICATED else ""
        raise NotLookedAt(f"{url} answers {error.code}{keys}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise NotLookedAt(f"{url} does not answer: {error}") from error


def look_at_served(said: Mapping[str, Any], expected: str | None) -> Iterator[Row]:
    """Yield the row of which version is served, by each replica's own words; `expected` is the one behind the alias."""
    served = {address: answer.get("model") for address, answer in said.items()}
    if without := [answer for answer in said.values() if not answer.get("model")]:
        reason = ", ".join(map(str, without[0].get("reasons", []))) or "it does not say why"
        mend = ROLL if len(without) < len(said) else LOGS
        yield Row("served", FAIL, f"{len(without)} of {len(said)} replicas serve nothing: {reason}", mend)
        return
    numbers = _numbers(served)
    problems = [model["problem"] for model in served.values() if model.get("problem")]
    if len(numbers) > 1:
        why = f"; {problems[0]}" if problems else ""
        yield Row("served", FAIL, f"replicas serve different versions: {', '.join(numbers)}{why}", ROLL)
    elif problems:
        yield Row("served", FAIL, f"version {numbers[0]}, and not what it should be: {problems[0]}", LOGS)
    elif expected is not None and numbers != [expected]:
        says = f"version {numbers[0]}, and {expected} is behind the alias: it may be on its way"
        yield Row("served", WARN, says, LOGS)
    else:
        yield Row(
            "served",
            OK,
            f"version {numbers[0]}, by all {len(said)} replicas" if len(said) > 1 else f"version {numbers[0]}",
        )


def _numbers(served: Mapping[str, Any]) -> list[str]:
    return sorted({str(model["version"]) for model in served.values()}, key=lambda number: (len(number), number))


def look_at_packages(mlflow: Mlflow, source: Files, said: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the row of the packages that the version behind the alias was made with, beside those that are in force."""
    try:
        pins = pinned(b"".join(source.pieces(REQUIREMENTS, MOST_BYTES, float("inf"))).decode())
        server = mlflow.ask("GET", "version").decode().strip()
    except (*UNREADABLE, OSError) as error:
        raise unread("the packages of the version behind the alias", error) from error
    in_force = {(name, answer.get(name)) for name in ("scikit-learn", "skops") for answer in said.values()}
    yield compared(pins, in_force | {("mlflow", server)})


def pinned(requirements: str) -> dict[str, str]:
    """Return package → version of what is pinned; mlflow-skinny is MLflow."""
    found = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", requirements, re.MULTILINE))
    return found | ({"mlflow": found["mlflow-skinny"]} if "mlflow-skinny" in found else {})


def compared(pins: Mapping[str, str], in_force: set[tuple[str, str | None]]) -> Row:
    """Return the row of packages with another version than a model was made with."""
    others = [
        f"{name} {pins[name]}, and {found} is in force"
        for name, found in sorted(in_force, key=str)
        if found and pins.get(name, found) != found
    ]
    if others:
        says = f"the version behind the alias was made with {'; '.join(others)}"
        return Row("packages", WARN, says, "docker compose run --rm trainer")
    shown = ", ".join(f"{name} {found}" for name, found in sorted(in_force, key=str) if found)
    return Row("packages", OK, f"the version behind the alias was made with what is in force: {shown}")
