"""Random secrets, written once, each into the volume of every container that needs it.

A secret that somebody gives as a file is taken. One that is there already is kept. One that is left in one volume only
(the others were deleted) is copied from there; one that is left nowhere is generated again, and the jobs that follow put it
into force.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from contract.publishing import addresses, guard

from setup import alerting, edge, sign_on
from setup.errors import SetupError
from setup.signing_key import key_id_of, new_private_key, public_key_of
from setup.stores import (
    MLFLOW_ACCESS_KEY,
    MONITOR_ACCESS_KEY,
    OWN_DATABASE,
    PREDICTIONS_ACCESS_KEY,
    accounts_database,
    has_login,
)

VOLUMES = Path("/volumes")
# Files that the user gives are mounted here under the name of their setting; those not given are empty.
GIVEN = Path("/given")


@dataclass(frozen=True)
class Owner:
    """Who may read a volume's files (compose.yaml, services/*/Dockerfile)."""

    uid: int
    gid: int
    mode: int = 0o400


OWNERS = {
    "postgres": Owner(999, 999),  # `postgres` in the official image
    "postgres-data": Owner(999, 999),
    "postgres-socket": Owner(999, 999),
    "minio": Owner(10001, 10001),
    "mlflow": Owner(10002, 10002),
    # The trainer runs as whoever owns data/ on the host, so it is a group that lets it read its key.
    "trainer": Owner(0, 10003, 0o440),
    "inference": Owner(10004, 10004),
    "database": Owner(10005, 10005),
    "bucket": Owner(10005, 10005),
    "backup": Owner(0, 0),
    # A user that nothing else runs as than who keeps the log; whoever writes says lines into a pipe (services/audit/keeper.py).
    "audit": Owner(10010, 10010),
    "audit-pipe": Owner(0, 0),  # so that its keeper too can only read it
}

# What compose.login.yaml adds: each is a folder in which MLflow's clients look for their login.
OWNERS_WITH_LOGIN = {"trainer-login": OWNERS["trainer"], "inference-login": OWNERS["inference"]}
# Volumes that compose.edge.yaml brings.
OWNERS_OF_EDGE = {"edge": Owner(10009, 10009), "edge-data": Owner(10009, 10009)}
# … and compose.sso.yaml.
OWNERS_OF_SIGN_ON = {"sso": Owner(10011, 10011)}
# … and compose.predictions.yaml.
OWNERS_OF_LOG = dict.fromkeys(("predictions", "monitor", "monitor-login"), OWNERS["inference"])
# … and compose.monitoring.yaml, whose users are those of the official images.
OWNERS_OF_MONITORING = {name: Owner(65534, 65534) for name in ("prometheus", "alertmanager", "postgres-exporter")}
OWNERS_OF_MONITORING["grafana"] = Owner(472, 0)
OWNERS_OF_OVERLAYS = OWNERS_OF_EDGE | OWNERS_OF_SIGN_ON | OWNERS_OF_LOG | OWNERS_OF_MONITORING


@dataclass(frozen=True)
class Secret:
    """A random value and the files, named VOLUME/FILE, that hold it."""

    setting: str
    """NAME of the secret: NAME_FILE in .env gives it as a file"""
    files: tuple[str, ...]
    make: Callable[[], str] = lambda: secrets.token_urlsafe(24)


