"""Disks that fill up, memory that does not suffice, bodies and files that are large, connections that are all taken."""

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import requests
from chaos.fault import HOLD, Fault, expect
from chaos.registry import move, versions
from run import say

from tests.compose import SAMPLES, Stack, docker, eventually
from tests.faults import kill, mounted, on_a_full_disk, out_of_memory, setting, stopped

POSTGRES_DATA = "/var/lib/postgresql/data"
LITTLE, TIGHT = "200m", "450m"
"""memory with which MLflow does not start, and with which it works as long as uploads are small"""
ROOM_KB = 24
"""left in the model cache: for a note of a version, and not for its files"""
TOO_SMALL, SMALL = "120m", "300m"
"""memory that is refused for the prediction service, and the least round one that is not"""
BODIES, BODY_BYTES = 24, 14_700_000
MB = 1_000_000


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    yield "the model cache full (16 kB) during a move of the alias, `up` before and after", full_cache
    yield (
        f"{ROOM_KB} kB left in the model cache, a move, then MLflow stopped and inference restarted",
        nearly_full_cache,
    )
    yield "minio's disk full during a training", partial(full_store, service="minio", folder="/data")
    yield "postgres's disk full during a training", partial(full_store, service="postgres", folder=POSTGRES_DATA)
    yield "MLflow's scratch disk full (16 kB) during an upload", full_scratch
    yield "the kernel ends a process in mlflow for memory", partial(out_of_memory, service="mlflow")
    yield "the kernel ends a process in inference for memory", partial(out_of_memory, service="inference")
    yield f"MLflow with less memory than it takes ({LITTLE}) for {HOLD} s", little_memory
    yield f"inference with less memory than it takes ({TOO_SMALL}) for {HOLD} s", refused_memory
    yield f"inference with little memory ({SMALL}), {BODIES} bodies of {BODY_BYTES / MB:.1f} MB at once", large_bodies
    for count, size in ((1, 1000), (3, 300)):
        yield f"{count} upload{'s' * (count > 1)} of {size} MB through MLflow", partial(uploads, count=count, size=size)
    for count, size in ((1, 1000), (3, 300)):
        yield f"the same, {count} of {size} MB, with MLFLOW_MEMORY={TIGHT}", partial(tight, count=count, size=size)
    yield "kill -9 of mlflow in the middle of an upload of 1000 MB", killed_upload
    yield f"every connection of Postgres taken for {HOLD} s", without_connections
    yield f"the same for {2 * HOLD} s, and mlflow restarted meanwhile", without_connections_restarted


def full_cache(stack: Stack) -> None:
    current, other = versions(stack)
    with mounted(stack, "inference", "small:/cache"):
        move(stack, other)
        move(stack, current)


def nearly_full_cache(stack: Stack) -> None:
    """Have the next version's files find no room where a note of it would: what is whole in the cache is what a start serves."""
    current, other = versions(stack)
    fill = f'head -c "$(($(df --output=avail -k /cache | tail -1) - {ROOM_KB}))K" /dev/zero >/cache/filler'
    with mounted(stack, "inference", "small:/cache", kilobytes=2048), kept(stack, "small"):
        stack.compose("exec", "-T", "inference", "sh", "-c", fill)
        move(stack, other)
        with stopped(stack, "mlflow"):
            stack.compose("restart", "inference")
            eventually("what is in the cache is served", lambda: stack.served_version() == current, HOLD)
        eventually("the version behind the alias is served", lambda: stack.served_version() == other)
        move(stack, current)


@contextmanager
def kept(stack: Stack, volume: str) -> Iterator[None]:
    """Keep a volume in memory mounted, by a container that does nothing: its contents outlive a restart of who uses it."""
    name, image = f"{stack.name}-keeper", stack.containers()["inference"]["Image"]
    mount = f"--volume={stack.name}_{volume}:/kept"
    docker("run", "--detach", "--init", f"--name={name}", mount, "--entrypoint=sleep", image, "600")
    try:
        yield
    finally:
        docker("rm", "--force", name)


def full_store(stack: Stack, service: str, folder: str) -> None:
    with on_a_full_disk(stack, service, folder):
        training = stack.compose("run", "--rm", "trainer", "train", "--no-promote", check=False)
    expect(training.returncode == 4, f"a training with no room in {service} ends with {training.returncode}, not 4")


def full_scratch(stack: Stack) -> None:
    with mounted(stack, "mlflow", "small:/scratch"):
        expect(not uploaded(stack, 8, "too-much"), "an upload finds room")


