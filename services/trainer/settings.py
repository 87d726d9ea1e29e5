"""The trainer's settings, read from the environment once."""

import math
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
    """MLFLOW_PUBLIC_URL: where a person's browser finds the MLflow UI; without it, no links are printed."""
    model_name: str = "iris_logistic_regression"
    """MODEL_NAME: the registered model that new versions are added to."""
    min_test_accuracy: float = 0.9
    """MIN_TEST_ACCURACY: the test accuracy below which no version is promoted, from 0 to 1."""
    min_test_r2: float = 0
    """MIN_TEST_R2: the test R² below which no version of a regression is promoted, at most 1."""
    data_dir: Path = Path("data")
    """DATA_DIR: the folder of the data sets; exploration/ in it takes the plots."""
    signing_key: Path = Path("embedded/keys/signing-key.pem")
    """SIGNING_KEY_FILE: the private key that models are signed with; the set-up makes it."""
    trusted_types: frozenset[str] = frozenset()
    """MODEL_TRUSTED_TYPES: further types that a model may contain, besides those that are always trusted."""
    image: str | None = None
    """TRAINER_IMAGE: the image that it runs in, for the promotion record; without it, there is none."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        return cls(
            tracking_uri=_text(environ, "MLFLOW_TRACKING_URI", cls.tracking_uri),
            public_url=_text(environ, "MLFLOW_PUBLIC_URL", "").rstrip("/") or None,
            model_name=_text(environ, "MODEL_NAME", cls.model_name),
            min_test_accuracy=_number(environ, "MIN_TEST_ACCURACY", cls.min_test_accuracy, least=0),
            min_test_r2=_number(environ, "MIN_TEST_R2", cls.min_test_r2, least=-1e9),
            data_dir=Path(_text(environ, "DATA_DIR", str(cls.data_dir))),
            image=_text(environ, "TRAINER_IMAGE", "") or None,
            trusted_types=_names(environ, "MODEL_TRUSTED_TYPES"),
            signing_key=Path(_text(environ, "SIGNING_KEY_FILE", str(cls.signing_key))),
        )


def _text(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, default).strip()
    if name in environ and not value:
        raise SettingsError(f"{name} is empty; leave it out to use {default!r}")
    return value


def _names(environ: Mapping[str, str], name: str) -> frozenset[str]:
    """Read names that are separated by commas; empty is none of them."""
    return frozenset(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    """Return a number up to 1."""
    text = _text(environ, name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= 1:
        expected = "a number from 0 to 1" if least == 0 else "a number up to 1"
        raise SettingsError(f"{name} is {text!r}; expected {expected}")
    return value
