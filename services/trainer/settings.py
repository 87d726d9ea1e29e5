"""The trainer's settings, read from the environment once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """What the trainer can be told; .env.example lists the same variables with the reasons."""

    tracking_uri: str = "sqlite:///embedded/mlflow.db"
    """MLFLOW_TRACKING_URI: a tracking server, or a SQLite file for the way without Docker."""
    public_url: str | None = None
    """MLFLOW_PUBLIC_URL: where a person's browser finds the MLflow UI; None prints no links."""
    model_name: str = "iris_logistic_regression"
    """MODEL_NAME: the registered model that new versions are added to."""
    min_test_accuracy: float = 0.9
    """MIN_TEST_ACCURACY: the floor below which no version is promoted, from 0 to 1."""
    data_dir: Path = Path("data")
    """DATA_DIR: the folder of iris_dataset.csv; exploration/ beside it takes the pictures."""

    signing_key: Path = Path("embedded/keys/signing-key.pem")
    """SIGNING_KEY_FILE: the private key that models are signed with; the set-up makes it."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        return cls(
            tracking_uri=_text(environ, "MLFLOW_TRACKING_URI", cls.tracking_uri),
            public_url=_text(environ, "MLFLOW_PUBLIC_URL", "").rstrip("/") or None,
            model_name=_text(environ, "MODEL_NAME", cls.model_name),
            min_test_accuracy=_fraction(environ, "MIN_TEST_ACCURACY", cls.min_test_accuracy),
            data_dir=Path(_text(environ, "DATA_DIR", str(cls.data_dir))),
            signing_key=Path(_text(environ, "SIGNING_KEY_FILE", str(cls.signing_key))),
        )


def _text(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, default).strip()
    if name in environ and not value:
        raise SettingsError(f"{name} is empty; leave it out to use {default!r}")
    return value


def _fraction(environ: Mapping[str, str], name: str, default: float) -> float:
    text = _text(environ, name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise SettingsError(f"{name} is {text!r}; expected a number from 0 to 1")
    return value