def little_memory(stack: Stack) -> None:
    with setting(stack, MLFLOW_MEMORY=LITTLE):
        stack.compose("up", "--detach", "--no-deps", "--no-build", "mlflow")
        time.sleep(HOLD)
    stack.put_right("mlflow")


def refused_memory(stack: Stack) -> None:
    with setting(stack, INFERENCE_MEMORY=TOO_SMALL):
        stack.compose("up", "--detach", "--no-deps", "--no-build", "inference")
        told = f"INFERENCE_MEMORY is {TOO_SMALL}; INFERENCE_WORKERS=2 takes at least"
        eventually("it is refused in words", lambda: told in stack.logs("inference"))
        time.sleep(HOLD)
    stack.put_right("inference")


def large_bodies(stack: Stack) -> None:
    """Send more than there is memory for: the kernel may end workers, and the service goes on."""
    row = json.dumps(SAMPLES[0])
    body = f'{{"instances": [{", ".join([row] * (BODY_BYTES // (len(row) + 2)))}]}}'.encode()
    with setting(stack, INFERENCE_MEMORY=SMALL):
        stack.put_right("inference")
        with ThreadPoolExecutor(BODIES) as pool:
            answers = Counter(pool.map(lambda _: answered(stack, body), range(BODIES)))
        say(f"{BODIES} large bodies: {dict(answers)}")
        restarts = stack.containers()["inference"]["RestartCount"]
    stack.put_right("inference")
    expect(restarts == 0, f"the container was started again {restarts} times")


def answered(stack: Stack, body: bytes) -> str:
    """Return what a body met: the status, or the kind of its failure."""
    headers = {"Content-Type": "application/json"}
    try:
        return str(requests.post(f"{stack.url}/invocations", body, headers=headers, timeout=60).status_code)
    except requests.RequestException as error:
        return type(error).__name__


def uploads(stack: Stack, count: int, size: int) -> list[bool]:
    """Upload files of so many MB at once; return which were taken. What MLflow had of them on its disk is gone afterwards."""
    with ThreadPoolExecutor(count) as pool:
        taken = list(pool.map(lambda number: uploaded(stack, size, f"upload-{number}"), range(count)))
    eventually("nothing is left of them on MLflow's disk", lambda: not on_its_way(stack))
    return taken


def on_its_way(stack: Stack) -> str:
    """Return what MLflow has of uploads on its own disk; fail while it does not run."""
    return stack.compose("exec", "-T", "mlflow", "find", "/scratch", "-type", "f").stdout


def killed_upload(stack: Stack) -> None:
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(uploaded, stack, 1000, "killed")
        eventually("it is on its way", lambda: on_its_way(stack))
        kill(stack, "mlflow")
        expect(not upload.result(), "the upload was taken")
    eventually("nothing is left of it on MLflow's disk", lambda: not on_its_way(stack))


def tight(stack: Stack, count: int, size: int) -> None:
    with setting(stack, MLFLOW_MEMORY=TIGHT):
        stack.put_right("mlflow")
        say(f"uploads that were taken: {uploads(stack, count, size)}")
    stack.put_right("mlflow")


def uploaded(stack: Stack, megabytes: int, name: str) -> bool:
    """Put a file into MLflow's store, and delete it there; return whether it was taken."""
    url = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{name}"
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), megabytes * MB)
        try:
            is_taken = requests.put(url, file, timeout=300).ok
        except requests.RequestException:
            return False
    return is_taken and requests.delete(url, timeout=60).ok


def without_connections(stack: Stack, seconds: float = HOLD) -> None:
    """Take all that are left, and each that comes free, as Postgres's superuser, to whom it leaves its last ones."""
    code = (
        "import psycopg2, time\nheld, end, refused = [], time.monotonic() + " + str(seconds) + ", ''\n"
        "while time.monotonic() < end:\n"
        "    try: held.append(psycopg2.connect(host='/var/run/postgresql', user='postgres'))\n"
        "    except psycopg2.OperationalError as error: refused = str(error); time.sleep(0.05)\n"
        "print(len(held), refused)\n"
    )
    result = stack.compose("run", "--rm", "--no-deps", "--entrypoint", "python", "database", "-c", code)
    expect("too many clients" in result.stdout, result.stdout + result.stderr)


def without_connections_restarted(stack: Stack) -> None:
    probe = ("exec", "-T", "postgres", "psql", "--username=postgres", "--command=SELECT 1")
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(without_connections, stack, 2 * HOLD)
        eventually("all are taken", lambda: "too many clients" in stack.compose(*probe, check=False).stderr, HOLD)
        stack.compose("restart", "mlflow")
        taking.result()
