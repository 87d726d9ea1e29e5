"""Whether the images are here that `up` starts, and what they are built from."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from doctor.host.docker import ROOT, Failed, Stack, docker
from doctor.records import FAIL, OK, WARN, NotLookedAt, Row


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for images that are missing, by what brings them, and one where they are of another release."""
    yield from _of_another_release(stack)
    wanted = {str(service["image"]): service for service in stack.services.values()}
    missing = [name for name in wanted if not is_here(name, seconds)]
    own = {str(service["image"]) for service in stack.config["services"].values() if "build" in service}
    if built := [name for name in missing if name in own]:
        yield Row(
            "images", FAIL, f"not built yet: {', '.join(built)}{_bases(stack, seconds)}", "docker compose up -d --wait"
        )
    if released := [name for name in missing if "@sha256:" in name]:
        says = f"not on this machine: {', '.join(released)}; what is named by its digest, a registry alone has"
        yield Row("images", FAIL, says, "docker compose pull --ignore-buildable")
    if pulled := [name for name in missing if name not in own and name not in released]:
        says = f"not on this machine: {', '.join(pulled)}; where no registry can be reached, `scripts/base-images` makes it"
        yield Row("images", FAIL, says, "scripts/base-images")
    if not missing:
        yield Row("images", OK, f"all {len(wanted)} are on this machine")


def _of_another_release(stack: Stack) -> Iterator[Row]:
    """Yield a row where compose.release.yaml stayed behind, or is ahead, when the checkout went to another version."""
    release = stack.config.get("x-release")
    checkout = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if release not in (None, checkout):
        says = f"compose.release.yaml has those of release {release}, and this checkout is {checkout}"
        mend = f"git checkout v{release}, or compose.release.yaml of v{checkout} in its place: docs/release.md"
        yield Row("images", WARN, says, mend)


def is_here(image: str, seconds: float) -> bool:
    """Tell whether an image is on this machine; raise NotLookedAt where Docker does not say."""
    try:
        docker("image", "inspect", "--format", "{{.Id}}", image, seconds=seconds)
    except Failed as error:
        if "no such image" in str(error).lower():
            return False
        raise NotLookedAt(str(error)) from error
    return True


def _bases(stack: Stack, seconds: float) -> str:
    """Say which base images are not here: a build pulls them, where it can."""
    named = {base for service in stack.services.values() for base in base_images(service)}
    if missing := sorted(base for base in named if not is_here(base, seconds)):
        return f"; of their base images {', '.join(missing)} is to be pulled, or made by `scripts/base-images`"
    return ""


def base_images(service: Mapping[str, Any]) -> list[str]:
    """Return what a service's image is built on."""
    arguments = service.get("build", {}).get("args", {})
    return [str(value) for name, value in arguments.items() if name.endswith("_IMAGE") and ":" in str(value)]
