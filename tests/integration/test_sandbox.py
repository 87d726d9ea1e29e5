"""What a stranger's model can do while it is checked: read its own files and compute, and nothing else."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.errors import Refused
from trainer.adoption import sandbox
from trainer.adoption.sandbox import Limits, Unconfined

# What runs in the sandbox. It is written into a folder of its own, which the sandbox lets it read.
TRIES = """
import ctypes, fcntl, json, os, resource, socket, struct, subprocess, sys, threading, time
from pathlib import Path

def attempts(folder):
    told = json.loads((folder / "told.json").read_text())
    found = {
        "environment": sorted(os.environ),
        "open files": [number for number in range(3, 64) if is_open(number)],
    }
    def attempt(name, do):
        try:
            do()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__ if error.errno in (1, 13) else f"{error}"
    def with_socket(family, address):
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.connect(address)
    attempt("read its own file", lambda: (folder / "told.json").read_text())
    attempt("read the key", lambda: Path(told["key"]).read_bytes())
    attempt("read data", lambda: list(Path(told["data"]).iterdir()))
    attempt("read the key in a thread", lambda: in_a_thread(lambda: Path(told["key"]).read_bytes()))
    attempt("read the users", lambda: Path("/etc/passwd").read_text())
    attempt("list the root", lambda: os.listdir("/"))
    attempt("read what the parent was started with", lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
    attempt("read the parent's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb"))
    attempt("write into its folder", lambda: (folder / "new").write_text("x"))
    attempt("change its file", lambda: (folder / "told.json").open("r+"))
    attempt("cut its file", lambda: os.truncate(folder / "told.json", 0))
    attempt("write into the temporary folder", lambda: Path("/tmp/of-the-sandbox").write_text("x"))
    attempt("make a link to the key", lambda: os.link(told["key"], folder / "link"))
    attempt("change the key's mode", lambda: os.chmod(told["key"], 0o644))
    attempt("set its times", lambda: os.utime(told["key"]))
    attempt("connect to a port", lambda: with_socket(socket.AF_INET, ("127.0.0.1", told["port"])))
    attempt("connect to a socket's file", lambda: with_socket(socket.AF_UNIX, told["socket"]))
    attempt("make a pair of sockets", socket.socketpair)
    attempt("run a program", lambda: subprocess.run(["/bin/true"], check=True))
    attempt("become a program", lambda: os.execv("/bin/true", ["true"]))
    attempt("fork", os.fork)
    attempt("signal the parent", lambda: os.kill(os.getppid(), 0))
    attempt("signal everybody", lambda: os.kill(-1, 0))
    attempt("signal the parent with a value", lambda: syscall("rt_sigqueueinfo", os.getppid(), 0, bytes(128)))
    attempt("signal a thread of the parent", lambda: syscall("tgkill", 1 << 32 | os.getppid(), os.getppid(), 0))
    attempt("have signals sent to the parent", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()))
    for half in (1, 1 << 31):  # the kernel reads the other half of the register alone
        attempt(f"have signals sent by {half}", lambda: syscall("fcntl", 0, half << 32 | fcntl.F_SETOWN, os.getppid()))
    attempt("have signals sent to a group", lambda: syscall("fcntl", 0, 15, struct.pack("ii", 2, os.getppid())))
    attempt("be sent signals", lambda: fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC))
    attempt("choose the signal", lambda: syscall("fcntl", 0, 10, 9))
    attempt("own what is read", lambda: syscall("ioctl", 0, 0x8901, struct.pack("i", os.getppid())))
    attempt("type into a terminal", lambda: syscall("ioctl", 0, 1 << 32 | 0x5412, b"x"))
    attempt("watch data", lambda: called("inotify_add_watch", 0, told["data"].encode(), 0xFFF))
    attempt("become another process", lambda: called("prctl", 36, 1, 0, 0, 0))
    attempt("raise its limits", lambda: called("setrlimit", resource.RLIMIT_CORE, bytes(16)))
    attempt("limit the parent", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU))
    attempt("start a process by clone", lambda: syscall("clone", 17, 0, 0, 0, 0))
    attempt("be scheduled otherwise", lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)))
    attempt("schedule the parent", lambda: syscall("sched_setattr", os.getppid(), bytes(48), 0))
    attempt("see who shares memory", lambda: called("shmctl", 0, 14, bytes(256)))
    attempt("send a message", lambda: called("msgsnd", 0, bytes(16), 1, 0))
    attempt("remove a queue", lambda: called("mq_unlink", b"/queue"))
    key = told["key"].encode()
    attempt("change a mode anew", lambda: syscall(452, -100, key, 0o600, 0))
    attempt("set an attribute", lambda: syscall(463, -100, key, 0, b"user.x", bytes(16), 16))
    attempt("remove an attribute", lambda: syscall(466, -100, key, 0, b"user.x"))
    attempt("set a file's flags", lambda: syscall(469, -100, key, bytes(24), 24, 0))
    attempt("open a filesystem", lambda: syscall(430, b"tmpfs", 0))
    attempt("configure a filesystem", lambda: syscall(431, 0, 0, 0, 0, 0))
    attempt("mount a filesystem", lambda: syscall(432, 0, 0, 0))
    attempt("open a tree", lambda: syscall(428, -100, b"/", 0))
    attempt("make a call that no kernel has yet", lambda: syscall(1000))
    attempt("compute in a thread", lambda: in_a_thread(lambda: None))
    return found

