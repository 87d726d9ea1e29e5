"""Measure a backup beside what people would script instead, `pg_dump` and `mc mirror`, into benchmarks/backup.md.

    make benchbackup

Both copy the same stack with 1 GB of artifacts into folders, in turns, in one run. mc is built from its Go module, since its images
left Docker Hub. Needs Docker, root to delete what containers have written, and 4 GB of disk; takes three to ten minutes.
"""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from run import ROOT, say

from tests.backups import backup
from tests.compose import Stack, docker

OBJECTS, OBJECT_BYTES = 200, 5_000_000
# Half of the objects are random, as what is compressed is; half are figures as text, as tables and reports are.
FILL = """
import os, random, boto3
s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
for number in range({first}, {last}):
    body = os.urandom({bytes})
    if number % 2:
        body = " ".join(str(random.random()) for _ in range({bytes} // 19)).encode()
    s3.put_object(Bucket="mlflow", Key=f"artifacts/{{number}}", Body=body)
"""
# What is copied, how often, and how many objects are new then.
COPIES = (("the first", 1, OBJECTS), ("nothing new", 3, 0), ("2 % new", 1, OBJECTS // 50))
MC = """
FROM {golang} AS compile
ARG GOPROXY
ENV CGO_ENABLED=0
RUN go install -trimpath -ldflags='-s -w' github.com/minio/mc@{version}
FROM {debian}
COPY --from=compile /go/bin/mc /usr/local/bin/mc
"""
MC_VERSION = "v0.0.0-20250313080218-cf909e1063a9"


class Ours:
    """One snapshot of all, by restic."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder / "repository"

    def copy(self) -> None:
        made = backup(self.stack, BACKUP_REPOSITORY=str(self.folder))
        if made.returncode:
            raise SystemExit(made.stderr)


class Theirs:
    """A dump of the database and a mirror of the bucket."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.image = stack, folder / "mirror", f"{stack.name}/mc"
        self.folder.mkdir()
        bases = {"golang": os.environ.get("GOLANG_IMAGE", "golang:1.26-trixie")}
        bases["debian"] = os.environ.get("DEBIAN_IMAGE", "debian:trixie-slim")
        build = ["docker", "build", "--quiet", "--build-arg", "GOPROXY", "--tag", self.image, "-"]
        subprocess.run(build, input=MC.format(version=MC_VERSION, **bases), text=True, check=True)
        self.password = stack.compose("exec", "-T", "minio", "cat", "/run/secrets/root-password").stdout.strip()

    def copy(self) -> None:
        dump = ["docker", "compose", "exec", "-T", "postgres", "pg_dump", "-U", "postgres", "-Fc", "mlflow"]
        with (self.folder / "mlflow.dump").open("wb") as file:
            subprocess.run(dump, cwd=self.stack.folder, env=self.stack.environ(), stdout=file, check=True)
        docker("run", "--rm", "--network", f"{self.stack.name}_storage", "--volume", f"{self.folder}:/mirror",
               "--env", f"MC_HOST_stack=http://admin:{self.password}@minio:9000",
               self.image, "mc", "mirror", "--quiet", "--overwrite", "--remove", "stack/mlflow", "/mirror/mlflow")  # fmt: skip


def main() -> int:
    """Measure on a stack of its own, and write the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clone").mkdir()
        stack = Stack(folder / "clone", f"mlflow-stack-backups-{os.getpid()}")
        try:
            stack.up()
            rows = measured(stack, folder)
        finally:
            stack.remove()
    (ROOT / "benchmarks" / "backup.md").write_text(page(rows))
    return 0


def measured(stack: Stack, folder: Path) -> list[str]:
    """Return the rows of the table."""
    ours, theirs = Ours(stack, folder), Theirs(stack, folder)
    rows, objects = [], 0
    for what, repeats, new in COPIES:
        fill(stack, objects, objects := objects + new)
        times = [(seconds(ours.copy), seconds(theirs.copy)) for _ in range(repeats)]
        own, others = (statistics.median(column) for column in zip(*times, strict=True))
        sizes = [size_of(way.folder) / 1e6 for way in (ours, theirs)]
        rows.append(
            f"| {what} | {own:.1f} | {others:.1f} | {own / others:.2f} | {sizes[0]:,.0f} | {sizes[1]:,.0f} | {sizes[0] / sizes[1]:.2f} |"
        )
        say(rows[-1])
    return rows


def fill(stack: Stack, first: int, last: int) -> None:
    """Put objects into the bucket, as MLflow's own user."""
    stack.compose("exec", "-T", "mlflow", "python", "-c", FILL.format(first=first, last=last, bytes=OBJECT_BYTES))


def seconds(action: Callable[[], None]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def page(rows: list[str]) -> str:
    described = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    engine = docker("version", "--format", "{{.Server.Version}}")
    return f"""# A backup, measured

This page shows what a backup takes beside a dump of the database and a mirror of the bucket. Made by `make benchbackup`.

{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}, Docker {engine}. A stack with
{OBJECTS * OBJECT_BYTES / 1e9:.0f} GB of artifacts ({OBJECTS} objects, half of them random bytes, half figures as text), copied into one folder by
`docker compose run --rm backup`, and into another by `pg_dump -Fc` and `mc mirror --overwrite --remove`, in turns, in one run. Seconds
are wall times with the start of the containers, of three the median; sizes are those on disk after the copy.

| copy | backup, s | dump and mirror, s | ratio | backup, MB | dump and mirror, MB | ratio |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

The backup is encrypted, and has the secrets, old versions of objects and all earlier backups; what its content is it verifies with
`backup check`. The mirror is the newest state alone, in the clear: what was deleted by mistake is gone from it with the next copy.
"""


if __name__ == "__main__":
    sys.exit(main())
