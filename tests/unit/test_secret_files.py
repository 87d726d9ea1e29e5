"""The secrets job on folders in the place of the volumes; who owns a file is written down instead of carried out."""

import shutil
import stat
from configparser import ConfigParser
from pathlib import Path

import pytest
from setup import secret_files
from setup.errors import SetupError

CONSUMERS = {
    "postgres/superuser-password": 999,
    "database/superuser-password": 10005,
    "mlflow/backend-store-uri": 10002,
    "database/backend-store-uri": 10005,
    "inference/signing-key.pub": 10004,
    "mlflow/database-password": 10002,
    "mlflow/pgpass": 10002,
    "mlflow/s3-secret-key": 10002,
    "mlflow/aws-credentials": 10002,
    "database/mlflow-password": 10005,
    "minio/root-password": 10001,
    "bucket/root-password": 10005,
    "bucket/mlflow-secret-key": 10005,
    "backup/repository-password": 0,
}
# The trainer runs as whoever owns data/ on the host, so it is a group that lets it read its files.
OF_THE_TRAINER = {"trainer/signing-key.pem", "trainer/signing-key.id"}
PAIRS = {
    "postgres/superuser-password": "database/superuser-password",
    "mlflow/database-password": "database/mlflow-password",
    "minio/root-password": "bucket/root-password",
    "mlflow/s3-secret-key": "bucket/mlflow-secret-key",
}


VOLUMES = ("postgres", "database", "minio", "bucket", "mlflow", "trainer", "inference", "backup", "audit", "audit-pipe")


