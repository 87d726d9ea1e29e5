"""The way without Docker: the same services on a SQLite file and a local folder, `embedded/`.

python scripts/embedded.py demo       all phases, from the data to predictions; stops what it started
python scripts/embedded.py loop       the production loop: traffic with a drift in it, reports, and a training on what came back
python scripts/embedded.py explore    phase 1
python scripts/embedded.py train      phases 3 and 4; and the trainer's other commands: compare, models, adopt VERSION, review [VERSION],
                                      requirements VERSION, promote VERSION, rollback, history; with the options that they have in the container
python scripts/embedded.py workshop   the companion of the guided tour: which phase you are in, and the next step; --language es
python scripts/embedded.py schedule   train by the clock and on drift, until Ctrl-C (docs/schedule.md)
python scripts/embedded.py cleanup    what nobody needs any more: runs, models and files; --yes removes it
python scripts/embedded.py doctor     what is wrong, or may soon be, and what mends it; changes nothing
python scripts/embedded.py serve      the inference service, until Ctrl-C
python scripts/embedded.py apikey     API keys of that service: add NAME, list, revoke NAME, off
python scripts/embedded.py ui         the MLflow UI, until Ctrl-C
python scripts/embedded.py backup     an encrypted snapshot of `embedded/` in BACKUP_REPOSITORY (./backups), by restic
python scripts/embedded.py restore    the newest of them, or the one that is named, where there is no data yet
"""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from runpy import run_path
from typing import NoReturn
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 120
AUDIT = "embedded/audit.jsonl"
PROXIED = "mlflow-artifacts:/"
# Where MLflow's database has addresses of files.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
# The trainer's commands; it reads their options itself.
TRAINER = (
    *("explore", "train", "compare", "models", "adopt", "review", "requirements", "promote", "rollback", "history"),
    *("workshop", "schedule"),
)


def main(arguments: list[str]) -> int:
    """Run a command, one of the stack's own or the trainer's; return its exit code."""
    own: dict[str, Callable[..., int]] = {"demo": demo, "loop": loop, "serve": serve, "ui": ui, "cleanup": cleanup}
    own |= {"backup": backup, "restore": restore, "apikey": apikey, "doctor": doctor}
    command, *options = arguments or [""]
    takes_none = command in own and command not in ("restore", "cleanup", "apikey", "doctor")
    if command not in (*own, *TRAINER) or (takes_none and options) or (command == "restore" and len(options) > 1):
        print(__doc__, file=sys.stderr)
        return 2
    os.chdir(ROOT)
    if command in ("restore", "doctor"):  # before anything is made in the folder that they look at
        return own[command](*options)
    os.environ.setdefault("MLFLOW_TRACKING_URI", "sqlite:///embedded/mlflow.db")
    os.environ.setdefault("MODEL_CACHE_DIR", "embedded/model-cache")
    os.environ.setdefault("SIGNING_KEY_FILE", "embedded/keys/signing-key.pem")
    os.environ.setdefault("VERIFYING_KEY_FILE", "embedded/keys/signing-key.pub")
    os.environ.setdefault("API_KEYS_FILE", "embedded/keys/api-keys")
    os.environ.setdefault("AUDIT_FILE", AUDIT)
    os.environ.setdefault("INFERENCE_URL", f"http://localhost:{os.environ.get('INFERENCE_LISTEN_PORT', '1235')}")
    os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://localhost:{os.environ.get('MLFLOW_PORT', '5000')}")
    os.environ.setdefault("ALLOW_CODE", "true")  # here are the packages of whoever has logged a model
    os.environ["PYTHONPATH"] = "services"
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    make_keys(Path(os.environ["SIGNING_KEY_FILE"]), Path(os.environ["VERIFYING_KEY_FILE"]))
    if (database := database_file()) and database.exists():
        check_revision(database)
        find_proxied(database, ROOT / "mlartifacts")
    return own[command](*options) if command in own else become("trainer", *arguments)


