"""What is moved, renamed, deleted or lost behind the alias: in the registry, in the artifact store, and the signing key."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import requests
from chaos.fault import HOLD, Fault, expect
from chaos.processes import down_and_up
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.compose import CLASSES, Stack, eventually
from tests.faults import setting, without_alias
from tests.steady import ready

NAME, OTHER_NAME = "iris_logistic_regression", "renamed"


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    yield "20 moves of the alias in 20 s", partial(moves, count=20, pause=1)
    yield f"no alias for {HOLD} s, and inference restarted meanwhile", without_alias_restarted
    yield f"the bucket gone for {HOLD} s", without_bucket
    yield f"the files of the version in Production gone for {HOLD} s, and inference restarted meanwhile", without_files
    yield "the same, and the cache empty; then `up`", without_files_and_cache
    yield f"the signature of the next version (model.sig) lost for {HOLD} s", without_signature
    yield f"the version in Production deleted for {HOLD} s, and inference restarted meanwhile", without_version
    yield f"the registered model renamed for {HOLD} s, and inference restarted meanwhile", renamed
    yield f"the registered model deleted, and inference restarted; `up` after {HOLD} s", deleted
    yield "`down`, then `up` with another signing key, and the same back", other_signing_key


def versions(stack: Stack) -> tuple[str, str]:
    """Return the version in Production and another one."""
    current = stack.alias()
    return current, next(version for version in sorted(stack.versions(), key=int) if version != current)


def trained(stack: Stack) -> str:
    """Train a version that was never served, and return it."""
    stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    return max(stack.versions(), key=int)


def move(stack: Stack, version: str) -> None:
    """Move the alias, and wait until that version is served."""
    stack.set_alias(version)
    eventually(f"version {version} is served", lambda: stack.served_version() == version)


def moves(stack: Stack, count: int, pause: float) -> None:
    """Move the alias to and fro. Without a pause, each move is taken up before the next."""
    current, other = versions(stack)
    for number in range(count):
        version = current if number % 2 else other
        stack.set_alias(version) if pause else move(stack, version)
        time.sleep(pause)
    eventually("the last one is served", lambda: stack.served_version() == current)


def restarted_on_its_cache(stack: Stack) -> None:
    """Restart the prediction service while nothing usable is behind the alias: it serves what it has."""
    stack.compose("restart", "inference")
    eventually("it serves from its cache", lambda: stack.predict() == CLASSES)
    time.sleep(HOLD)


def without_alias_restarted(stack: Stack) -> None:
    with without_alias(stack):
        restarted_on_its_cache(stack)


@contextmanager
def gone(stack: Stack, path: str) -> Iterator[None]:
    """Have what MinIO keeps under a path gone; then it is there again."""
    stack.compose("exec", "-T", "minio", "mv", f"/data/{path}", "/data/gone")
    try:
        yield
    finally:
        stack.compose("exec", "-T", "minio", "mv", "/data/gone", f"/data/{path}")


def files_of(stack: Stack, version: str) -> str:
    """Return the path of a version's files in MinIO."""
    model = stack.versions()[version]["source"].removeprefix("models:/")
    experiment = stack.api(f"logged-models/{model}")["model"]["info"]["experiment_id"]
    return f"mlflow/{experiment}/models/{model}"


def without_bucket(stack: Stack) -> None:
    with gone(stack, "mlflow"):
        time.sleep(HOLD)


def without_files(stack: Stack) -> None:
    with gone(stack, files_of(stack, stack.alias())):
        restarted_on_its_cache(stack)


def without_files_and_cache(stack: Stack) -> None:
    """Lose a version for good: `up` goes back to the one before it, and trains none."""
    before, lost, known = stack.alias(), trained(stack), set(stack.versions())
    stack.compose("run", "--rm", "trainer", "promote", lost)
    eventually("it is served", lambda: stack.served_version() == lost)
    with gone(stack, files_of(stack, lost)):
        stack.compose("exec", "-T", "inference", "find", "/cache", "-mindepth", "1", "-delete")
        stack.compose("restart", "inference")
        stack.up()
        expect((stack.alias(), set(stack.versions())) == (before, known), f"version {stack.alias()} is in Production")


def without_signature(stack: Stack) -> None:
    """Move the alias to a version whose signature is lost: what is served goes on, and what is missing is named."""
    current, unsigned = stack.alias(), trained(stack)
    with gone(stack, f"{files_of(stack, unsigned)}/artifacts/model.sig"):
        stack.set_alias(unsigned)
        eventually("it is told", lambda: "model.sig" in ready(int(stack.settings["INFERENCE_PORT"])))
        time.sleep(HOLD)
        expect(stack.served_version() == current, f"version {stack.served_version()} is served")
    eventually("it is served once it is whole", lambda: stack.served_version() == unsigned)
    move(stack, current)


def without_version(stack: Stack) -> None:
    """Delete a version of its own, which is in Production for that; what was there before follows it."""
    before, spare = stack.alias(), trained(stack)
    move(stack, spare)
    asked(stack, "DELETE", "model-versions/delete", name=NAME, version=spare)
    try:
        restarted_on_its_cache(stack)
    finally:
        stack.set_alias(before)


def renamed(stack: Stack) -> None:
    asked(stack, "POST", "registered-models/rename", name=NAME, new_name=OTHER_NAME)
    try:
        restarted_on_its_cache(stack)
    finally:
        asked(stack, "POST", "registered-models/rename", name=OTHER_NAME, new_name=NAME)


def deleted(stack: Stack) -> None:
    """Delete all versions; `up` trains a first one, as a new stack does."""
    asked(stack, "DELETE", "registered-models/delete", name=NAME)
    restarted_on_its_cache(stack)
    stack.up()
    trained(stack)


def asked(stack: Stack, method: str, path: str, **body: str) -> None:
    """Have MLflow do something to its registry."""
    requests.request(method, f"{stack.mlflow_url}/api/2.0/mlflow/{path}", json=body, timeout=10).raise_for_status()


def other_signing_key(stack: Stack) -> None:
    """Start with another key, with which the version in Production is not served and another is trained; then with the first again."""
    version, cat = stack.alias(), ("run", "--rm", "--no-deps", "-T", "--entrypoint", "cat", "secrets")
    own = stack.compose(*cat, "/volumes/trainer/signing-key.pem").stdout
    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()
    for name, key in {"other.pem": other, "own.pem": own}.items():
        (stack.folder / name).write_text(key)
        with setting(stack, SIGNING_KEY_FILE=f"./{name}"):
            down_and_up(stack)
    move(stack, version)
