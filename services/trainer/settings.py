"""The trainer's settings, read from the environment once."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.publishing.addresses import addresses
from contract.settings import Reader
from contract.tracking.rest import is_server

from trainer.errors import SettingsError

# In the place of a number: what a model has to beat is measured.
BASELINE = "baseline"


@dataclass(frozen=True)
class Settings:
    """What the trainer can be told; .env.example lists the same variables with the reasons."""

    tracking_uri: str = "sqlite:///embedded/mlflow.db"
    """MLFLOW_TRACKING_URI: a tracking server, or a SQLite file for the way without Docker."""
    public_url: str | None = None
    """MLFLOW_PUBLIC_URL: where a person's browser finds the MLflow UI; of several with blanks between, links have the first;
    without it, no links are printed."""
    model_name: str = "iris_logistic_regression"
    """MODEL_NAME: the registered model that new versions are added to."""
    usual_model: str = model_name
    """The model that a command without --model-name is about, as MODEL_NAME says it."""
    min_test_accuracy: float | None = None
    """MIN_TEST_ACCURACY: the test accuracy below which no version is promoted, from 0 to 1; baseline: better than answers that look at no feature (iris: 0.9)."""
    min_test_r2: float | None = None
    """MIN_TEST_R2: the same for a regression, whose score is R², at most 1; baseline: better than always the mean or the median."""
    data_dir: Path = Path("data")
    """DATA_DIR: the folder of the data sets; exploration/ in it takes the plots."""
    signing_key: Path = Path("embedded/keys/signing-key.pem")
    """SIGNING_KEY_FILE: the private key that models are signed with; the set-up makes it. Without it, a server's versions are not signed here."""
    has_key: bool = True
    """Whether versions are signed here, and so promoted: not on a machine that trains for a server and was given no key."""
    trusted_types: frozenset[str] = frozenset()
    """MODEL_TRUSTED_TYPES: further types that a model may contain, besides those that are always trusted."""
    review_poll_seconds: float = 5.0
    """REVIEW_POLL_SECONDS: how often the reviewer looks for candidates, from 0.1 to 3600."""
    who: str = "unknown"
    """AUDIT_WHO: who is at work, for the audit log and the history of Production."""
    audit_file: str | None = None
    """AUDIT_FILE: what the audit log is appended to: a file, or a pipe that somebody reads; without it, there is none."""
    inference_url: str = "http://localhost:1235"
    """INFERENCE_URL: where `workshop` asks the prediction service what it serves."""
    monitor_url: str = "http://localhost:9105"
    """MONITOR_URL: where the monitor says whether there is drift, and what was answered while a version challenges Production."""
    api_key_file: Path | None = None
    """API_KEY_FILE: a file with an API key of the scope predict, by which the prediction service is asked about its challenger; without it, no key is sent."""
    image: str | None = None
    """TRAINER_IMAGE: the image that it runs in, for the promotion record; without it, there is none."""

    has_lock: bool = False
    """TRAINING_LOCK: held, where whoever has started this training holds the lock on the data folder for it."""

    @property
    def by_whom(self) -> str:
        """Who is at work, in words that follow the reason of a move in the history; empty where AUDIT_WHO names nobody."""
        return "" if self.who == type(self).who else f" (by {self.who})"

    @property
    def key(self) -> Path | None:
        """The private key, None where versions are not signed here."""
        return self.signing_key if self.has_key else None

    @property
    def model_option(self) -> str:
        """What a command that is shown needs after the version to be about this model; empty for the usual one."""
        return "" if self.model_name == self.usual_model else f" --model-name {shlex.quote(self.model_name)}"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        read = Reader(environ, SettingsError)
        tracking_uri = read.uri("MLFLOW_TRACKING_URI", cls.tracking_uri)
        return cls(
            tracking_uri=tracking_uri,
            has_key="SIGNING_KEY_FILE" in read or not is_server(tracking_uri),
            public_url=_public_url(read, tracking_uri),
            model_name=(model_name := read.text("MODEL_NAME", cls.model_name)),
            usual_model=model_name,
            min_test_accuracy=_threshold(read, "MIN_TEST_ACCURACY", 0),
            min_test_r2=_threshold(read, "MIN_TEST_R2", None),
            data_dir=Path(read.text("DATA_DIR", str(cls.data_dir))),
            review_poll_seconds=read.number("REVIEW_POLL_SECONDS", cls.review_poll_seconds, 0.1, 3600),
            who=read.text("AUDIT_WHO", cls.who),
            audit_file=read.text("AUDIT_FILE", "") or None,
            inference_url=read.text("INFERENCE_URL", cls.inference_url).rstrip("/"),
            monitor_url=read.text("MONITOR_URL", cls.monitor_url).rstrip("/"),
            api_key_file=Path(key) if (key := read.text("API_KEY_FILE", "")) else None,
            image=read.text("TRAINER_IMAGE", "") or None,
            has_lock="TRAINING_LOCK" in read,
            trusted_types=read.names("MODEL_TRUSTED_TYPES"),
            signing_key=Path(read.text("SIGNING_KEY_FILE", str(cls.signing_key))),
        )


def _public_url(read: Reader, tracking_uri: str) -> str | None:
    """Return the address of MLflow's UI that links have, None for no links; a server is reached at its own."""
    found = addresses("MLFLOW_PUBLIC_URL", read.text("MLFLOW_PUBLIC_URL", ""), "mlflow", SettingsError)
    if found:
        return found[0].url
    return tracking_uri.rstrip("/") if is_server(tracking_uri) else None


def _threshold(read: Reader, name: str, low: float | None) -> float | None:
    """Return a number up to 1, None where the baseline is the threshold."""
    return None if read.text(name, BASELINE) == BASELINE else read.number(name, 0.0, low, 1)
