"""What stands in .env and in the environment: secrets in the wrong place, files that are not there, changes not in force."""

import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE
from typing import Any

from doctor.host.docker import HASH, ROOT, Stack
from doctor.records import FAIL, OK, WARN, Row

UP = "docker compose up -d --wait"
GIVEN = "/given/"
# What is given as a file and is no secret.
PUBLIC = {"TLS_CERTIFICATE", "ACME_CA_ROOT", "OIDC_CA", "BACKUP_KNOWN_HOSTS"}
# What stands in where nothing is given.
NOT_GIVEN = ROOT / "services" / "setup" / "not-given"


def look(stack: Stack, env: Path = ROOT / ".env") -> Iterator[Row]:
    """Yield the rows of what can be told without a container."""
    rows = [*_secrets_as_values(stack, env), *_files(stack), *_not_in_force(stack)]
    yield from rows or [
        Row(
            "settings",
            OK,
            "no secret stands in them, the files that they name are there and their owner's, they are in force",
        )
    ]


def _secrets_as_values(stack: Stack, env: Path) -> Iterator[Row]:
    # compose.yaml passes on that there is one, not what it is.
    for name, value in stack.config["services"].get("secrets", {}).get("environment", {}).items():
        if value == "set":
            says = f"{name} itself stands in .env or the environment, open to others, and the set-up takes it from a file alone"
            yield Row("settings", FAIL, says, _into_a_file(name, env))


def _into_a_file(name: str, env: Path) -> str:
    """Return what takes a secret out of .env: a command, where it stands there on one line; else what a person does."""
    file = f"./secrets/{name.lower()}"
    content = env.read_text(errors="replace") if env.is_file() else ""
    # Without what Compose reads otherwise than sed: quotes, variables, a comment.
    if re.search(rf"^{name}=[^\"'$#\s]+( [^\"'$#\s]+)*$", content, re.MULTILINE) is None:
        return f"write it into {file}, unset {name}, and in .env {name}_FILE={file}"
    moved = f"sed -n 's/^{name}=//p' .env >{file}; sed 's|^{name}=.*|{name}_FILE={file}|' .env >.env.new && mv .env.new .env"
    return f"(umask 77; mkdir -p secrets; {moved})"


def _files(stack: Stack) -> Iterator[Row]:
    """Yield a row for each file named in a setting that is not there, or a secret that others may read."""
    services = stack.config["services"].values()
    mounts: list[dict[str, Any]] = [volume for service in services for volume in service.get("volumes", [])]
    given = {mount["target"].removeprefix(GIVEN): mount["source"] for mount in mounts if GIVEN in mount["target"]}
    for name, source in given.items():
        # Docker makes an empty folder of a path that does not exist.
        if not (path := Path(source)).is_file():
            yield Row("settings", FAIL, f"{name}_FILE names {source}, which is no file", f"write that file, then {UP}")
        elif name not in PUBLIC and path != NOT_GIVEN and _is_open_to_others(path):
            mode = S_IMODE(path.stat().st_mode)
            says = f"{name}_FILE names {source}, which others on this machine may read: its mode is {mode:04o}"
            yield Row("settings", WARN, says, f"chmod 600 {source}")


def _is_open_to_others(path: Path) -> bool:
    """Tell whether any user may read or write a file: none does in a folder that is closed to them."""
    reached = all(folder.stat().st_mode & 0o001 for folder in path.parents)
    return reached and bool(path.stat().st_mode & 0o006)


def _not_in_force(stack: Stack) -> Iterator[Row]:
    """Yield a warning for containers that were made with other settings than there are now."""
    old = {
        name
        for name, digest in stack.hashes.items()
        for container in stack.of(name)
        if container["Config"]["Labels"].get(HASH) not in (None, digest)
    }
    if old:
        names = ", ".join(sorted(old))
        yield Row(
            "settings", WARN, f"they have changed since {names} started, and are not in force there yet", stack.up
        )