def become(module: str, *arguments: str) -> NoReturn:
    """Go on as a module of the services, so that Ctrl-C and other signals are its own, and its time to end in order too."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def make_keys(private: Path, public: Path) -> None:
    """Do what the `secrets` job does in the stack: the key that models are signed with, made once."""
    if private.exists() and public.exists():
        return
    sys.path.insert(0, "services")
    from setup.signing_key import key_id_of, new_private_key, public_key_of

    private.parent.mkdir(parents=True, exist_ok=True)
    if not private.exists():
        with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_private_key())
    private.with_suffix(".id").write_text(key_id_of(private.read_text()))
    public.write_text(public_key_of(private.read_text()))


def database_file() -> Path | None:
    """Return the SQLite file that everything is kept in, None where MLFLOW_TRACKING_URI is another kind of registry."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def check_revision(database: Path) -> None:
    """Do what the `migrate` job does in the stack: end where the database is a newer MLflow's, broken, or another program's.

    That it is an older one MLflow says by itself, with the command that mends it.
    """
    migrate = run_path(str(ROOT / "services" / "mlflow" / "migrate.py"))
    try:
        with closing(sqlite3.connect(database)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            noted = connection.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
            found = [row[0] for row in noted]
    except sqlite3.Error as error:
        raise SystemExit(f"{database} cannot be read: {error}") from error
    migrate["revision_in_force"](tables, found, migrate["revisions"](migrate["migrations_of_mlflow"]()))


def find_proxied(database: Path, folder: Path) -> None:
    """Let the registry say in which folder files are that an earlier `ui` took in as an artifact proxy.

    Their address, mlflow-artifacts:/PATH, is of use to a client of a server alone, and all other commands here have none.
    """
    proxied = (f"{PROXIED}[^/]*",)
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in ADDRESSES:  # names of our own, so that a query may be made of them
            there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            count = f"SELECT count(*) FROM {table} WHERE {column} GLOB ?"  # noqa: S608
            if column in there and connection.execute(count, proxied).fetchone()[0]:
                change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} GLOB ?"  # noqa: S608
                connection.execute(change, (f"{folder.as_uri()}/", len(PROXIED) + 1, *proxied))


def trainer(*arguments: str) -> int:
    """Run a command of the trainer's; return its exit code. A Ctrl-C reaches it as well: it is waited for until it has ended."""
    with subprocess.Popen([sys.executable, "-m", "trainer", *arguments]) as process:
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()


def cleanup(*options: str) -> int:
    """Become what the `cleanup` job is in the stack; return 1 where there is nothing to clean up."""
    file = database_file()
    if file is None or not file.exists():
        given = os.environ["MLFLOW_TRACKING_URI"]
        print(f"cleanup: MLFLOW_TRACKING_URI is {given!r}; expected a SQLite file that is there", file=sys.stderr)
        return 1
    os.environ["MLFLOW_BACKEND_STORE_URI"] = os.environ["MLFLOW_TRACKING_URI"]
    become("cleanup", *options)


def serve() -> int:
    """Become the prediction service, beside which what it keeps of predictions is brought into `embedded/predictions`."""
    if os.environ.get("PREDICTION_LOG", "0") != "0":
        subprocess.Popen([sys.executable, "-m", "inference.prediction_log.shipper", "--beside"])
    become("inference")


def apikey(*options: str) -> int:
    """Become the command for API keys."""
    become("inference.api_keys.command", *options)


def backup() -> int:
    """Make a backup of what is in `embedded/`."""
    from embedded_backup import backup

    backup(Path("embedded"), *_backups())
    return 0


def restore(snapshot: str = "latest") -> int:
    """Bring back what was in `embedded/`."""
    sys.path.insert(0, "services")
    from embedded_backup import restore

    os.environ.setdefault("AUDIT_FILE", AUDIT)
    restore(Path("embedded"), *_backups(), snapshot)
    return 0


def doctor(*options: str) -> int:
    """Say what is wrong with `embedded/`; return 1 where anything is."""
    repository, _ = _backups()
    environ = os.environ | {"PYTHONPATH": "services", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "doctor", "embedded", repository, *options], env=environ).returncode


def _backups() -> tuple[str, Path | None]:
    """Return where backups are, and the file with their password, None where none is given."""
    repository, given = os.environ.get("BACKUP_REPOSITORY", "./backups"), os.environ.get("BACKUP_PASSWORD_FILE")
    is_remote = repository.startswith(("s3:", "sftp:"))
    return repository if is_remote else str(Path(repository).resolve()), Path(given) if given else None


