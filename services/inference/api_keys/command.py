"""The command of scripts/api-key: API keys made, listed and revoked, in the file that API_KEYS_FILE names.

python -m inference.api_keys.command add NAME [--scopes predict,metrics] [--rate N]
python -m inference.api_keys.command list
python -m inference.api_keys.command revoke NAME
python -m inference.api_keys.command off
"""

import argparse
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import audit

from inference.api_keys import key_file
from inference.api_keys.key_file import ApiKey
from inference.errors import KeysUnusable

# So that what finds secrets in files and logs knows one of these.
PREFIX = "mlstack_"


def main(arguments: list[str]) -> int:
    """Run a command; return the exit code."""
    options = parser().parse_args(arguments)
    path = Path(os.environ.get("API_KEYS_FILE", "embedded/keys/api-keys"))
    try:
        with _alone(path):
            options.run(path, options)
    except KeysUnusable as error:
        print(f"api-key: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"api-key: {path} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    whole = argparse.ArgumentParser("api-key", description="API keys of the prediction service (docs/api-keys.md)")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    added = commands.add_parser("add", help="make a key and show it, once")
    added.add_argument("name", help="whose it is: what the log and the metrics say")
    added.add_argument("--scopes", default=key_file.PREDICT, help=f"of {','.join(key_file.SCOPES)}; %(default)s")
    added.add_argument("--rate", default=key_file.NO_RATE, help="requests a second; without it, any number")
    added.set_defaults(run=add)
    commands.add_parser("list", help="the keys in force, without the keys").set_defaults(run=show)
    revoked = commands.add_parser("revoke", help="let a key in no more")
    revoked.add_argument("name", help="whose it is")
    revoked.set_defaults(run=revoke)
    commands.add_parser("off", help="forget all keys, and ask for none").set_defaults(run=off)
    return whole


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let nobody else change the file meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keys(path: Path) -> list[ApiKey] | None:
    """Return the keys in the file, None where none is asked for."""
    try:
        content = key_file.read(path)
        return None if content is None else key_file.parsed(content)
    except KeysUnusable as error:
        raise KeysUnusable(f"{path}: {error}; mend it, or start over with `off`, which lets everybody in") from None


def add(path: Path, options: argparse.Namespace) -> None:
    """Make a key, write its digest down, and print it on standard output, alone."""
    name, scopes = key_file.check_name(options.name), key_file.check_scopes(options.scopes)
    rate, before = key_file.check_rate(options.rate), _keys(path)
    keys = before or []
    if any(key.name == name for key in keys):
        raise KeysUnusable(f"there is a key of the name {name!r} already; revoke it, or choose another name")
    made = PREFIX + secrets.token_urlsafe(32)
    day = datetime.now(UTC).date().isoformat()
    content = key_file.written([*keys, ApiKey(sha256(made.encode()).digest(), name, scopes, rate, day)])
    if len(content) > key_file.MOST_BYTES:
        raise KeysUnusable(f"{path} has no room for another key; revoke some")
    key_file.replace(path, content)
    audit.note("key", name, None, f"{','.join(sorted(scopes))} {key_file.shown_rate(rate)}", "api-key add")
    first = "From now on the service asks for a key. " if before is None else ""
    print(f"The key {name!r}. {first}It is shown this once, and kept nowhere:", file=sys.stderr, flush=True)
    print(made)


def show(path: Path, options: argparse.Namespace) -> None:
    """Print a table of the keys in force."""
    if (keys := _keys(path)) is None:
        print("API keys are off: nothing asks for one.")
        return
    rows = [("name", "scopes", "requests/s", "made")]
    rows += [(key.name, ",".join(sorted(key.scopes)), key_file.shown_rate(key.rate), key.made) for key in keys]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not keys:
        print("There is no key in force: nobody is let in.")


def revoke(path: Path, options: argparse.Namespace) -> None:
    """Take a key out of the file."""
    keys = _keys(path) or []
    left = [key for key in keys if key.name != options.name]
    if len(left) == len(keys):
        names = ", ".join(key.name for key in keys) or "none"
        raise KeysUnusable(f"there is no key of the name {options.name[:100]!r}; there are: {names}")
    key_file.replace(path, key_file.written(left))
    audit.note("key", options.name, "in force", None, "api-key revoke")
    print(f"The key {options.name!r} is revoked; the service lets it in no more within two seconds.")
    if not left:
        print("It was the last one: nobody is let in now. `add NAME` makes another one; `off` lets everybody in.")


def off(path: Path, options: argparse.Namespace) -> None:
    """Forget all keys; the service asks for none."""
    key_file.replace(path, key_file.OFF + b"\n")
    audit.note("key", "all", "in force", None, "api-key off")
    print("API keys are off: the service lets everybody in who reaches its port.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
