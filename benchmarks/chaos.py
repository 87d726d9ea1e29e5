"""Inject one fault after the other into a stack under steady load, and count what its clients notice: `make chaos`.

Writes benchmarks/reliability.md; `make chaos ARGS=replicas` injects those with that word in their name, and prints what they did.
Ends with exit code 1 where a prediction was wrong or a fault was not recovered from. Needs Docker; takes half an hour. Its short form, two faults
under the same load, is `tests/stack/test_weather.py`, which `make test` and CI run.
"""

import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from run import ROOT, has_stores, say

from tests.compose import LONG_RUNNING, Stack, docker, eventually
from tests.faults import (
    cut_off,
    kill,
    mounted,
    on_a_full_disk,
    out_of_memory,
    paused,
    setting,
    stopped,
    without_alias,
    worker,
)
from tests.steady import CLIENTS, LATE, RATE, Seen, ready, steady_load

HOLD = 10
"""seconds that a fault lasts which has to be undone"""
RECOVERY = 120
"""seconds after which a fault counts as not recovered from"""
QUIET = 2
"""seconds of load before and after each"""
POSTGRES_DATA = "/var/lib/postgresql/data"
LITTLE = "200m"


@dataclass(frozen=True)
class Row:
    """What one fault did: what clients and observer saw, and the seconds until all was whole again, if it was."""

    fault: str
    seen: Seen
    seconds: float
    recovery: float | None


def main(*words: str) -> int:
    """Inject all faults, or those whose name has one of the words; only all of them are written down."""
    if shutil.which("docker") is None:
        print("not on the PATH: docker", file=sys.stderr)
        return 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), f"mlflow-stack-chaos-{os.getpid()}")
        try:
            stack.up()
            stack.compose("run", "--rm", "trainer", "train", "--no-promote")
            for faults in (one_container(), several_replicas(stack)):
                wanted = ((name, inject) for name, inject in faults if not words or any(w in name for w in words))
                rows += [suffered(stack, name, inject) for name, inject in wanted]
        finally:
            stack.remove()
    if not words:
        (ROOT / "benchmarks" / "reliability.md").write_text(page(rows))
    return int(any(row.seen.wrong or row.recovery is None for row in rows))


def suffered(stack: Stack, fault: str, inject: Callable[[Stack], object]) -> Row:
    """Inject a fault under load; whole is what takes requests and new versions, and has its stores."""
    began = time.monotonic()
    with steady_load(stack) as seen:
        time.sleep(QUIET)
        try:
            inject(stack)
            undone = time.monotonic()
            eventually("the stack is whole", partial(is_whole, stack), RECOVERY)
            recovery = time.monotonic() - undone
        except (AssertionError, OSError, subprocess.SubprocessError) as error:  # also where it could not be injected
            say(f"{fault}: {error}")
            recovery = None
        time.sleep(QUIET)
    row = Row(fault, seen, time.monotonic() - began, recovery)
    say(line(row))
    return row


def is_whole(stack: Stack) -> bool:
    return ready(int(stack.settings["INFERENCE_PORT"])) == "ready" and bool(stack.alias()) and has_stores(stack)


# --- the faults ----------------------------------------------------------------------------------------------------


def one_container() -> Iterator[tuple[str, Callable[[Stack], object]]]:
    """Yield each fault of the stack as compose.yaml has it."""
    for service in LONG_RUNNING:
        yield f"kill -9 of all in {service}", partial(kill, service=service)
    yield "kill -9 of MLflow's web server", partial(kill, service="mlflow", process="$(child $(child 1))")
    yield "kill -9 of a worker of inference", partial(kill, service="inference", process=worker())
    yield "kill -9 of gunicorn's master", partial(kill, service="inference", process="$(child $(child 1))")
    yield "kill -9 of the registry poller", partial(kill, service="inference", process="$(child 1)")
    for service in LONG_RUNNING:
        yield f"{service} frozen for {HOLD} s", partial(frozen, service=service)
    for service in LONG_RUNNING:
        yield f"`restart {service}`", partial(restarted, service=service)
    yield f"mlflow and minio stopped for {HOLD} s", lambda stack: held(stopped(stack, "mlflow", "minio"))
    yield "the same, and inference restarted meanwhile", restarted_alone
    yield "`up` that finds nothing to do", lambda stack: stack.up()
    yield "`up` after a change of MLflow's memory, and back", partial(changed, MLFLOW_MEMORY="2100m")
    yield "`up` after a change of inference's log, and back", partial(changed, INFERENCE_LOG_RATE="20")
    yield f"mlflow off the network tracking for {HOLD} s", lambda stack: held(cut_off(stack, "mlflow", "tracking"))
    yield (
        f"inference off it, and so without its port, for {HOLD} s",
        lambda s: held(cut_off(s, "inference", "tracking")),
    )
    yield "the model cache full (16 kB) during a move of the alias, `up` before and after", full_cache
    yield "20 moves of the alias in 20 s", partial(moves, count=20, pause=1)
    yield f"no alias for {HOLD} s, and inference restarted meanwhile", without_alias_restarted
    yield f"the bucket gone for {HOLD} s", without_bucket
    yield f"every connection of Postgres taken for {HOLD} s", without_connections
    yield "minio's disk full during a training", partial(full_store, service="minio", folder="/data")
    yield "postgres's disk full during a training", partial(full_store, service="postgres", folder=POSTGRES_DATA)
    yield "MLflow's scratch disk full (16 kB) during an upload", full_scratch
    yield f"the files of the version in Production gone for {HOLD} s, and inference restarted meanwhile", without_files
    yield f"the version in Production deleted for {HOLD} s, and inference restarted meanwhile", without_version
    yield "the kernel ends a process in mlflow for memory", partial(out_of_memory, service="mlflow")
    yield "the kernel ends a process in inference for memory", partial(out_of_memory, service="inference")
    yield f"MLflow with less memory than it takes ({LITTLE}) for {HOLD} s", little_memory
    yield "three trainings killed as they run", killed_trainings
    yield "two trainings at once", trainings_at_once
    yield "all killed, and started again in the wrong order", all_killed
    yield "`down`, then `up`", down_and_up
    yield "`down`, then `up` with another signing key, and the same back", other_signing_key


