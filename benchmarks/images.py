"""Show where the megabytes of the images are, and how long their programs take to be imported, into benchmarks/images.md.

    make images                                   images of the project mlflow-stack, which docker compose has built
    .venv/bin/python benchmarks/images.py OTHER   of another project

Sizes are those on disk, uncompressed. Needs Docker and the images; takes half a minute.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

from run import ROOT

from tests.compose import docker

# Image → what its program imports as it starts.
PROGRAMS = {
    "mlflow": "mlflow.server.fastapi_app, mlflow.server.handlers",
    "trainer": "trainer.__main__, mlflow, sklearn",
    "inference": "inference.server",
    "predictions": "inference.prediction_log.shipper",
    "setup": "setup.__main__",
}
# Those in which no Python of ours is.
OTHERS = ("minio", "backup", "sso")
STARTS = 5
LARGEST = 12
# Says the bytes on disk of what lies in the packages' folder, by its first name, and of what is compiled.
WEIGH = """
import collections, json, pathlib
packages, compiled = collections.Counter(), 0
root = next(pathlib.Path("/opt/venv/lib").glob("python*/site-packages"))
for path in root.rglob("*"):
    if path.is_file() and not path.is_symlink():
        size = path.stat().st_size
        packages[path.relative_to(root).parts[0].removesuffix(".libs")] += size
        compiled += size * (path.suffix == ".pyc")
print(json.dumps([packages.most_common(), compiled]))
"""
TIMED = "import time; start = time.process_time(); import {modules}; print(time.process_time() - start)"


def main(project: str) -> int:
    """Look at the images of a project, and write the page."""
    there = docker("image", "ls", "--format", "{{.Repository}}", f"{project}/*").split()
    images = [name for name in PROGRAMS if f"{project}/{name}" in there]
    if not images:
        print(f"there is no image of {project}; `docker compose build` builds them", file=sys.stderr)
        return 1
    others = [name for name in OTHERS if f"{project}/{name}" in there]
    (ROOT / "benchmarks" / "images.md").write_text(page(project, images, others))
    return 0


def page(project: str, images: list[str], others: list[str]) -> str:
    """Return the page."""
    described = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    rows, tables = [], []
    for image in images:
        packages, compiled = weighed(f"{project}/{image}")
        own = sum(number for _, number in packages)
        took = started(f"{project}/{image}", PROGRAMS[image])
        rows.append(f"{whole(project, image)} | {own / 1e6:.0f} | {compiled / 1e6:.0f} | {took:.2f} |")
        largest = ", ".join(f"{name} {number / 1e6:.0f}" for name, number in packages[:LARGEST] if number >= 1e6)
        tables.append(f"| {image} | {largest} |")
    rows += [f"{whole(project, image)} | - | - | - |" for image in others]
    return PAGE.format(
        date=datetime.date.today(), commit=commit, cores=os.cpu_count(), machine=platform.machine(),
        engine=docker("version", "--format", "{{.Server.Version}}"), rows="\n".join(rows), tables="\n".join(tables),
    )  # fmt: skip


def whole(project: str, image: str) -> str:
    """Return the first cells of an image's row: its name, its size and that of its base."""
    total, base = size(f"{project}/{image}"), size_of_base(f"{project}/{image}")
    return f"| {image} | {total / 1e6:.0f} | {base / 1e6:.0f}"


def size(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def size_of_base(image: str) -> int:
    """Return the bytes of the layers below the image's own, by the label that names what it was built on."""
    label = '{{index .Config.Labels "org.opencontainers.image.base.name"}}'
    return size(docker("image", "inspect", "--format", label, image))


def weighed(image: str) -> tuple[list[tuple[str, int]], int]:
    """Return the packages with their bytes, largest first, and the bytes of all compiled files."""
    packages, compiled = json.loads(docker("run", "--rm", "--entrypoint", "python", image, "-c", WEIGH))
    return packages, compiled


def started(image: str, modules: str) -> float:
    """Return the seconds of processor time that imports take in a new container, the median of several."""
    command = ["run", "--rm", "--env", "MLFLOW_FLASK_SERVER_SECRET_KEY=x", "--entrypoint", "python", image]
    times = [float(docker(*command, "-W", "ignore", "-c", TIMED.format(modules=modules))) for _ in range(STARTS)]
    return statistics.median(times)


PAGE = """# Images

This page shows where the megabytes of the images are. Made by `make images`.

{date}, commit {commit}, {cores} cores, {machine}, Docker {engine}. Megabytes on disk, uncompressed. *Base* is the base image, of which
there is one on disk for all of them; *compiled* are Python's `.pyc` among the packages, without which each start would compile anew.
*Start* is the processor time that the program's imports take in a new container, in seconds, the median of five. The last three have no
Python of ours: MinIO and oauth2-proxy are one Go program each, and the backup's is Postgres with restic.

| image | all | base | packages | compiled | start, s |
|---|---|---|---|---|---|
{rows}

The largest packages, MB:

| image | packages |
|---|---|
{tables}

## What is not in them

- What a package asks for and a service never imports is not installed: `services/NAME/excluded.txt`. MLflow's server does without
  scikit-learn, SciPy, pyarrow and matplotlib, which are for those who train in the same environment: 400 MB.
- `services/packages/slim.sh` takes out the packages' own tests, what others are compiled against, Arrow's network protocol, what of ONNX Runtime
  makes models, the descriptions of AWS's other services, and the names in libraries that only a debugger reads.

Left in is all that a version of a model may need: whole scikit-learn, SciPy, pandas, XGBoost, LightGBM and ONNX Runtime.
`tests/stack/test_images.py` imports every module of ours in each image, and loads every library.
"""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["mlflow-stack"]))
