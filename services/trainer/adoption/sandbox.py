"""A process in which a stranger's model is loaded and asked: it reaches no key, no data, no network, no other process.

Who signs must not run what is to be signed: a model reads files and predicts, and its answers are kept. So a child does
that. Before it touches the model it takes from itself, for good, what the trainer may: files but the packages and the
model's own (Landlock), connections, programs and signals to others (seccomp), and more than so much memory, time and output.
It gives back one JSON value, and where it is let, bytes with it. Whatever ends it otherwise is a reason to refuse.

Landlock holds for a thread and those that it starts, so it comes before the first import that starts threads.
"""

import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from contract import documents, limits
from contract.display import visible
from contract.errors import Refused

from trainer.errors import TrainerError

SERVICES = Path(__file__).resolve().parents[2]
# What Python and the packages read beside their own folders: libraries, and what this machine's processor is.
SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/maps",
)
SYSTEM_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/sys/devices/system/cpu")
# Nothing of the parent's environment; one thread for linear algebra, so that none waits for another. MLflow asks for a home
# when it is imported, and a container's user has none but by this name.
ENVIRON = {
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - nothing is written there, or anywhere
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
# All that the kernel does for the child, of what Python, NumPy, SciPy, pandas and scikit-learn ask it for while they are
# imported and predict. A list of what is refused would have to know each call of each kernel to come.
CALLS = (
    *("read", "readv", "pread64", "preadv", "write", "writev", "lseek", "close", "fadvise64", "poll", "ppoll"),
    *("open", "openat", "dup", "getdents", "getdents64", "getcwd", "readlink", "readlinkat", "select", "pselect6"),
    *("stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2"),
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "brk", "membarrier"),
    *(
        "futex",
        "set_robust_list",
        "rseq",
        "set_tid_address",
        "arch_prctl",
        "sched_yield",
        "sched_getaffinity",
        "getcpu",
    ),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getrusage"),
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrlimit", "uname", "sysinfo"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "getrandom"),
    *("exit", "exit_group"),
)
# As linux/sched.h has them: what clone makes is a thread of this process, in no namespace of its own.
CLONE_THREAD, CLONE_NEW = 0x00010000, 0x7E020000
# Copy, close with a program, and tell how it is open; not who gets a signal when something can be read.
FILE_COMMANDS = (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX of asm-generic/ioctls.h.
DEVICE_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)
# PR_SET_NAME, PR_GET_NAME and PR_SET_VMA of linux/prctl.h: names, for people to read.
PROCESS_COMMANDS = (15, 16, 0x53564D41)
# The kernel reads 32 bits of a number that is an int to it, whatever is in the other half of the register.
INT = 0xFFFFFFFF
# linux/landlock.h: neither signals nor abstract sockets reach beyond this process.
SCOPED_SINCE, SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 6, 1, 2
CREATE_RULESET, RESTRICT_SELF = 444, 446  # the same on every processor
# What the child runs: the path to this package, then what it is to do.
START = "import sys; sys.path.insert(0, sys.argv[1]); from trainer.adoption.sandbox import child; child(sys.argv[2])"


class Unconfined(TrainerError):
    """This system cannot take from a process what the sandbox takes."""


class Ended(Refused):
    """The child gave no answer: it died, took too long or said nothing."""


@dataclass(frozen=True)
class Limits:
    """What the child may use at most."""

    memory: int = 4 * limits.GB
    """bytes of address space"""
    cpu_seconds: int = 300
    seconds: int = 600
    output: int = 16 * limits.MB
    """bytes of its answer"""
    attached: int = 0
    """bytes that may come with it; where there may be some, the function returns a pair of its answer and of them"""
    open_files: int = 256