NUMBERS = {
    "x86_64": {"fcntl": 72, "ioctl": 16, "clone": 56, "tgkill": 234, "rt_sigqueueinfo": 129, "sched_setattr": 314},
    "aarch64": {"fcntl": 25, "ioctl": 29, "clone": 220, "tgkill": 131, "rt_sigqueueinfo": 138, "sched_setattr": 274},
}

def syscall(call, *arguments):
    number = call if isinstance(call, int) else NUMBERS[os.uname().machine][call]
    wide = [one if isinstance(one, bytes) else ctypes.c_uint64(one & 2**64 - 1) for one in arguments]
    called("syscall", ctypes.c_long(number), *wide)

def called(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def in_a_thread(do):
    raised = []
    def run():
        try:
            do()
        except OSError as error:
            raised.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def reads_the_key(folder):
    return Path(json.loads((folder / "told.json").read_text())["key"]).read_text()

def speaks(folder):
    print("not the answer")
    sys.stdout.flush()
    return {"answer": [1, None, "é"]}

def crashes(folder): ctypes.string_at(0)
def aborts(folder): os.abort()
def dies_by_a_signal_without_a_name(folder): os.kill(os.getpid(), 40)
def leaves(folder): os._exit(0)
def fails(folder): raise ValueError("it has no such thing")
def takes_memory(folder): return len(bytearray(2**40))
def takes_processor_time(folder):
    while True: pass
def waits(folder): time.sleep(600)
def tells_much(folder): return "x" * 5000
def writes_much(folder):
    while True: os.write(1, b"x" * 1024)
def tells_no_json(folder): return {"answer": float("nan")}
def refuses(folder):
    from contract.errors import Refused
    raise Refused("it is no model " + chr(27) + "[2J")
def refuses_for_memory(folder):
    from contract.errors import Refused
    try:
        bytearray(2**40)
    except MemoryError as error:
        raise Refused("it does not predict") from error
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "tries.py").write_text(TRIES)
    return folder


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "data").mkdir()
    (folder / "signing-key.pem").write_text("PRIVATE")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, secrets: Path) -> Iterator[Path]:
    """The folder of a version, which tells the code in the sandbox what to try."""
    folder = tmp_path_factory.mktemp("model")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(secrets / "socket"))
        unix.listen()
        told = {
            "key": str(secrets / "signing-key.pem"),
            "data": str(secrets / "data"),
            "port": listener.getsockname()[1],
            "socket": str(secrets / "socket"),
        }
        (folder / "told.json").write_text(json.dumps(told))
        yield folder


@pytest.fixture(scope="module")
def run(code: Path, model: Path, secrets: Path) -> Callable[..., Any]:
    """Return a function that runs one of the tries in a sandbox; it is left out where the system has none."""
    hidden = [secrets / "signing-key.pem", secrets / "data"]

    def run(name: Any, **options: Any) -> Any:
        return sandbox.run(f"tries:{name}", model, hidden=hidden, code=code, **options)

    try:
        run("speaks")
    except Unconfined as error:
        if os.environ.get("REQUIRE_STACK") == "1" or sys.platform == "linux":
            raise
        pytest.skip(f"this system has no sandbox: {error}")
    return run


@pytest.fixture(scope="module")
def attempts(run: Callable[..., Any]) -> dict[str, list[int] | list[str] | str]:
    return run("attempts")


@pytest.mark.parametrize("attempt", ["read its own file", "compute in a thread"])
def test_a_model_may(attempts: dict[str, list[int] | list[str] | str], attempt: str) -> None:
    assert attempts[attempt] == "done"