def several_replicas(stack: Stack) -> Iterator[tuple[str, Callable[[Stack], object]]]:
    """Yield each fault of three replicas behind the proxy, which are started first."""
    stack.write_env(COMPOSE_FILE="compose.yaml:compose.scale.yaml")
    stack.up()
    yield "three replicas: kill -9 of one after the other", replicas_killed
    yield f"three replicas: one frozen for {HOLD} s", replica_frozen
    yield "three replicas: six moves of the alias in 12 s", partial(moves, count=6, pause=2)
    yield "three replicas: `scripts/roll`", roll
    yield "three replicas: kill -9 of the proxy", lambda stack: killed(replicas(stack, "proxy")[0])


def held(fault: AbstractContextManager[None]) -> None:
    """Let a fault last."""
    with fault:
        time.sleep(HOLD)


def frozen(stack: Stack, service: str) -> None:
    held(paused(stack, service))


def restarted(stack: Stack, service: str) -> None:
    stack.compose("restart", service)


def down_and_up(stack: Stack) -> None:
    stack.down()
    stack.up()


def restarted_alone(stack: Stack) -> None:
    with stopped(stack, "mlflow", "minio"):
        stack.compose("restart", "inference")
        time.sleep(HOLD)


def changed(stack: Stack, **settings: str) -> None:
    with setting(stack, **settings):
        stack.up()
    stack.up()


def full_cache(stack: Stack) -> None:
    current, other = versions(stack)
    with mounted(stack, "inference", "small:/cache"):
        stack.set_alias(other)
        eventually("it is served", lambda: stack.served_version() == other)
        stack.set_alias(current)
        eventually("it is served", lambda: stack.served_version() == current)


def versions(stack: Stack) -> tuple[str, str]:
    """Return the version in Production and another one."""
    current = stack.alias()
    return current, next(version for version in sorted(stack.versions(), key=int) if version != current)


def moves(stack: Stack, count: int, pause: float) -> None:
    current, other = versions(stack)
    for number in range(count):
        stack.set_alias(current if number % 2 else other)
        time.sleep(pause)
    eventually("the last one is served", lambda: stack.served_version() == current)


def without_alias_restarted(stack: Stack) -> None:
    with without_alias(stack):
        stack.compose("restart", "inference")
        time.sleep(HOLD)


def without_bucket(stack: Stack) -> None:
    stack.compose("exec", "-T", "minio", "mv", "/data/mlflow", "/data/gone")
    try:
        time.sleep(HOLD)
    finally:
        stack.compose("exec", "-T", "minio", "mv", "/data/gone", "/data/mlflow")


def without_connections(stack: Stack) -> None:
    """Take all that are left, as Postgres's superuser, to whom it leaves its last ones."""
    code = (
        "import psycopg2, time\nheld = []\n"
        "try:\n    while True: held.append(psycopg2.connect(host='/var/run/postgresql', user='postgres'))\n"
        f"except psycopg2.OperationalError as error: print(len(held), error, flush=True); time.sleep({HOLD})\n"
    )
    result = stack.compose("run", "--rm", "--no-deps", "--entrypoint", "python", "database", "-c", code)
    if "too many clients" not in result.stdout:
        raise AssertionError(result.stdout + result.stderr)


def full_store(stack: Stack, service: str, folder: str) -> None:
    with on_a_full_disk(stack, service, folder):
        training = stack.compose("run", "--rm", "trainer", "train", "--no-promote", check=False)
    if training.returncode == 0:
        raise AssertionError(f"a training finds room in {service}")


def full_scratch(stack: Stack) -> None:
    with mounted(stack, "mlflow", "small:/scratch"):
        url = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/too-much"
        if requests.put(url, bytes(8_000_000), timeout=60).ok:
            raise AssertionError("an upload finds room")


