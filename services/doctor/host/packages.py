"""Whether trainer and prediction service load models with the same packages: what their images have, whatever they were built from."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from doctor.host.docker import Stack, docker
from doctor.records import OK, WARN, NotLookedAt, Row

# What a model is written and read with.
COMPARED = ("mlflow-skinny", "scikit-learn", "skops", "onnxruntime")
# Each installed package has a folder of this name, which tells its version without starting Python.
LIST = ("sh", "-c", "ls -d /opt/venv/lib/python3*/site-packages/*.dist-info")
FOLDER = re.compile(r"^(.+)-([^-]+)\.dist-info$", re.MULTILINE)
UP = "docker compose up -d --wait"


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield the row of both images' packages."""
    services = stack.config["services"]
    if services["inference"].get("build", {}).get("target") == "any":
        yield Row("packages", OK, "the prediction service has those of a version that was vouched for (inference-any)")
        return
    running = [found["Id"] for found in stack.of("inference") if found["State"]["Status"] == "running"]
    if not running:
        raise NotLookedAt("the prediction service does not run")
    # Of the trainer no container runs; this one is on no network, and gone at once.
    run = ("run", "--rm", "--pull", "never", "--network", "none", "--entrypoint", LIST[0])
    trainer = (*run, services["trainer"]["image"], *LIST[1:])
    with ThreadPoolExecutor() as pool:
        made_with = pool.submit(docker, *trainer, seconds=seconds)
        served_with = docker("exec", running[0], *LIST, seconds=seconds)
        yield compared(installed(made_with.result()), installed(served_with))


def installed(listed: str) -> dict[str, str]:
    """Return package → version of what LIST has printed."""
    folders = (line.rpartition("/")[2] for line in listed.splitlines())
    found = (match.groups() for folder in folders if (match := FOLDER.match(folder)))
    return {name.replace("_", "-").lower(): version for name, version in found}


def compared(trainer: Mapping[str, str], inference: Mapping[str, str]) -> Row:
    """Return the row of packages that the two images have, or have in different versions."""
    others = [
        f"{name} {trainer.get(name)} and {inference.get(name)}"
        for name in COMPARED
        if trainer.get(name) != inference.get(name)
    ]
    if others:
        return Row("packages", WARN, f"trainer and prediction service differ: {', '.join(others)}", UP)
    shown = ", ".join(f"{name} {trainer.get(name)}" for name in COMPARED)
    return Row("packages", OK, f"trainer and prediction service have the same: {shown}")