@pytest.mark.parametrize(
    "attempt",
    [
        "read the key",
        "read the key in a thread",
        "read data",
        "read the users",
        "list the root",
        "read what the parent was started with",
        "read the parent's memory",
        "write into its folder",
        "change its file",
        "cut its file",
        "write into the temporary folder",
        "make a link to the key",
        "change the key's mode",
        "set its times",
        "connect to a port",
        "connect to a socket's file",
        "make a pair of sockets",
        "run a program",
        "become a program",
        "fork",
        "signal the parent",
        "signal everybody",
        "signal the parent with a value",
        "signal a thread of the parent",
        "have signals sent to the parent",
        "have signals sent by 1",
        f"have signals sent by {1 << 31}",
        "have signals sent to a group",
        "be sent signals",
        "choose the signal",
        "own what is read",
        "type into a terminal",
        "watch data",
        "become another process",
        "raise its limits",
        "limit the parent",
        "start a process by clone",
        "be scheduled otherwise",
        "schedule the parent",
        "see who shares memory",
        "send a message",
        "remove a queue",
        "change a mode anew",
        "set an attribute",
        "remove an attribute",
        "set a file's flags",
        "open a filesystem",
        "configure a filesystem",
        "mount a filesystem",
        "open a tree",
        "make a call that no kernel has yet",
    ],
)
def test_a_model_may_not(attempts: dict[str, list[int] | list[str] | str], attempt: str) -> None:
    assert attempts[attempt] == "PermissionError"


def test_it_has_nothing_of_the_trainers_environment_and_no_open_file_of_its(
    attempts: dict[str, list[int] | list[str] | str],
) -> None:
    assert set(attempts["environment"]) <= {*sandbox.ENVIRON, "LD_LIBRARY_PATH", "LC_CTYPE"}
    # Its answer's, and that of the rules that hold it.
    assert len(attempts["open files"]) <= 2


def test_what_it_answers_is_a_value_and_what_it_prints_is_not(run: Callable[..., Any]) -> None:
    assert run("speaks") == {"answer": [1, None, "é"]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crashes", r"the check ended with signal 11 \(SIGSEGV\)"),
        ("aborts", r"the check ended with signal 6 \(SIGABRT\)"),
        ("dies_by_a_signal_without_a_name", r"the check ended with signal 40 \("),
        ("leaves", "the check ended with exit code 0: it said nothing"),
        ("fails", "the check ended with exit code 1: ValueError: it has no such thing"),
        ("takes_memory", "the check needs more memory than 512 MB"),
        ("takes_processor_time", "the check took more than 1 seconds of processor time"),
        ("waits", "the check took more than 1 seconds"),
        ("tells_much", "the check's answer has more than 1000 bytes"),
        ("writes_much", "the check ended with exit code 120: x{300}…$"),
        ("tells_no_json", "the check ended with exit code 1: ValueError"),
        ("refuses_for_memory", "the check needs more memory than 512 MB"),
        ("refuses", r"it is no model \\x1b\[2J$"),
    ],
)
def test_whatever_ends_it_is_a_reason_to_refuse(run: Callable[..., Any], name: str, words: str) -> None:
    limits = Limits(memory=512 * 1024**2, cpu_seconds=1, seconds=1 if name == "waits" else 60, output=1000)
    with pytest.raises(Refused, match=words):
        run(name, most=limits)


def test_without_a_sandbox_a_model_reads_what_the_trainer_can_read(run: Callable[..., Any]) -> None:
    with pytest.raises(Refused, match="PermissionError"):
        run("reads_the_key")
    assert run("reads_the_key", confined=False) == "PRIVATE"


def test_where_the_key_would_be_open_to_it_nothing_is_run(code: Path, model: Path, run: Callable[..., Any]) -> None:
    with pytest.raises(Unconfined, match=r"tries\.py can be read there"):
        sandbox.run("tries:speaks", model, hidden=[code / "tries.py"], code=code)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"kind": "other"}', b"[" * 100_000, b'{"kind": ["made"]}']
)
def test_an_answer_that_is_none_is_a_reason_to_refuse(content: bytes) -> None:
    with pytest.raises(Refused, match="answer"):
        sandbox._told(content)


def test_an_answer_that_is_nested_deep_is_a_reason_to_refuse() -> None:
    with pytest.raises(Refused, match="nested deeper than 50 levels"):
        sandbox._told(b'{"kind": "made", "value": ' + b"[" * 51 + b"]" * 51 + b"}")
    assert sandbox._told(b'{"kind": "made", "value": ' + b'[{"a":' * 10 + b"1" + b"}]" * 10 + b"}")
