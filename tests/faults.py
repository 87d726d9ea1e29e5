"""What goes wrong with a stack: faults to inject, each undone where its block ends. For the tests and for `make chaos`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from tests.compose import Stack, docker, eventually

ALIAS = {"name": "iris_logistic_regression", "alias": "Production"}
CHILD = "child() { cut -d' ' -f1 /proc/$1/task/$1/children; }"
"""Of the prediction service: init's child follows the registry, its child is gunicorn, and the children of that are workers."""


def worker(number: int = 0) -> str:
    """Return a word of the shell that names a worker of the prediction service: its first one, or another by any number."""
    return f"$(set -- $(child $(child $(child 1))); shift $(({number} % $#)); echo $1)"


def kill(stack: Stack, service: str, process: str = "-1") -> None:
    """Kill from inside a container, as a crash does: all of it, or the process that a word of the shell names.

    The engine restarts what dies by itself, not what somebody stops.
    """
    killing = stack.compose("exec", "-T", service, "sh", "-c", f"{CHILD}; kill -9 {process}", check=False)
    if killing.returncode not in (0, 137):  # 137 where this shell was killed as well
        raise AssertionError(f"nothing is killed in {service}: {killing.returncode} {killing.stderr}")


def init_killed(stack: Stack, service: str) -> None:
    """Kill a container's first process, from outside: the kernel hands it no such signal from inside."""
    container = stack.containers()[service]
    outside = ("--pid=host", "--network=none", "--user=0", "--entrypoint=sh", container["Image"])
    docker("run", "--rm", *outside, "-c", f"kill -9 {container['State']['Pid']}")


@contextmanager
def stopped(stack: Stack, *services: str) -> Iterator[None]:
    """Stop services; afterwards start the same containers, and no others: some releases of Compose re-create all at `up --no-deps`."""
    containers = stack.containers()
    stack.compose("stop", *services)
    try:
        yield
    finally:
        docker("start", *(containers[service]["Id"] for service in services))
        for service in services:
            stack.until_healthy(service, 120)


@contextmanager
def paused(stack: Stack, service: str) -> Iterator[None]:
    """Freeze a service, which keeps its connections and answers nobody."""
    # The kernel may not manage to freeze what is busy.
    eventually(f"{service} is frozen", lambda: not stack.compose("pause", service, check=False).returncode)
    try:
        yield
    finally:
        stack.compose("unpause", service)
        # Docker tells what its probes met meanwhile, and `up --wait` gives up at once where that was too much.
        stack.until_healthy(service)


@contextmanager
def mounted(stack: Stack, service: str, *mounts: str, kilobytes: int = 16) -> Iterator[None]:
    """Run a service with other mounts; `small:/FOLDER` is a volume of so many kB. Afterwards it runs as before."""
    override = stack.folder / "compose.override.yaml"
    override.write_text(
        f"services: {{{service}: {{volumes: {list(mounts)}}}}}\n"
        f"volumes: {{small: {{driver_opts: {{type: tmpfs, device: tmpfs, o: 'size={kilobytes}k,mode=1777'}}}}}}\n"
    )
    try:
        stack.put_right(service)
        yield
    finally:
        override.unlink()
        stack.put_right(service)
        docker("volume", "rm", "--force", f"{stack.name}_small")