SECRETS = (
    Secret("POSTGRES_PASSWORD", ("postgres/superuser-password", "database/superuser-password")),
    Secret("MLFLOW_DATABASE_PASSWORD", ("mlflow/database-password", "database/mlflow-password")),
    Secret("MINIO_ROOT_PASSWORD", ("minio/root-password", "bucket/root-password")),
    Secret("MLFLOW_S3_SECRET_KEY", ("mlflow/s3-secret-key", "bucket/mlflow-secret-key")),
    Secret("SIGNING_KEY", ("trainer/signing-key.pem",), new_private_key),
    Secret("BACKUP_PASSWORD", ("backup/repository-password",)),
)
# For the accounts of MLflow's administrator and of the stack itself, and for MLflow's forms.
SECRETS_WITH_LOGIN = (
    Secret("MLFLOW_ADMIN_PASSWORD", ("mlflow/admin-password",)),
    Secret("MLFLOW_TRAINER_PASSWORD", ("mlflow/trainer-password",)),
    Secret("MLFLOW_INFERENCE_PASSWORD", ("mlflow/inference-password",)),
    Secret("MLFLOW_MONITOR_PASSWORD", ("mlflow/monitor-password",)),
    Secret("MLFLOW_HEALTHCHECK_PASSWORD", ("mlflow/healthcheck-password",)),
    Secret("MLFLOW_FLASK_SECRET_KEY", ("mlflow/flask-secret-key",)),
)
# What MLflow knows the proxy of single sign-on by, and what that encrypts its cookies with.
SECRETS_WITH_SIGN_ON = (
    Secret("SIGN_ON_SECRET", ("mlflow/sign-on-secret", "sso/mlflow-secret")),
    Secret("SSO_COOKIE_SECRET", ("sso/cookie-secret",), lambda: secrets.token_urlsafe(32)),
)
# Of the S3 user to whom the prediction log's bucket belongs, and of the one who may read it.
SECRETS_OF_LOG = (
    Secret("PREDICTIONS_S3_SECRET_KEY", ("predictions/s3-secret-key", "bucket/predictions-secret-key")),
    Secret("MONITOR_S3_SECRET_KEY", ("monitor/s3-secret-key", "bucket/monitor-secret-key")),
)
# Of the role in Postgres that sees its figures and no rows, and of Grafana's administrator.
SECRETS_OF_MONITORING = (
    Secret("POSTGRES_EXPORTER_PASSWORD", ("postgres-exporter/password", "database/exporter-password")),
    Secret("GRAFANA_ADMIN_PASSWORD", ("grafana/admin-password",)),
)


def _pgpass(password: str) -> str:
    return f"*:*:*:*:{password}\n"


def _aws_credentials_of(access_key: str) -> Callable[[str], str]:
    def credentials(secret_key: str) -> str:
        return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"

    return credentials


def _login_of(account: str) -> Callable[[str], str]:
    def login(password: str) -> str:
        return f"[mlflow]\nmlflow_tracking_username = {account}\nmlflow_tracking_password = {password}\n"

    return login


# What follows from a secret. The first two are the same values in the formats that libpq (PGPASSFILE) and boto3
# (AWS_SHARED_CREDENTIALS_FILE) read by themselves, so that no password stands in an environment variable or a URL.
DERIVED: dict[str, tuple[str, Callable[[str], str]]] = {
    "mlflow/pgpass": ("mlflow/database-password", _pgpass),
    "mlflow/aws-credentials": ("mlflow/s3-secret-key", _aws_credentials_of(MLFLOW_ACCESS_KEY)),
    "trainer/signing-key.id": ("trainer/signing-key.pem", key_id_of),
    "inference/signing-key.pub": ("trainer/signing-key.pem", public_key_of),
}

DERIVED_WITH_LOGIN: dict[str, tuple[str, Callable[[str], str]]] = {
    "trainer-login/credentials": ("mlflow/trainer-password", _login_of("trainer")),
    "inference-login/credentials": ("mlflow/inference-password", _login_of("inference")),
}

DERIVED_OF_LOG: dict[str, tuple[str, Callable[[str], str]]] = {
    "predictions/aws-credentials": ("predictions/s3-secret-key", _aws_credentials_of(PREDICTIONS_ACCESS_KEY)),
    "monitor/aws-credentials": ("monitor/s3-secret-key", _aws_credentials_of(MONITOR_ACCESS_KEY)),
    "monitor/signing-key.pub": ("trainer/signing-key.pem", public_key_of),
}
DERIVED_OF_LOG_WITH_LOGIN: dict[str, tuple[str, Callable[[str], str]]] = {
    "monitor-login/credentials": ("mlflow/monitor-password", _login_of("monitor")),
}

