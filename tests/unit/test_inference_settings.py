"""The inference service's settings: defaults, and what is said of a value that cannot be used."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from contract.settings import told
from inference import __main__ as program
from inference.errors import SettingsError
from inference.server import Gunicorn
from inference.settings import OWN_NAMES, Settings
from inference.trust import Trust, Trusted

TEXTS = (
    "MLFLOW_TRACKING_URI",
    "MODEL_NAME",
    "MODEL_ALIAS",
    "MODEL_TRUST",
    "MODEL_CACHE_DIR",
    "VERIFYING_KEY_FILE",
    "ALLOW_SCHEMA_CHANGE",
    "INFERENCE_HOST",
    "PREDICTION_LOG_DIR",
)
URLS = ("INFERENCE_PUBLIC_URL", "MLFLOW_PUBLIC_URL")
NUMBERS = {
    "INFERENCE_LISTEN_PORT": "a whole number from 1 to 65535",
    "INFERENCE_WORKERS": "a whole number from 1 to 64",
    "INFERENCE_CONNECTIONS": "a whole number from 1 to 100000",
    "INFERENCE_QUEUE_SECONDS": "a number from 0.01 to 60",
    "INFERENCE_BODY_SECONDS": "a number from 1 to 3600",
    "INFERENCE_LOG_RATE": "a number from 0 to 100000",
    "INFERENCE_MAX_BODY_MB": "a whole number from 1 to 1024",
    "MODEL_POLL_SECONDS": "a number from 0.1 to 3600",
    "PREDICTION_LOG": "a number from 0 to 1",
    "PREDICTION_LOG_SPOOL_MB": "a whole number from 32 to 1048576",
}


def test_nothing_has_to_be_set() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.tracking_uri == "sqlite:///embedded/mlflow.db"
    assert (settings.model_name, settings.model_alias) == ("iris_logistic_regression", "Production")
    assert (settings.host, settings.port) == ("127.0.0.1", 1235)
    assert settings.poll_seconds == 1
    assert settings.max_body_bytes == 16 * 1024 * 1024
    assert settings.mlflow_public_url is None
    assert settings.trusted == Trusted(Trust.SIGNED)
    assert settings.allow_schema_change is False


EVERY_VARIABLE = {
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "MODEL_NAME": "flowers",
    "MODEL_ALIAS": "Staging",
    "MODEL_POLL_SECONDS": "0.5",
    "MODEL_CACHE_DIR": "/cache",
    "MODEL_TRUST": "skops",
    "MODEL_TRUSTED_TYPES": "my.Type, another.Type,",
    "VERIFYING_KEY_FILE": "/run/secrets/key.pub",
    "ALLOW_SCHEMA_CHANGE": "true",
    "INFERENCE_HOST": "0.0.0.0",  # noqa: S104 - what the image listens on
    "INFERENCE_LISTEN_PORT": "8080",
    "INFERENCE_WORKERS": "3",
    "INFERENCE_CONNECTIONS": "50",
    "INFERENCE_QUEUE_SECONDS": "0.25",
    "INFERENCE_BODY_SECONDS": "5",
    "INFERENCE_LOG_RATE": "0",
    "INFERENCE_ALLOWED_HOSTS": "Predictions.example, [::2],",
    "INFERENCE_CORS_ORIGINS": "https://App.example, http://localhost:3000",
    "API_KEYS_FILE": "/run/secrets/api-keys",
    "INFERENCE_MAX_BODY_MB": "1",
    "INFERENCE_PUBLIC_URL": "http://models.example:80/",
    "MLFLOW_PUBLIC_URL": "http://models.example:5000/",
    "PREDICTION_LOG": "0.5",
    "PREDICTION_LOG_OMIT": "age, name,",
    "PREDICTION_LOG_DIR": "/spool",
    "PREDICTION_LOG_SPOOL_MB": "64",
}


def test_every_variable_is_taken() -> None:
    settings = Settings.from_env(EVERY_VARIABLE)
    assert settings == Settings(
        tracking_uri="http://mlflow:5000",
        model_name="flowers",
        model_alias="Staging",
        poll_seconds=0.5,
        cache_dir=Path("/cache"),
        trust=Trust.SKOPS,
        trusted_types=frozenset({"my.Type", "another.Type"}),
        verifying_key=Path("/run/secrets/key.pub"),
        allow_schema_change=True,
        host="0.0.0.0",  # noqa: S104
        port=8080,
        workers=3,
        connections=50,
        queue_seconds=0.25,
        body_seconds=5,
        log_rate=0,
        allowed_hosts=OWN_NAMES | {"predictions.example", "[::2]", "models.example"},
        cors_origins=frozenset({"https://app.example", "http://localhost:3000"}),
        api_keys_file=Path("/run/secrets/api-keys"),
        max_body_bytes=1024 * 1024,
        public_url="http://models.example",  # whose port it is anyway
        mlflow_public_url="http://models.example:5000",
        prediction_log=0.5,
        prediction_log_omit=frozenset({"age", "name"}),
        prediction_log_dir=Path("/spool"),
        prediction_log_spool_bytes=64 * 1024 * 1024,
    )
    assert settings.trusted == Trusted(Trust.SKOPS, frozenset({"my.Type", "another.Type"}))


def test_another_process_takes_the_settings_over_as_they_were_read() -> None:
    for settings in (Settings(), replace(Settings.from_env(EVERY_VARIABLE), run_dir=Path("/run/inference"))):
        assert Settings.taken_over(settings.handed_on()) == settings


def test_the_processes_of_one_start_talk_in_the_folder_that_they_share() -> None:
    assert Settings(run_dir=Path("/run/inference")).channel == Path("/run/inference/poller.sock")


def test_gunicorn_runs_as_the_settings_say_and_not_as_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inference.server", "3"])
    for name in ("INFERENCE_LISTEN_PORT", "PORT", "INFERENCE_WORKERS", "WEB_CONCURRENCY"):
        monkeypatch.setenv(name, "7")
    told = Gunicorn(Settings(host="127.0.0.2", port=8080, workers=3, connections=50)).cfg
    assert told.address == [("127.0.0.2", 8080)]
    assert (told.workers, told.worker_connections) == (3, 50)


def test_an_address_of_ipv6_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inference.server", "3"])
    assert Gunicorn(Settings(host="::1", port=8080)).cfg.address == [("::1", 8080)]


def test_who_debugs_a_worker_can_lift_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inference.server", "3"])
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--timeout 0")
    assert Gunicorn(Settings()).cfg.timeout == 0


def test_the_public_url_follows_the_port() -> None:
    assert Settings.from_env({"INFERENCE_LISTEN_PORT": "8080"}).public_url == "http://localhost:8080"


@pytest.mark.parametrize("value", ["", "  ", ","])
def test_no_types_are_trusted_beside_the_others_where_none_are_named(value: str) -> None:
    assert Settings.from_env({"MODEL_TRUSTED_TYPES": value}).trusted_types == frozenset()


@pytest.mark.parametrize("name", [*TEXTS, *URLS, *NUMBERS])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_named_with_the_way_out(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is empty; leave it out"):
        Settings.from_env({name: value})


@pytest.mark.parametrize(("name", "expected"), NUMBERS.items())
@pytest.mark.parametrize("value", ["many", "-1", "1e9", "nan", "inf", "1,5"])
def test_a_number_out_of_range_is_named_with_what_is_expected(name: str, expected: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({name: value})
    assert str(refused.value) == f"{name} is {value!r}; expected {expected}"


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"INFERENCE_LOG_RATE", "PREDICTION_LOG"}))
def test_none_of_what_there_has_to_be_is_out_of_range(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '0'; expected "):
        Settings.from_env({name: "0"})


@pytest.mark.parametrize("name", [name for name, expected in NUMBERS.items() if "whole" in expected])
def test_half_a_worker_or_port_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="expected a whole number"):
        Settings.from_env({name: "1.5"})


def test_the_service_answers_to_the_address_where_it_listens_but_not_to_that_of_everywhere() -> None:
    for host, name in {"192.0.2.7": "192.0.2.7", "fd00::1": "[fd00::1]", "Models.example": "models.example"}.items():
        assert Settings.from_env({"INFERENCE_HOST": host}).allowed_hosts == OWN_NAMES | {name}
    for host in ("0.0.0.0", "::"):  # noqa: S104
        assert Settings.from_env({"INFERENCE_HOST": host}).allowed_hosts == OWN_NAMES


@pytest.mark.parametrize("value", ["http://models.example", "models.example:80", "*.example", "a b"])
def test_a_host_that_is_no_name_is_named_with_what_is_expected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"INFERENCE_ALLOWED_HOSTS has .*; expected names without scheme and port"):
        Settings.from_env({"INFERENCE_ALLOWED_HOSTS": f"good.example,{value}"})


@pytest.mark.parametrize("value", ["app.example", "https://app.example/", "ftp://a", "https://*.example", "null"])
def test_an_origin_that_is_none_is_named_with_what_is_expected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"INFERENCE_CORS_ORIGINS has .*; expected origins such as https://app"):
        Settings.from_env({"INFERENCE_CORS_ORIGINS": f"https://good.example,{value}"})


def test_an_origin_is_taken_as_browsers_write_it() -> None:
    given = "HTTPS://App.example:443,http://app.example:80,http://app.example:8080,http://[::1]:3000"
    expected = {"https://app.example", "http://app.example", "http://app.example:8080", "http://[::1]:3000"}
    assert Settings.from_env({"INFERENCE_CORS_ORIGINS": given}).cors_origins == expected
    assert Settings.from_env({"INFERENCE_CORS_ORIGINS": "*"}).cors_origins == {"*"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("MODEL_TRUST", "signed, skops, pickle"), ("ALLOW_SCHEMA_CHANGE", "true or false")],
)
@pytest.mark.parametrize("value", ["yes", "SIGNED", "True", "1"])
def test_a_word_that_is_none_of_those_that_there_are_is_named_with_them(name: str, expected: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({name: value})
    assert str(refused.value) == f"{name} is {value!r}; expected {expected}"


def test_the_settings_in_force_are_told_without_a_login_in_a_url_or_a_header() -> None:
    database = "postgresql+psycopg2://ada:secret/secret@postgres:5432/mlflow"
    environ = {"MLFLOW_TRACKING_URI": database, "MODEL_TRUSTED_TYPES": "b.B, a.A"}
    environ["OTEL_EXPORTER_OTLP_HEADERS"] = "x-tenant=7,authorization=Bearer%20secret"
    found = told(Settings.from_env(environ))
    assert found["otlp_headers"] == "x-tenant=…,authorization=…"
    assert found["tracking_uri"] == "postgresql+psycopg2://postgres:5432/mlflow"
    assert found["trusted_types"] == "a.A, b.B"
    assert (found["workers"], found["trust"], found["allow_schema_change"]) == (2, "signed", False)
    assert "mlflow_public_url" not in found
    assert not any("secret" in str(value) for value in found.values())


@pytest.mark.parametrize("login", ["ada:secret", "ada:sec/ret", "ada:sec@ret", "secret"])
def test_a_tracking_server_that_is_named_with_a_login_is_refused_and_the_login_is_not_shown(login: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"MLFLOW_TRACKING_URI": f"https://{login}@mlflow.example:5000"})
    assert "before the @ in 'https://mlflow.example:5000'" in str(refused.value)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in str(refused.value)
    assert not {"ada", "sec", "ret"} & set(re.split(r"\W", str(refused.value)))


def test_a_worker_computes_in_one_thread_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, threads in (({}, "1"), ({"OMP_NUM_THREADS": "4"}, "4")):
        environ: dict[str, str] = dict(given)
        monkeypatch.setattr(os, "environ", environ)
        program._prepare_environment(tmp_path)
        assert environ["OMP_NUM_THREADS"] == threads
        assert (environ["OMP_WAIT_POLICY"], environ["GOMP_SPINCOUNT"]) == ("passive", "0")
        monkeypatch.undo()
