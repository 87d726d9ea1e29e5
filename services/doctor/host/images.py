"""Whether the images are here that `up` starts; of those that are not, whether a registry has them or what they are built on."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from doctor.host.docker import ROOT, Failed, Stack, docker
from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

UP, MAKE = "docker compose up -d --wait", "scripts/base-images"
# What scripts/base-images writes on what it makes.
LABEL, STAND_IN = "org.opencontainers.image.description", "stand-in built from Debian packages"


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for images that are missing, by what brings them, and one where they are of another release."""
    yield from _of_another_release(stack)
    wanted = {str(service["image"]): service for service in stack.services.values()}
    here = found(wanted, seconds)
    own = {str(service["image"]) for service in stack.config["services"].values() if "build" in service}
    missing = [name for name in wanted if name not in here]
    if built := [name for name in missing if name in own]:
        bases = {base for service in stack.services.values() for base in base_images(service)}
        lacking = sorted(bases - set(found(bases, seconds)))
        says, mend = _brought(lacking, seconds)
        on = f"; of their base images {', '.join(lacking)} {says}" if lacking else ""
        yield Row("images", FAIL, f"not built yet: {', '.join(built)}{on}", mend)
    if released := [name for name in missing if "@sha256:" in name]:
        says = f"not on this machine: {', '.join(released)}; what is named by its digest, a registry alone has"
        yield Row("images", FAIL, says, "docker compose pull --ignore-buildable")
    if pulled := [name for name in missing if name not in own and name not in released]:
        says, mend = _brought(pulled, seconds)
        yield Row("images", FAIL, f"not on this machine: {', '.join(pulled)}, which {says}", mend)
    if not missing:
        made = [name for name, image in here.items() if (image["Config"]["Labels"] or {}).get(LABEL) == STAND_IN]
        by_us = f"; {', '.join(made)} {'is a stand-in' if len(made) == 1 else 'are stand-ins'}" if made else ""
        yield Row("images", OK, f"all {len(wanted)} are on this machine{by_us}")


def _of_another_release(stack: Stack) -> Iterator[Row]:
    """Yield a row where compose.release.yaml stayed behind, or is ahead, when the checkout went to another version."""
    release = stack.config.get("x-release")
    checkout = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if release not in (None, checkout):
        says = f"compose.release.yaml has those of release {release}, and this checkout is {checkout}"
        mend = f"git checkout v{release}, or compose.release.yaml of v{checkout} in its place: docs/release.md"
        yield Row("images", WARN, says, mend)


def found(images: Iterable[str], seconds: float) -> dict[str, Mapping[str, Any]]:
    """Return those of the images that are here, with what Docker says of each; raise NotLookedAt where it does not say."""
    names = list(images)
    try:
        return dict(zip(names, _inspected(names, seconds), strict=True))
    except Failed:  # one is missing, and which one is asked one by one
        with ThreadPoolExecutor() as pool:
            told = pool.map(lambda name: _one(name, seconds), names)
        return {name: image for name, image in zip(names, told, strict=True) if image is not None}


def _inspected(names: list[str], seconds: float) -> list[Mapping[str, Any]]:
    told: list[Mapping[str, Any]] = json.loads(docker("image", "inspect", *names, seconds=seconds)) if names else []
    return told


def _one(image: str, seconds: float) -> Mapping[str, Any] | None:
    try:
        return _inspected([image], seconds)[0]
    except Failed as error:
        if "no such image" in str(error).lower():
            return None
        raise NotLookedAt(str(error)) from error


def _brought(images: list[str], seconds: float) -> tuple[str, str]:
    """Say whether registries have images that are not here, and return the command that brings them."""
    with ThreadPoolExecutor() as pool:
        why = next(filter(None, pool.map(lambda image: _refusal(image, seconds), images)), None)
    if why is None:
        return "can be pulled", UP
    return f"cannot be pulled ({why}), and `{MAKE}` makes a stand-in", f"{MAKE}; {UP}"


def _refusal(image: str, seconds: float) -> str | None:
    """Return why an image cannot be pulled, None where its registry has it."""
    try:
        docker("manifest", "inspect", image, seconds=seconds)
    except Failed as error:
        return f"{image}: {error!s:.200}"
    return None


def base_images(service: Mapping[str, Any]) -> list[str]:
    """Return what a service's image is built on."""
    arguments = service.get("build", {}).get("args", {})
    return [str(value) for name, value in arguments.items() if name.endswith("_IMAGE") and ":" in str(value)]