def ui() -> int:
    """Run the MLflow UI until it ends; return its exit code."""
    port = int(os.environ.get("MLFLOW_PORT", "5000"))
    if is_taken(port):
        print(f"Port {port} is taken by another program; choose one: MLFLOW_PORT=5001 make ui", file=sys.stderr)
        return 1
    print(f"MLflow UI: http://localhost:{port}  (Ctrl-C ends it)", flush=True)
    options = ["--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"], "--host", HOST, "--port", str(port)]
    options += ["--workers", "1", "--uvicorn-opts", "--no-access-log"]
    if database := database_file():
        # What a notebook logs goes into the folder itself, where the commands without a server find it.
        options += ["--default-artifact-root", (database.parent / "artifacts").as_uri()]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    server = str(ROOT / "services" / "mlflow" / "published.py")
    os.execv(sys.executable, [sys.executable, server, "mlflow", "server", *options])


def demo() -> int:
    """Explore, train, serve and predict; return the first exit code that is not 0."""
    for title, command in (("1. Explore the data", "explore"), ("2. Train, track, register, promote", "train")):
        heading(title)
        if code := trainer(command):
            return code
    heading("3. Serve")
    # Its line for each request would stand between what the example client says.
    with serving([sys.executable, "-m", "inference"], INFERENCE_LOG_RATE="0") as url:
        if url is None:
            return 1
        heading("4. Predict")
        code = subprocess.run([sys.executable, "examples/predict_test.py", url]).returncode
    heading(
        "The service is stopped. To go on: `make serve` for the API, `make ui` for the MLflow UI, `make workshop` for the tour"
    )
    return code


def loop() -> int:
    """Train, serve, live through a week with a drift in it, and train again; return the first exit code that is not 0."""
    from embedded_loop import LoopBroken, loop

    # A model of its own: that of the demo stays as it is. The one that has learnt of the drift may be in Production, of an earlier loop.
    os.environ.setdefault("MODEL_NAME", "iris_in_use")
    heading("1. Train, track, register, promote")
    if code := trainer("train", "--force", "--reason", "the loop begins"):
        return code
    heading("2. Serve, and keep what is asked and answered")
    kept = {"PREDICTION_LOG": "1", "PREDICTION_LOG_SECONDS": "1", "INFERENCE_LOG_RATE": "0"}
    with serving([sys.executable, __file__, "serve"], **kept) as url:
        if url is None:
            return 1
        os.environ["INFERENCE_URL"] = url  # for `challenge status`
        try:
            loop(url, Path(os.environ.get("DATA_DIR", "data")), heading)
        except (LoopBroken, OSError) as error:  # requests' own errors are OSErrors
            print(f"loop: {error}", file=sys.stderr)
            return 1
    heading("The service is stopped. `make ui` shows the reports: experiment `… monitoring`")
    return 0


@contextmanager
def serving(command: list[str], **settings: str) -> Iterator[str | None]:
    """Start the prediction service, give its address, or None where it is not ready in time, and end it."""
    port = free_port(int(os.environ.get("INFERENCE_LISTEN_PORT", "1235")))
    url = f"http://localhost:{port}"
    own = {"INFERENCE_LISTEN_PORT": str(port), "INFERENCE_PUBLIC_URL": url}
    service = subprocess.Popen(command, env=settings | os.environ | own)
    try:
        is_ready = wait_until_ready(service, f"{url}/ready")
        if not is_ready:
            print(f"The service was not ready within {READY_SECONDS} seconds.", file=sys.stderr)
        yield url if is_ready else None
    finally:
        service.terminate()
        service.wait()


def heading(text: str) -> None:
    """Print a line above what belongs together."""
    print(f"\n=== {text} ===\n", flush=True)


def wait_until_ready(service: "subprocess.Popen[bytes]", url: str) -> bool:
    """Wait until the service predicts; False where it ended or took too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and service.poll() is None:
        try:
            with urlopen(url, timeout=2):
                return True
        except (URLError, OSError):
            time.sleep(0.2)
    return False


def free_port(wanted: int) -> int:
    """Return the wanted port, or another one where it is taken, and say so."""
    if not is_taken(wanted):
        return wanted
    with socket.create_server((HOST, 0)) as probe:
        other: int = probe.getsockname()[1]
    print(f"Port {wanted} is taken by another program, so the demo serves on {other}.", flush=True)
    return other


def is_taken(port: int) -> bool:
    """Tell whether a program listens on a port."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return True
    return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # of the demo, whose service is stopped by then
        sys.exit(130)
