"""A request by whoever holds the key that versions are signed with: the monitor gives answers and labels to nobody else."""

import time
from pathlib import Path

from contract import signature
from contract.errors import Refused

# What a signature is over begins so, so that it is no signature over anything else.
PURPOSE = "mlflow-stack request 1"
SCHEME = "Signed"
# How far the two clocks may be apart, and how long a request may be on its way.
SECONDS = 60


def authorization(target: str, key: Path) -> str:
    """Return the Authorization header for GET `target`, a path with its query; `key` is the private key's file, PEM."""
    now = str(int(time.time()))
    return f"{SCHEME} {now} {signature.sign_text(_content(target, now), key)}"


def check(target: str, header: str | None, public_key: Path) -> None:
    """Raise Refused unless a header was made for this target, just now, with the key's pair."""
    scheme, _, said = (header or "").partition(" ")
    when, _, signed = said.partition(" ")
    if scheme != SCHEME or not (when.isascii() and when.isdigit()):
        raise Refused(f"it is not signed; expected Authorization: {SCHEME} TIME SIGNATURE, by the key of the versions")
    if abs(time.time() - int(when[:20])) > SECONDS:
        raise Refused(f"it is of another time than the last {SECONDS} seconds")
    signature.verify_text(_content(target, when), signed, public_key)


def _content(target: str, when: str) -> bytes:
    return "\n".join([PURPOSE, target, when]).encode()
