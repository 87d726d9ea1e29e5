"""What lies in the volumes: Postgres's data, the files of secrets, and how much room there is."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from stat import S_IMODE

from setup.secret_files import DERIVED, OWNERS, OWNERS_OF_MONITORING, SECRETS

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row
from doctor.stack import passwords
from doctor.stack.passwords import SECRETS_AGAIN

# Of the volumes that are mounted: with compose.monitoring.yaml Grafana's.
MOUNTED = OWNERS | OWNERS_OF_MONITORING
# In OWNERS because the job hands them over; they hold no secrets.
DATA = ("postgres-data", "postgres-socket", "audit", "audit-pipe")
# What makes room where the images are, and where MLflow's files are: the bucket keeps what was deleted for a while.
DOCKER, DATABASE, BUCKET = "Docker's folder", "postgres-data", "minio-data"
OF_DOCKER, OF_MLFLOW = (
    "docker image prune --force; docker builder prune --force",
    "docker compose run --rm cleanup --yes",
)
OF_BUCKET = "KEEP_DELETED_DAYS=1 in .env, then docker compose run --rm bucket, for its files to go within a day or two"
# Least of room: below the first Postgres and MinIO may stop at any moment, below the second somebody should think of it.
FAIL_BYTES, FAIL_SHARE, WARN_BYTES, WARN_SHARE = 500e6, 0.01, 2e9, 0.05


def look_at_postgres(volumes: Path, image: str) -> Iterator[Row]:
    """Yield the row of the major version that the data are of; none of an external Postgres."""
    try:
        data = (volumes / DATABASE / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    tag = re.search(r":(\d+)([.\d]*)([^:/]*)$", image.partition("@")[0])
    if tag is None:
        raise NotLookedAt(
            f"the data are of Postgres {data}; of which one POSTGRES_IMAGE={image} is, its name does not say"
        )
    if data != tag[1]:
        right = f"{image[: tag.start()]}:{data}{tag[3]}"
        says = (
            f"the data are of Postgres {data}, and POSTGRES_IMAGE={image} is {tag[1]}, which does not start on them; "
        )
        says += "scripts/upgrade-postgres moves them to a newer one"
        yield Row("postgres data", FAIL, says, f"POSTGRES_IMAGE={right} in .env, then docker compose up -d --wait")
    else:
        yield Row("postgres data", OK, f"of Postgres {data}, as {image} is")


def look_at_secrets(volumes: Path, is_open: bool = False) -> Iterator[Row]:
    """Yield a row for each file of a secret that is missing or empty, that others than its user may read, or that somebody guesses.

    The last is worse where other machines reach the stack (`is_open`).
    """
    derived = {*DERIVED, "mlflow/backend-store-uri", "database/backend-store-uri"}
    expected = {*(file for secret in SECRETS for file in secret.files), *derived}
    there = {
        f"{path.parent.name}/{path.name}": path
        for name in MOUNTED
        if name not in DATA and (volumes / name).is_dir()
        for path in (volumes / name).iterdir()
        if not path.name.startswith(".")  # the draft of a job that was ended
    }
    rows = [Row("secrets", FAIL, f"{file} is not there", SECRETS_AGAIN) for file in sorted(expected - set(there))]
    empty = [file for file in sorted(derived & set(there)) if not there[file].stat().st_size]
    rows += [Row("secrets", FAIL, f"{file} is empty", SECRETS_AGAIN) for file in empty]
    rows += [row for file, path in sorted(there.items()) if (row := _guarded(file, path))]
    rows += passwords.look(volumes, is_open)
    says = f"{len(there)} files, each readable to its own user alone; no password is empty, short or a known word"
    yield from rows or [Row("secrets", OK, says)]


def _guarded(file: str, path: Path) -> Row | None:
    found, owner = path.lstat(), MOUNTED[file.split("/")[0]]
    # That its user may write it, too, as API keys are, harms nobody.
    mode = S_IMODE(found.st_mode) & ~0o200
    if (mode, found.st_uid, found.st_gid) == (owner.mode, owner.uid, owner.gid):
        return None
    says = (
        f"{file} is of {found.st_uid}:{found.st_gid} with mode {S_IMODE(found.st_mode):04o}; "
        f"expected {owner.uid}:{owner.gid} with {owner.mode:04o}"
    )
    return Row("secrets", FAIL, says, SECRETS_AGAIN)


def makes_room(names: Collection[str]) -> str:
    """Return what makes room on a disk, by what is on it."""
    found = [OF_DOCKER] if DOCKER in names else []
    if set(names) - {DOCKER}:
        found.append(OF_MLFLOW)
    if BUCKET in names:
        found.append(OF_BUCKET)
    return "; ".join(found)


def look_at_room(places: Mapping[str, Path], make_room: str | None = None) -> Iterator[Row]:
    """Yield a row for each disk; `places` is what is on it → a path there, `make_room` what mends all of them."""
    disks: dict[int, list[str]] = {}
    for name, path in places.items():
        disks.setdefault(path.stat().st_dev, []).append(name)
    for names in disks.values():
        yield room(", ".join(names), os.statvfs(places[names[0]]), make_room or makes_room(names))


def room(name: str, disk: os.statvfs_result, make_room: str) -> Row:
    """Return the row of a file system, by its room and by how many more files it takes."""
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    share = free / max(total, 1)
    # A file system that makes inodes as it needs them says 0.
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0
    says = f"{name}: {free / 1e9:,.1f} of {total / 1e9:,.1f} GB free, {inodes:.0%} of the inodes"
    if free < min(FAIL_BYTES, total / 4) or share < FAIL_SHARE or inodes < FAIL_SHARE:
        return Row("disk", FAIL, says, make_room)
    if free < min(WARN_BYTES, total / 2) or share < WARN_SHARE or inodes < WARN_SHARE:
        return Row("disk", WARN, says, make_room)
    return Row("disk", OK, says)