# How MLflow asks for a login (services/accounts). Each request would cost a slow hash without the cache; with it, a password
# that was changed may count for so many seconds more.
LOGIN = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {database}
admin_username = admin
authorization_function = accounts.authorization:authorize
auth_cache_ttl_seconds = 60
"""


def has_log() -> bool:
    """Tell whether compose.predictions.yaml is among the compose files, which brings the volumes."""
    return (VOLUMES / "predictions").is_dir()


def has_monitoring() -> bool:
    """Tell whether compose.monitoring.yaml is among the compose files, which brings the volumes."""
    return (VOLUMES / "prometheus").is_dir()


def run(environ: Mapping[str, str]) -> Iterator[str]:
    """Write what is missing; yield a line per secret that was made, copied or taken from a file."""
    guard.check(environ, SetupError)
    addresses.check(environ, SetupError)
    _refuse_values(environ)
    login, signs_on = has_login(environ), sign_on.is_on(environ)
    of_overlays = edge.files(environ, _given) if (VOLUMES / "edge").is_dir() else {}
    if has_monitoring():
        of_overlays |= alerting.files(environ, _given)
    of_sign_on = sign_on.files(environ, _given) if signs_on else {}
    for volume, owner in (_owners(login) | OWNERS_OF_OVERLAYS).items():
        if volume not in OWNERS_OF_OVERLAYS or (VOLUMES / volume).is_dir():
            os.chown(VOLUMES / volume, owner.uid, owner.gid)
    _check_signing_key()
    _begin_audit()
    _forget_leftovers()
    wanted = _secrets(login) + (SECRETS_WITH_SIGN_ON if signs_on else ())
    changed = [line for secret in wanted if (line := _complete(secret))]
    if signs_on:
        of_sign_on = sign_on.with_mark(of_sign_on, (VOLUMES / "sso" / "mlflow-secret").read_bytes())
    for file, content in (_contents(login) | of_overlays | of_sign_on).items():
        if content is None:
            (VOLUMES / file).unlink(missing_ok=True)
        else:
            _write_if_other(file, content)
    yield from changed or ["all there"]


def _owners(login: bool) -> dict[str, Owner]:
    return OWNERS | (OWNERS_WITH_LOGIN if login else {})


def _secrets(login: bool) -> tuple[Secret, ...]:
    secrets_of_overlays = (SECRETS_OF_LOG if has_log() else ()) + (SECRETS_OF_MONITORING if has_monitoring() else ())
    return SECRETS + (SECRETS_WITH_LOGIN if login else ()) + secrets_of_overlays


def _refuse_values(environ: Mapping[str, str]) -> None:
    """Stop where .env has a secret itself: compose.yaml passes on that it is set, not what it is."""
    for setting in (
        *(secret.setting for secret in _secrets(login=True)),
        "BACKEND_STORE_URI",
        "OIDC_CLIENT_SECRET",
        "ALERT_SMTP_PASSWORD",
    ):
        if environ.get(setting):
            raise SetupError(
                f"{setting} is given as a value, which `docker inspect` would show to everybody; "
                f"write it into a file and give its path: {setting}_FILE=./secrets/{setting.lower()}"
            )


def _given(setting: str) -> str | None:
    """Return the content of the file given for a setting, None where none is given.

    Docker makes an empty folder of a path that does not exist, and that is told.
    """
    path = GIVEN / setting
    if path.is_dir():
        raise SetupError(f"{setting}_FILE names no file; check its path, which is relative to compose.yaml")
    content = path.read_text().strip("\r\n") if path.exists() else ""
    return content or None


def _forget_leftovers() -> None:
    """Start afresh where all but the trainer's volume is new.

    `docker compose run trainer` leaves a container behind, which holds that volume when `down -v` removes the others.
    """
    others = [file for secret in SECRETS for file in secret.files if not file.startswith("trainer/")]
    if any((VOLUMES / file).exists() for file in (*others, "postgres-data/PG_VERSION")):
        return
    for path in (VOLUMES / "trainer").iterdir():
        path.unlink()


def _check_signing_key() -> None:
    """Refuse a given key that cannot sign, before it takes the place of one that can."""
    given = _given("SIGNING_KEY")
    try:
        if given:
            public_key_of(given)
    except ValueError as error:
        raise SetupError(
            f"SIGNING_KEY_FILE holds no elliptic-curve private key in PEM without a password: {error}"
        ) from error


def _contents(login: bool) -> dict[str, str | None]:
    """Return what each file that follows from secrets has to contain, None where it must not be there."""
    derived = DERIVED | (DERIVED_WITH_LOGIN if login else {}) | (DERIVED_OF_LOG if has_log() else {})
    derived |= DERIVED_OF_LOG_WITH_LOGIN if login and has_log() else {}
    contents: dict[str, str | None] = {
        file: render((VOLUMES / source).read_text()) for file, (source, render) in derived.items()
    }
    # The credentials of an external Postgres or S3 take the place of the stack's own.
    uri, credentials = _given("BACKEND_STORE_URI") or OWN_DATABASE, _given("S3_CREDENTIALS")
    # The driver is named: the images have this one, and what SQLAlchemy takes without a name changes with its version.
    uri = re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", uri)
    contents |= {"mlflow/backend-store-uri": uri, "database/backend-store-uri": uri}
    if login:
        # Its reader takes % for the beginning of a name.
        contents["mlflow/login.ini"] = LOGIN.format(database=accounts_database(uri).replace("%", "%%"))
    contents["bucket/aws-credentials"] = credentials
    # An API key with the scope predict, where the prediction service asks for one (docs/challenger.md).
    contents["trainer/api-key"] = _given("TRAINER_API_KEY")
    if credentials:
        contents["mlflow/aws-credentials"] = credentials
    return contents


def _complete(secret: Secret) -> str | None:
    """Give every file of the secret the same value; say what was done, None where nothing was missing."""
    paths = [VOLUMES / file for file in secret.files]
    present = [path for path in paths if path.is_file() and path.stat().st_size]
    given = _given(secret.setting)
    value = given or (present[0].read_text() if present else secret.make())
    written = [file for file in secret.files if _write_if_other(file, value)]
    if not written:
        return None
    origin = f"taken from {secret.setting}_FILE" if given else "kept" if present else "made"
    return f"{secret.setting} {origin}, written to {', '.join(written)}"


def _write_if_other(file: str, content: str) -> bool:
    """Write a file that only its consumer may read; a reader sees the old content or the new, never half of it."""
    path, owner = VOLUMES / file, (_owners(login=True) | OWNERS_OF_OVERLAYS)[file.split("/")[0]]
    if path.is_file() and path.read_text() == content and S_IMODE(path.stat().st_mode) == owner.mode:
        os.chown(path, owner.uid, owner.gid)  # whosever it has become
        return False
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, owner.mode), "w") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.chown(draft, owner.uid, owner.gid)
    draft.replace(path)
    return True


def _begin_audit() -> None:
    """Make the audit log and the pipe that leads to it, where they are not there yet."""
    log, pipe, owner = VOLUMES / "audit" / "audit.jsonl", VOLUMES / "audit-pipe" / "lines", OWNERS["audit"]
    if not log.exists():
        log.touch(0o600)
        os.chown(log, owner.uid, owner.gid)
    if not pipe.exists():
        draft = pipe.with_name(".draft")
        draft.unlink(missing_ok=True)
        os.mkfifo(draft)
        # Whoever has the pipe in the container may write into it, the trainer's user too, who is the owner of data/.
        draft.chmod(0o622)
        os.chown(draft, owner.uid, owner.gid)
        draft.replace(pipe)