def run(
    function: str,
    folder: Path,
    *arguments: Any,
    hidden: Sequence[Path] = (),
    confined: bool = True,
    most: Limits = Limits(),
    code: Path = SERVICES,
) -> Any:
    """Return what a function (`module:name`, found in `code`) makes of a folder, called in a child of its own.

    `arguments` are JSON values that the function gets after the folder. With `most.attached` it is a pair: its answer, and
    bytes.

    The function may raise Refused, and so does this; Ended where the child dies, takes too long or says too much.
    `hidden` are paths that the child has to find closed before it begins. Raises Unconfined where the system cannot
    confine it; with `confined` false it has the limits alone.
    """
    job = {"function": function, "folder": str(folder.resolve()), "code": str(code), "confined": confined}
    job |= {"arguments": arguments}
    job |= {"hidden": [str(path.resolve()) for path in hidden], "most": asdict(most)}
    command = [sys.executable, "-I", "-B", "-X", "utf8", "-c", START, str(SERVICES), json.dumps(job)]
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as words:
        code_of_exit = _exit_code(command, answer, words, most)
        answer.seek(0)
        head, _, attached = answer.read(_longest(most)).partition(b"\n")
        if code_of_exit != 0 or not head:
            raise Ended(_how_it_ended(code_of_exit, words, most))
    if len(head) > most.output + limits.KB or len(attached) > most.attached:
        raise Refused("the check gave no answer that can be read")
    return (_told(head), attached) if most.attached else _told(head)


def _longest(most: Limits) -> int:
    return most.output + most.attached + limits.KB


def _exit_code(command: list[str], answer: IO[bytes], words: IO[bytes], most: Limits) -> int:
    process = subprocess.Popen(
        command, env=_environ(), cwd="/", stdin=subprocess.DEVNULL, stdout=answer, stderr=words, start_new_session=True
    )
    try:
        return process.wait(most.seconds)
    except subprocess.TimeoutExpired as error:
        raise Ended(f"the check took more than {most.seconds} seconds") from error
    finally:  # also where the command itself is stopped
        process.kill()
        process.wait()


