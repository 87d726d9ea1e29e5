"""The trainer's settings: defaults, and what is said of a value that cannot be used."""

from dataclasses import replace
from pathlib import Path

import pytest
from trainer.errors import SettingsError
from trainer.settings import Settings


def test_nothing_has_to_be_set() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.tracking_uri == "sqlite:///embedded/mlflow.db"
    assert settings.model_name == "iris_logistic_regression"
    assert settings.min_test_accuracy is settings.min_test_r2 is None
    assert settings.data_dir == Path("data")
    assert settings.public_url is None


def test_every_variable_is_taken() -> None:
    environ = {
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MLFLOW_PUBLIC_URL": "http://localhost:5000/",
        "MODEL_NAME": "flowers",
        "MIN_TEST_ACCURACY": "0.5",
        "DATA_DIR": "/data",
        "MODEL_TRUSTED_TYPES": "my.Type, another.Type,",
    }
    assert Settings.from_env(environ) == Settings(
        tracking_uri="http://mlflow:5000",
        public_url="http://localhost:5000",
        model_name="flowers",
        usual_model="flowers",
        min_test_accuracy=0.5,
        data_dir=Path("/data"),
        trusted_types=frozenset({"my.Type", "another.Type"}),
        has_key=False,
    )


def test_versions_are_signed_but_where_one_trains_for_a_server_and_was_given_no_key() -> None:
    server, file = "http://mlflow:5000", "sqlite:///mlflow.db"
    assert Settings.from_env({"MLFLOW_TRACKING_URI": server}).key is None
    assert Settings.from_env({"MLFLOW_TRACKING_URI": server, "SIGNING_KEY_FILE": "a.pem"}).key == Path("a.pem")
    assert Settings.from_env({"MLFLOW_TRACKING_URI": file}).key == Settings().signing_key


@pytest.mark.parametrize("value", ["", " ", ","])
def test_no_more_types_need_be_trusted(value: str) -> None:
    assert Settings.from_env({"MODEL_TRUSTED_TYPES": value}).trusted_types == frozenset()


@pytest.mark.parametrize("value", ["0", "1", " 0.9 "])
def test_the_threshold_may_be_any_fraction(value: str) -> None:
    assert Settings.from_env({"MIN_TEST_ACCURACY": value}).min_test_accuracy == float(value)


@pytest.mark.parametrize("value", ["1.1", "-0.1", "90%", "high", "nan", "inf"])
def test_a_threshold_that_is_no_fraction_is_named_with_what_is_expected(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"MIN_TEST_ACCURACY": value})
    assert str(refused.value) == f"MIN_TEST_ACCURACY is {value!r}; expected a number from 0 to 1"


def test_a_tracking_server_that_is_named_with_a_login_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"^MLFLOW_TRACKING_URI has a name or a password before the @ in 'http://host'"
    ):
        Settings.from_env({"MLFLOW_TRACKING_URI": "http://ada:secret@host"})


@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_URI", "MLFLOW_PUBLIC_URL", "MODEL_NAME", "MIN_TEST_ACCURACY", "DATA_DIR"]
)
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_named_with_the_default_to_leave_it_to(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is empty; leave it out to use '"):
        Settings.from_env({name: value})


@pytest.mark.parametrize(
    ("usual", "meant", "option"),
    [
        ("churn", "churn", ""),
        ("churn", "iris_logistic_regression", " --model-name iris_logistic_regression"),
        ("iris_logistic_regression", "my model", " --model-name 'my model'"),
    ],
)
def test_a_command_that_is_shown_names_the_model_where_it_is_not_the_usual_one(
    usual: str, meant: str, option: str
) -> None:
    settings = Settings.from_env({"MODEL_NAME": usual})
    assert replace(settings, model_name=meant).model_option == option
