"""The inference service's settings: defaults, and what is said of a value that cannot be used."""

from pathlib import Path

import pytest
from inference.errors import SettingsError
from inference.settings import Settings

TEXTS = ("MLFLOW_TRACKING_URI", "MODEL_NAME", "MODEL_ALIAS", "MODEL_CACHE_DIR", "INFERENCE_HOST")
URLS = ("INFERENCE_PUBLIC_URL", "MLFLOW_PUBLIC_URL")
NUMBERS = {
    "INFERENCE_LISTEN_PORT": "a whole number from 1 to 65535",
    "INFERENCE_WORKERS": "a whole number from 1 to 64",
    "INFERENCE_THREADS": "a whole number from 1 to 256",
    "INFERENCE_MAX_BODY_MB": "a whole number from 1 to 1024",
    "MODEL_POLL_SECONDS": "a number from 0.1 to 3600",
}


def test_nothing_has_to_be_set():
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.tracking_uri == "sqlite:///embedded/mlflow.db"
    assert (settings.model_name, settings.model_alias) == ("iris_logistic_regression", "Production")
    assert (settings.host, settings.port) == ("127.0.0.1", 1235)
    assert settings.max_body_bytes == 16 * 1024 * 1024
    assert settings.mlflow_public_url is None


def test_every_variable_is_taken():
    environ = {
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MODEL_NAME": "flowers",
        "MODEL_ALIAS": "Staging",
        "MODEL_POLL_SECONDS": "0.5",
        "MODEL_CACHE_DIR": "/cache",
        "INFERENCE_HOST": "0.0.0.0",  # noqa: S104 - what the image listens on
        "INFERENCE_LISTEN_PORT": "8080",
        "INFERENCE_WORKERS": "3",
        "INFERENCE_THREADS": "5",
        "INFERENCE_MAX_BODY_MB": "1",
        "INFERENCE_PUBLIC_URL": "http://models.example:80/",
        "MLFLOW_PUBLIC_URL": "http://models.example:5000/",
        "INFERENCE_RUN_DIR": "/run/inference",
    }
    assert Settings.from_env(environ) == Settings(
        tracking_uri="http://mlflow:5000",
        model_name="flowers",
        model_alias="Staging",
        poll_seconds=0.5,
        cache_dir=Path("/cache"),
        host="0.0.0.0",  # noqa: S104
        port=8080,
        workers=3,
        threads=5,
        max_body_bytes=1024 * 1024,
        public_url="http://models.example:80",
        mlflow_public_url="http://models.example:5000",
        run_dir=Path("/run/inference"),
    )


def test_the_public_url_follows_the_port():
    assert Settings.from_env({"INFERENCE_LISTEN_PORT": "8080"}).public_url == "http://localhost:8080"


@pytest.mark.parametrize("name", [*TEXTS, *URLS, *NUMBERS])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_named_with_the_way_out(name, value):
    with pytest.raises(SettingsError, match=f"^{name} is empty; leave it out"):
        Settings.from_env({name: value})


@pytest.mark.parametrize(("name", "expected"), NUMBERS.items())
@pytest.mark.parametrize("value", ["many", "0", "-1", "1e9", "nan", "1,5"])
def test_a_number_out_of_range_is_named_with_what_is_expected(name, expected, value):
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({name: value})
    assert str(refused.value) == f"{name} is {value!r}; expected {expected}"


@pytest.mark.parametrize("name", [name for name, expected in NUMBERS.items() if "whole" in expected])
def test_half_a_worker_or_port_is_refused(name):
    with pytest.raises(SettingsError, match="expected a whole number"):
        Settings.from_env({name: "1.5"})