def without_files(stack: Stack) -> None:
    version = stack.versions()[stack.alias()]
    model = version["source"].removeprefix("models:/")
    experiment = stack.api(f"logged-models/{model}")["model"]["info"]["experiment_id"]
    folder = f"/data/mlflow/{experiment}/models/{model}"
    stack.compose("exec", "-T", "minio", "mv", folder, "/data/gone")
    try:
        stack.compose("restart", "inference")
        time.sleep(HOLD)
    finally:
        stack.compose("exec", "-T", "minio", "mv", "/data/gone", folder)


def without_version(stack: Stack) -> None:
    """Delete a version of its own, which is in Production for that; what was there before follows it."""
    before = stack.alias()
    stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    spare = max(stack.versions(), key=int)
    stack.set_alias(spare)
    eventually("it is served", lambda: stack.served_version() == spare)
    wanted = {"name": "iris_logistic_regression", "version": spare}
    requests.delete(
        f"{stack.mlflow_url}/api/2.0/mlflow/model-versions/delete", json=wanted, timeout=10
    ).raise_for_status()
    try:
        stack.compose("restart", "inference")
        time.sleep(HOLD)
    finally:
        stack.set_alias(before)


def little_memory(stack: Stack) -> None:
    with setting(stack, MLFLOW_MEMORY=LITTLE):
        stack.compose("up", "--detach", "--no-deps", "--no-build", "mlflow")
        time.sleep(HOLD)
    stack.put_right("mlflow")


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
    stack.set_alias(version)
    eventually("it is served again", lambda: stack.served_version() == version)


def killed_trainings(stack: Stack) -> None:
    for number, pause in enumerate((4, 6, 8)):
        name = f"{stack.name}-killed-{number}"
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(stack.compose, "run", "--rm", "--name", name, "trainer", check=False)
            time.sleep(pause)
            subprocess.run(["docker", "kill", name], capture_output=True)
            training.result()


def trainings_at_once(stack: Stack) -> None:
    with ThreadPoolExecutor(2) as pool:
        for training in [pool.submit(stack.compose, "run", "--rm", "trainer") for _ in range(2)]:
            training.result()


def all_killed(stack: Stack) -> None:
    ids = [stack.containers()[service]["Id"] for service in LONG_RUNNING]
    docker("kill", *ids)
    for container in reversed(ids):
        docker("start", container)


def replicas(stack: Stack, service: str = "inference") -> list[str]:
    return stack.compose("ps", "--quiet", service).stdout.split()


def replicas_killed(stack: Stack) -> None:
    for replica in replicas(stack):
        killed(replica)
        time.sleep(HOLD)


def killed(container: str) -> None:
    """Kill all in a container, the shell that does it included."""
    subprocess.run(["docker", "exec", container, "sh", "-c", "kill -9 -1"], capture_output=True)


def replica_frozen(stack: Stack) -> None:
    replica = replicas(stack)[0]
    docker("pause", replica)
    time.sleep(HOLD)
    docker("unpause", replica)


def roll(stack: Stack) -> None:
    subprocess.run(["scripts/roll"], cwd=stack.folder, env=stack.environ(), check=True, capture_output=True)


# --- the page ------------------------------------------------------------------------------------------------------


def page(rows: list[Row]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    right, wrong, failed, late = (sum(getattr(r.seen, n) for r in rows) for n in ("right", "wrong", "failed", "late"))
    return (
        "# Reliability\n\nThis page shows what clients notice of faults in the stack. Made by `make chaos`.\n\n"
        f"{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}, Docker "
        f"{docker('version', '--format', '{{.Server.Version}}')}. {CLIENTS} clients ask {CLIENTS * RATE} times a second together, "
        "each on a connection of its own that it makes anew where it is lost, whatever happens. *Failed* is each request without a "
        f"prediction, *wrong* a prediction that is not the right one, *late* a right one that took more than {LATE} s from when it was "
        "due, the wait for the request before included. *Whole again* counts from when the fault was over (for a kill: from then on), "
        "until `/ready` says ready and not stale, the alias can be read and the artifacts be listed. Once each: counts are exact, "
        "times depend on the machine.\n\n"
        f"**{right:,} right predictions, {wrong:,} wrong, {failed:,} failed requests, {late:,} late.**\n\n"
        "| fault | right | wrong | failed | late | whole again, s | what `/ready` said meanwhile |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(map(line, rows))
        + "\n"
    )


def line(row: Row) -> str:
    seen, reasons = row.seen, ", ".join(f"{n} {reason}" for reason, n in row.seen.reasons.items())
    failed = f"{seen.failed}: {reasons}" if reasons else "0"
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f}"
    return f"| {row.fault} | {seen.right} | {seen.wrong} | {failed} | {seen.late} | {recovery} | {told(row)} |"


def told(row: Row) -> str:
    """Return what /ready said besides ready, and for how long together."""
    spans: dict[str, float] = {}
    ends = [at for at, _ in row.seen.said[1:]] + [row.seconds]
    for (at, said), end in zip(row.seen.said, ends, strict=True):
        if said != "ready":
            spans[said] = spans.get(said, 0.0) + end - at
    return "; ".join(f"{span:.1f} s {said.replace('|', '/')}" for said, span in spans.items()) or "ready"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