class Volumes:
    """The volumes as folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owners: dict[str, tuple[int, int]] = {}

    def chown(self, path: Path, user: int, group: int) -> None:
        self.owners[str(Path(path).relative_to(self.folder))] = user, group

    def run(self) -> list[str]:
        return list(secret_files.run({}))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in self.folder.rglob("*")
            if path.is_file() and path.parent.name not in ("audit", "audit-pipe")
        }

    def clear(self, name: str) -> None:
        shutil.rmtree(self.folder / name)
        (self.folder / name).mkdir()


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volumes:
    for name in (*VOLUMES, "postgres-data", "postgres-socket"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    (tmp_path / "given").mkdir()
    volumes = Volumes(tmp_path / "volumes")
    monkeypatch.setattr(secret_files, "VOLUMES", volumes.folder)
    monkeypatch.setattr(secret_files, "GIVEN", tmp_path / "given")
    monkeypatch.setattr("os.chown", volumes.chown)
    return volumes


def assert_consistent(files: dict[str, str]) -> None:
    assert set(files) == set(CONSUMERS) | OF_THE_TRAINER
    for one, other in PAIRS.items():
        assert files[one] == files[other]
    assert files["mlflow/pgpass"] == f"*:*:*:*:{files['mlflow/database-password']}\n"
    assert files["mlflow/aws-credentials"].splitlines() == [
        "[default]",
        "aws_access_key_id = mlflow",
        f"aws_secret_access_key = {files['mlflow/s3-secret-key']}",
    ]


def test_the_first_run_makes_every_secret_for_each_of_its_consumers(volumes: Volumes) -> None:
    said = volumes.run()
    assert_consistent(volumes.files())
    assert len(said) == 6
    assert all(" made, written to " in line for line in said)


def test_secrets_are_long_random_and_all_different(volumes: Volumes, tmp_path: Path) -> None:
    volumes.run()
    first = volumes.files()
    values = {first[file] for file in PAIRS}
    assert len(values) == 4
    assert all(len(value) >= 32 for value in values)
    for name in VOLUMES:
        volumes.clear(name)
    volumes.run()
    assert not values & set(volumes.files().values())


def test_what_is_said_contains_no_secret(volumes: Volumes) -> None:
    said = " ".join(volumes.run())
    assert not any(value.strip() in said for value in volumes.files().values())


def test_each_file_may_be_read_by_its_consumer_only(volumes: Volumes) -> None:
    volumes.run()
    for file, owner in CONSUMERS.items():
        path = volumes.folder / file
        assert path.stat().st_mode & 0o777 == 0o400
        assert volumes.owners[str(path.with_name(f".{path.name}.draft").relative_to(volumes.folder))] == (owner, owner)


def test_the_trainers_key_may_be_read_by_its_group_only(volumes: Volumes) -> None:
    volumes.run()
    for file in OF_THE_TRAINER:
        path = volumes.folder / file
        assert path.stat().st_mode & 0o777 == 0o440
        assert volumes.owners[str(path.with_name(f".{path.name}.draft").relative_to(volumes.folder))] == (0, 10003)


def test_a_file_that_others_may_read_is_its_consumers_again(volumes: Volumes) -> None:
    volumes.run()
    path, before = volumes.folder / "mlflow" / "pgpass", volumes.files()
    path.chmod(0o644)
    volumes.owners.clear()
    volumes.run()
    assert path.stat().st_mode & 0o777 == 0o400
    assert volumes.files() == before
    assert volumes.owners["minio/root-password"] == (10001, 10001)  # whosever it has become meanwhile


def test_each_volume_belongs_to_its_consumer(volumes: Volumes) -> None:
    volumes.run()
    assert {name: user for name, (user, _) in volumes.owners.items() if "/" not in name} == {
        "postgres": 999,
        "postgres-data": 999,
        "postgres-socket": 999,
        "minio": 10001,
        "mlflow": 10002,
        "trainer": 0,
        "inference": 10004,
        "backup": 0,
        "audit": 10010,
        "audit-pipe": 0,
        "database": 10005,
        "bucket": 10005,
    }


def test_the_audit_log_is_its_keepers_alone_and_all_that_have_the_pipe_may_write_into_it(volumes: Volumes) -> None:
    volumes.run()
    log, pipe = volumes.folder / "audit" / "audit.jsonl", volumes.folder / "audit-pipe" / "lines"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.stat().st_mode & 0o777 for path in (log, pipe)] == [0o600, 0o622]
    assert [volumes.owners[name] for name in ("audit/audit.jsonl", "audit-pipe/.draft")] == [(10010, 10010)] * 2
    log.write_text("a line\n")
    found = pipe.stat().st_ino
    volumes.run()
    assert (log.read_text(), pipe.stat().st_ino) == ("a line\n", found)


def test_a_second_run_changes_nothing(volumes: Volumes) -> None:
    volumes.run()
    before = {path: (path.read_text(), path.stat().st_mtime_ns) for path in volumes.folder.rglob("*") if path.is_file()}
    assert volumes.run() == ["all there"]
    assert before == {
        path: (path.read_text(), path.stat().st_mtime_ns) for path in volumes.folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("deleted", ["postgres", "mlflow", "database", "minio", "bucket"])
def test_a_deleted_volume_is_filled_again_from_the_other_copies(volumes: Volumes, deleted: str) -> None:
    volumes.run()
    before = volumes.files()
    volumes.clear(deleted)
    said = volumes.run()
    assert volumes.files() == before
    assert all(" kept, written to " in line and deleted in line for line in said)


def test_a_lost_signing_key_is_made_anew_with_its_public_half_and_nothing_else(volumes: Volumes) -> None:
    volumes.run()
    before = volumes.files()
    volumes.clear("trainer")
    (said,) = volumes.run()
    after = volumes.files()
    assert "SIGNING_KEY made" in said
    changed = {file for file in after if after[file] != before[file]}
    assert changed == OF_THE_TRAINER | {"inference/signing-key.pub"}


def test_a_signing_key_that_outlived_all_else_is_not_kept(volumes: Volumes) -> None:
    volumes.run()
    before = volumes.files()
    for name in set(VOLUMES) - {"trainer"}:
        volumes.clear(name)
    volumes.run()
    after = volumes.files()
    assert not {file for file in before if before[file] == after[file]} - {
        "mlflow/backend-store-uri",
        "database/backend-store-uri",
    }


def test_a_signing_key_is_kept_where_the_database_is(volumes: Volumes) -> None:
    volumes.run()
    before = volumes.files()
    (volumes.folder / "postgres-data" / "PG_VERSION").write_text("17")
    for name in set(VOLUMES) - {"trainer"}:
        volumes.clear(name)
    volumes.run()
    assert volumes.files()["trainer/signing-key.pem"] == before["trainer/signing-key.pem"]


def test_a_secret_given_as_a_file_takes_the_place_of_the_one_in_force(volumes: Volumes, tmp_path: Path) -> None:
    volumes.run()
    (tmp_path / "given" / "MINIO_ROOT_PASSWORD").write_text("of my own\n")
    (said,) = volumes.run()
    assert "MINIO_ROOT_PASSWORD taken from MINIO_ROOT_PASSWORD_FILE" in said
    assert volumes.files()["minio/root-password"] == volumes.files()["bucket/root-password"] == "of my own"
    assert volumes.run() == ["all there"]


def test_the_address_of_an_external_postgres_names_the_driver_that_the_images_have(
    volumes: Volumes, tmp_path: Path
) -> None:
    (tmp_path / "given" / "BACKEND_STORE_URI").write_text("postgres://me:pw@db.test/factory\n")
    volumes.run()
    assert volumes.files()["mlflow/backend-store-uri"] == "postgresql+psycopg2://me:pw@db.test/factory"
    assert volumes.files()["database/backend-store-uri"] == "postgresql+psycopg2://me:pw@db.test/factory"


def test_the_credentials_of_an_external_store_come_and_go_with_their_file(volumes: Volumes, tmp_path: Path) -> None:
    own = volumes.run() and volumes.files()
    given = tmp_path / "given" / "S3_CREDENTIALS"
    given.write_text("[default]\naws_access_key_id = x\n")
    volumes.run()
    assert (
        volumes.files()["mlflow/aws-credentials"]
        == volumes.files()["bucket/aws-credentials"]
        == given.read_text().strip()
    )
    given.unlink()
    volumes.run()
    assert volumes.files() == own


def test_the_trainers_api_key_comes_and_goes_with_its_file(volumes: Volumes, tmp_path: Path) -> None:
    volumes.run()
    own, given = volumes.files(), tmp_path / "given" / "TRAINER_API_KEY"
    given.write_text("a key\n")
    volumes.run()
    assert volumes.files() == {**own, "trainer/api-key": "a key"}
    given.unlink()
    volumes.run()
    assert volumes.files() == own


@pytest.mark.parametrize("setting", ["POSTGRES_PASSWORD", "SIGNING_KEY", "BACKEND_STORE_URI"])
def test_a_secret_given_as_a_value_stops_the_job_before_anything_is_written(volumes: Volumes, setting: str) -> None:
    with pytest.raises(SetupError, match=f"{setting}_FILE=./secrets/{setting.lower()}"):
        list(secret_files.run({setting: "set"}))
    assert volumes.files() == {}


@pytest.mark.parametrize("file", [*PAIRS, *PAIRS.values(), "mlflow/pgpass", "mlflow/aws-credentials"])
def test_a_single_file_that_is_deleted_or_empty_is_restored(volumes: Volumes, file: str) -> None:
    volumes.run()
    before = volumes.files()
    (volumes.folder / file).unlink()
    volumes.run()
    assert volumes.files() == before
    (volumes.folder / file).unlink()
    (volumes.folder / file).touch()
    volumes.run()
    assert volumes.files() == before


def test_a_draft_that_a_killed_run_left_behind_is_no_obstacle(volumes: Volumes) -> None:
    (volumes.folder / "minio" / ".root-password.draft").write_text("half a sec")
    volumes.run()
    assert_consistent(volumes.files())
    assert volumes.files()["minio/root-password"] != "half a sec"


# --- with compose.login.yaml ----------------------------------------------------------------------------------------

ACCOUNTS = ("admin", "trainer", "inference", "monitor", "healthcheck")


@pytest.fixture
def with_login(volumes: Volumes) -> Volumes:
    for name in ("trainer-login", "inference-login"):
        (volumes.folder / name).mkdir()
    return volumes


def run_with_login() -> list[str]:
    return list(secret_files.run({"LOGIN": "on"}))


def test_with_a_login_each_account_has_a_password_and_services_get_theirs_where_mlflow_looks_for_it(
    with_login: Volumes,
) -> None:
    assert len(run_with_login()) == 12
    files = with_login.files()
    passwords = [files[f"mlflow/{name}-password"] for name in ACCOUNTS] + [files["mlflow/flask-secret-key"]]
    assert len(set(passwords)) == 6
    assert all(len(password) >= 32 for password in passwords)
    for name, owner in (("trainer", (0, 10003)), ("inference", (10004, 10004))):
        assert files[f"{name}-login/credentials"].splitlines() == [
            "[mlflow]",
            f"mlflow_tracking_username = {name}",
            f"mlflow_tracking_password = {files[f'mlflow/{name}-password']}",
        ]
        assert with_login.owners[f"{name}-login"] == with_login.owners[f"{name}-login/.credentials.draft"] == owner
    assert run_with_login() == ["all there"]


def test_without_a_login_nothing_of_it_is_made_and_with_one_the_rest_stays(with_login: Volumes) -> None:
    with_login.run()
    before = with_login.files()
    assert set(before) == set(CONSUMERS) | OF_THE_TRAINER
    run_with_login()
    assert before.items() <= with_login.files().items()


def test_the_accounts_are_in_a_database_beside_mlflows_whose_address_has_no_password_of_ours(
    with_login: Volumes, tmp_path: Path
) -> None:
    def database() -> str:
        parser = ConfigParser()
        parser.read_string(with_login.files()["mlflow/login.ini"])
        return parser["mlflow"]["database_uri"]

    run_with_login()
    assert database() == "postgresql+psycopg2://mlflow@postgres:5432/mlflow_auth"
    (tmp_path / "given" / "BACKEND_STORE_URI").write_text("postgres://me:p%40w@db.test/factory?sslmode=require\n")
    run_with_login()
    assert database() == "postgresql+psycopg2://me:p%40w@db.test/factory_auth?sslmode=require"


def test_a_password_of_admin_is_given_as_a_file_and_never_as_a_value(with_login: Volumes, tmp_path: Path) -> None:
    (tmp_path / "given" / "MLFLOW_ADMIN_PASSWORD").write_text("of my own choice\n")
    run_with_login()
    assert with_login.files()["mlflow/admin-password"] == "of my own choice"
    with pytest.raises(SetupError, match=r"MLFLOW_ADMIN_PASSWORD_FILE=./secrets/mlflow_admin_password"):
        list(secret_files.run({"LOGIN": "on", "MLFLOW_ADMIN_PASSWORD": "set"}))


# --- with compose.sso.yaml ------------------------------------------------------------------------------------------

SIGN_ON = {
    "LOGIN": "on",
    "SSO": "on",
    "OIDC_ISSUER": "https://id.test",
    "OIDC_CLIENT_ID": "mlflow",
    "OIDC_EMAIL_DOMAINS": "*",
}


@pytest.fixture
def with_sign_on(with_login: Volumes, tmp_path: Path) -> Volumes:
    (with_login.folder / "sso").mkdir()
    (tmp_path / "given" / "OIDC_CLIENT_SECRET").write_text("the provider's\n")
    return with_login


def test_mlflow_and_its_proxy_share_a_secret_that_nobody_else_reads(with_sign_on: Volumes) -> None:
    said = list(secret_files.run(SIGN_ON))
    assert "SIGN_ON_SECRET made, written to mlflow/sign-on-secret, sso/mlflow-secret" in said
    files = with_sign_on.files()
    assert files["mlflow/sign-on-secret"] == files["sso/mlflow-secret"]
    assert files["sso/client-secret"] == "the provider's"
    assert len({files["sso/mlflow-secret"], files["sso/cookie-secret"], files["mlflow/admin-password"]}) == 3
    assert len(files["sso/cookie-secret"]) == 43  # 32 bytes, by which oauth2-proxy knows what it is
    for name in ("mlflow-secret", "cookie-secret", "client-secret", "sessions.cfg", "provider.json"):
        assert (with_sign_on.folder / "sso" / name).stat().st_mode & 0o777 == 0o400
        assert with_sign_on.owners[f"sso/.{name}.draft"] == (10011, 10011)
    assert list(secret_files.run(SIGN_ON)) == ["all there"]


def test_a_setting_that_cannot_be_used_stops_the_job_before_anything_is_written(with_sign_on: Volumes) -> None:
    with pytest.raises(SetupError, match="OIDC_ISSUER is ''"):
        list(secret_files.run(SIGN_ON | {"OIDC_ISSUER": ""}))
    with pytest.raises(SetupError, match=r"OIDC_CLIENT_SECRET_FILE=./secrets/oidc_client_secret"):
        list(secret_files.run(SIGN_ON | {"OIDC_CLIENT_SECRET": "set"}))
    assert with_sign_on.files() == {}


def test_with_a_prediction_log_who_writes_and_who_reads_it_have_a_secret_that_the_bucket_job_knows_and_else_nobody_has(
    volumes: Volumes,
) -> None:
    volumes.run()
    users = ("predictions", "monitor")
    assert not any(user in file for file in volumes.files() for user in users)
    for user in users:
        (volumes.folder / user).mkdir()
    said = volumes.run()
    assert [line.partition("/")[0] for line in said] == [
        "PREDICTIONS_S3_SECRET_KEY made, written to predictions",
        "MONITOR_S3_SECRET_KEY made, written to monitor",
    ]
    files = volumes.files()
    assert len({files[f"{user}/s3-secret-key"] for user in (*users, "mlflow")}) == 3
    assert files["monitor/signing-key.pub"] == files["inference/signing-key.pub"]
    for user in users:
        secret = files[f"{user}/s3-secret-key"]
        assert files[f"bucket/{user}-secret-key"] == secret
        assert files[f"{user}/aws-credentials"].splitlines() == [
            "[default]",
            f"aws_access_key_id = {user}",
            f"aws_secret_access_key = {secret}",
        ]
        assert volumes.owners[user] == (10004, 10004)
        volumes.clear(user)
    volumes.run()
    assert volumes.files() == files


def test_with_both_the_monitor_logs_in_by_an_account_of_its_own_and_with_one_of_them_there_is_nothing_to_log_in_with(
    with_login: Volumes,
) -> None:
    run_with_login()
    assert not any("monitor-login" in file for file in with_login.files())
    for name in ("predictions", "monitor", "monitor-login"):
        (with_login.folder / name).mkdir()
    with_login.run()
    assert "monitor-login/credentials" not in with_login.files()
    run_with_login()
    files = with_login.files()
    assert files["monitor-login/credentials"].splitlines() == [
        "[mlflow]",
        "mlflow_tracking_username = monitor",
        f"mlflow_tracking_password = {files['mlflow/monitor-password']}",
    ]
    assert with_login.owners["monitor-login"] == with_login.owners["monitor-login/.credentials.draft"] == (10004, 10004)


def test_with_monitoring_each_of_its_parts_reads_its_own_files_and_the_database_job_the_exporters_password(
    volumes: Volumes, tmp_path: Path
) -> None:
    parts = ("prometheus", "alertmanager", "postgres-exporter", "grafana")
    for part in parts:
        (volumes.folder / part).mkdir()
    (tmp_path / "given" / "ALERT_WEBHOOK_URL").write_text("https://chat.test/secret\n")
    volumes.run()
    files = volumes.files()
    assert files["database/exporter-password"] == files["postgres-exporter/password"]
    assert [name for name, content in files.items() if "chat.test" in content] == ["alertmanager/webhook-url"]
    assert {volumes.owners[part] for part in parts} == {(65534, 65534), (472, 0)}
    with pytest.raises(SetupError, match="ALERT_SMTP_PASSWORD is given as a value"):
        list(secret_files.run({"ALERT_SMTP_PASSWORD": "set"}))