@contextmanager
def on_a_full_disk(stack: Stack, service: str, folder: str) -> Iterator[Callable[[], object]]:
    """Run a store on a copy of its data, on a disk that fills up as soon as it runs; afterwards on its own, as it was.

    Yields what clears the disk again.
    """
    name, container = f"{stack.name}_full", stack.containers()[service]
    megabytes = int(docker("exec", container["Id"], "du", "-sm", folder).split()[0])
    override = stack.folder / "compose.override.yaml"
    override.write_text(
        f'services: {{{service}: {{volumes: ["{name}:{folder}"]}}}}\nvolumes: {{{name}: {{external: true}}}}\n'
    )
    stack.compose("stop", service)
    docker("volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o=size={megabytes + 32}m", name)
    # Once it is full it stays so, whatever the store throws away.
    fill = "until [ -e /full/x ]; do sleep 0.1; done; while [ -e /full/x ]; do cat /dev/zero >>/full/x 2>&-; sleep 0.1; done"
    copy = ("--entrypoint=sh", container["Image"], "-c", f"cp -a {folder}/. /full && echo copied; {fill}; sleep 600")
    mounts = (f"--volumes-from={container['Id']}:ro", f"--volume={name}:/full")
    docker("run", "--detach", f"--name={name}", "--user=0", "--init", *mounts, *copy)
    try:
        eventually("it is copied", lambda: docker("logs", name))
        stack.put_right(service)
        docker("exec", name, "sh", "-c", "cat /dev/zero >/full/x 2>/dev/null || true")
        yield lambda: docker("exec", name, "sh", "-c", "while [ -e /full/x ]; do rm -f /full/x; sleep 0.3; done")
    finally:
        override.unlink()
        stack.put_right(service)
        docker("rm", "--force", name)
        docker("volume", "rm", name)


def out_of_memory(stack: Stack, service: str) -> None:
    """Take more memory than a container may have: the kernel ends the largest process in it, which is this one."""
    greedy = stack.compose("exec", "-T", service, "python", "-c", "b'x' * (8 << 30)", check=False)
    if greedy.returncode != 137:
        raise AssertionError(f"the kernel did not end it: {greedy.returncode} {greedy.stderr}")


def near_its_limit_of_memory(stack: Stack, service: str) -> None:
    """Have a container use 95% of the memory that it may have, by a file in memory; a new container has none."""
    container = stack.containers()[service]
    used = float(docker("stats", "--no-stream", "--format", "{{.MemPerc}}", container["Id"]).rstrip("%")) / 100
    more = round((0.95 - used) * container["HostConfig"]["Memory"])
    stack.compose("exec", "-T", service, "sh", "-c", f"head -c {more} /dev/zero >/tmp/full")


@contextmanager
def cut_off(stack: Stack, service: str, network: str) -> Iterator[None]:
    """Take a container off a network, and put it back under its name."""
    container, name = stack.containers()[service]["Id"], f"{stack.name}_{network}"
    docker("network", "disconnect", name, container)
    try:
        yield
    finally:
        docker("network", "connect", "--alias", service, name, container)


@contextmanager
def without_names(stack: Stack, service: str) -> Iterator[None]:
    """Have a container ask for names where nobody answers; its root file system is read-only, so the file is written from outside."""
    container = stack.containers()[service]
    file = f"--volume={container['ResolvConfPath']}:/resolv.conf"
    outside = ("--network=none", "--user=0", file, "--entrypoint=sh", container["Image"], "-c")
    before = docker("run", "--rm", *outside, "cat /resolv.conf")
    docker("run", "--rm", *outside, "echo nameserver 192.0.2.1 >/resolv.conf")
    try:
        yield
    finally:
        docker("run", "--rm", f"--env=BEFORE={before}", *outside, 'echo "$BEFORE" >/resolv.conf')


@contextmanager
def without_alias(stack: Stack) -> Iterator[str]:
    """Take the alias away, and yield the version that had it, which gets it back."""
    version = stack.alias()
    url = f"{stack.mlflow_url}/api/2.0/mlflow/registered-models/alias"
    assert requests.delete(url, json=ALIAS, timeout=10).ok
    try:
        yield version
    finally:
        stack.set_alias(version)


@contextmanager
def setting(stack: Stack, **settings: str) -> Iterator[None]:
    """Write settings into .env; afterwards those of before. Nothing is started."""
    before = dict(stack.settings)
    stack.write_env(**settings)
    try:
        yield
    finally:
        stack.settings = before
        stack.write_env()