def _environ() -> dict[str, str]:
    # Some builds of Python find their own libraries by it.
    return ENVIRON | {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def _how_it_ended(code: int, words: IO[bytes], most: Limits) -> str:
    if code == -signal.SIGXCPU:
        return f"the check took more than {most.cpu_seconds} seconds of processor time"
    if code == -signal.SIGKILL:
        return "the check was killed (signal 9), as happens where a container's memory is used up (TRAINER_MEMORY)"
    if code < 0:
        return f"the check ended with signal {-code} ({_name_of(-code)})"
    words.seek(max(0, words.seek(0, os.SEEK_END) - limits.KB))
    last = (words.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    return f"the check ended with exit code {code}: {visible(last, 300)}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # those between the first and the last real-time signal have none
        return signal.strsignal(number) or "without a name"


def _told(content: bytes) -> Any:
    answer = documents.parsed_json(content, "(the check's answer)")
    documents.check_levels(answer, "(the check's answer)")
    kind, value = (answer.get("kind"), answer.get("value")) if isinstance(answer, dict) else (None, None)
    if kind == "refused":
        raise Refused(visible(str(value), 4000))
    if kind == "unconfined":
        raise Unconfined(visible(str(value)))
    if kind != "made":
        raise Refused("the check gave no answer that can be read")
    return value


# --- in the child --------------------------------------------------------------------------------------------------


def child(text: str) -> None:
    """Do the job and write one JSON value to what was stdout; what a model prints goes with the errors."""
    job = json.loads(text)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        answer.write(_answer(job, Limits(**job["most"])))
    gc.freeze()  # or Python would look for garbage among all that is imported


def _answer(job: dict[str, Any], most: Limits) -> bytes:
    """Return the answer as a line of JSON, and what is attached, made whole before any of it is written."""
    try:
        _limit(most)
        if job["confined"]:
            _confine([Path(job["code"]), Path(job["folder"])], [Path(path) for path in job["hidden"]])
        value = _function(job)(Path(job["folder"]), *job["arguments"])
        value, attached = value if most.attached else (value, b"")
        line = _line("made", value)
    except Unconfined as error:
        return _line("unconfined", str(error))
    except (Refused, MemoryError) as error:
        too_much = MemoryError in (type(error), type(error.__cause__))
        return _line(
            "refused", f"the check needs more memory than {most.memory // limits.MB} MB" if too_much else str(error)
        )
    if len(line) > most.output:
        return _line("refused", f"the check's answer has more than {most.output} bytes")
    return line + attached


def _line(kind: str, value: Any) -> bytes:
    return json.dumps({"kind": kind, "value": value}, allow_nan=False).encode() + b"\n"


def nothing(_folder: Path) -> None:
    """Do nothing: what can be asked of a sandbox is whether there is one."""


def _function(job: dict[str, Any]) -> Callable[..., Any]:
    module, _, name = job["function"].partition(":")
    sys.path.insert(0, job["code"])
    gc.disable()  # looking for garbage in modules takes a third of the time
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    return found


def _limit(most: Limits) -> None:
    wanted = {
        resource.RLIMIT_AS: most.memory,
        resource.RLIMIT_CPU: most.cpu_seconds,
        resource.RLIMIT_FSIZE: _longest(most),
        resource.RLIMIT_NOFILE: most.open_files,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in wanted.items():
        with contextlib.suppress(ValueError, OSError):  # a lower one is there already, or macOS knows none
            # A second more for the kernel: at the second limit it kills without saying what for.
            resource.setrlimit(name, (value, value + 1 if name == resource.RLIMIT_CPU else value))
    # Where memory runs out for the whole container, it is this process that has to go.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _confine(readable: list[Path], hidden: list[Path]) -> None:
    """Take all but reading the packages and `readable` from this process, for good; raise Unconfined where that fails."""
    try:
        import landlock
        import pyseccomp

        rules = landlock.Ruleset()
        calls = _call_filter(pyseccomp)
        read = landlock.FSAccess.READ_FILE | landlock.FSAccess.READ_DIR
        for path in {*_packages(), *map(Path, SYSTEM)}:
            _allow(rules, path, read | landlock.FSAccess.EXECUTE)
        for path in (*readable, *map(Path, SYSTEM_DEVICES)):
            _allow(rules, path, read)
        rules.apply()
        _scope()
        calls.load()
    except Exception as error:  # a missing library, an old kernel, another system: whatever it is, it does not hold
        raise Unconfined(f"{type(error).__name__}: {error}") from error
    if still_open := [str(path) for path in hidden if _opens(path)]:
        raise Unconfined(f"{', '.join(still_open)} can be read there, among the packages or the model's files")


def _packages() -> Iterator[Path]:
    yield from map(Path, (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix))
    yield from (Path(path) for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib"))


def _allow(rules: Any, path: Path, access: Any) -> None:
    import landlock

    if not path.exists():
        return
    rules.allow(path, rules=access if path.is_dir() else access & landlock.FSAccess.all_file())


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except PermissionError:
        return False
    except FileNotFoundError:
        return False
    return True


def _scope() -> None:
    """Hold signals and abstract sockets within this process, where the kernel can (Landlock 6, Linux 6.12)."""
    import landlock

    if landlock.landlock_abi_version() < SCOPED_SINCE:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # Files and ports that are handled, none here, and what is scoped.
    attributes = (ctypes.c_uint64 * 3)(0, 0, SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL)
    rules = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    if rules < 0 or libc.syscall(RESTRICT_SELF, rules, 0) < 0:
        raise OSError(ctypes.get_errno(), "Landlock does not scope signals")
    os.close(rules)


def _call_filter(seccomp: Any) -> Any:
    """Return a filter that lets a process compute and read, and start threads but no processes; all else is refused."""
    calls = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))

    def let(name: str, *conditions: Any, action: int = seccomp.ALLOW) -> None:
        # Negative where this processor, or this libseccomp, does not know it.
        if (number := seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)) >= 0:
            calls.add_rule_exactly(action, number, *conditions)

    def is_int(argument: int, value: int) -> Any:
        return seccomp.Arg(argument, seccomp.MASKED_EQ, INT, value)

    for name in CALLS:
        let(name)
    for name, argument, commands in (
        ("fcntl", 1, FILE_COMMANDS),
        ("ioctl", 1, DEVICE_COMMANDS),
        ("prctl", 0, PROCESS_COMMANDS),
        ("kill", 0, (os.getpid(),)),
        ("tgkill", 0, (os.getpid(),)),
    ):
        for command in commands:
            let(name, is_int(argument, command))
    let("clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD | CLONE_NEW, CLONE_THREAD))
    # The flags of clone3 are in memory, where a filter does not look; without it, libc takes clone.
    let("clone3", action=seccomp.ERRNO(errno.ENOSYS))
    let("prlimit64", is_int(0, 0), seccomp.Arg(2, seccomp.EQ, 0))  # its own limits, to read
    return calls
