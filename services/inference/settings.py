"""The service's settings, read from the environment once, by the process that is started; it hands them to the others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

import msgspec
from contract.publishing.addresses import Address, addresses
from contract.settings import Reader

from inference.errors import SettingsError
from inference.trust import Trust, Trusted

# What this machine calls itself, and what the service is called in compose.yaml's network.
OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "inference"})
# To listen on all addresses is no name.
EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104


@dataclass(frozen=True)
class Settings:
    """What the service can be told; .env.example lists the same variables with the reasons."""

    tracking_uri: str = "sqlite:///embedded/mlflow.db"
    """MLFLOW_TRACKING_URI: a tracking server, or a SQLite file for the way without Docker."""
    model_name: str = "iris_logistic_regression"
    """MODEL_NAME: the registered model to serve."""
    model_alias: str = "Production"
    """MODEL_ALIAS: the alias whose version is served; case counts."""
    trust: Trust = Trust.SIGNED
    """MODEL_TRUST: what may be served: signed, skops or pickle (docs/your-own-model.md says what each lets in)."""
    verifying_key: Path = Path("embedded/keys/signing-key.pub")
    """VERIFYING_KEY_FILE: the public key that signatures are checked with."""
    trusted_types: frozenset[str] = frozenset()
    """MODEL_TRUSTED_TYPES: further types that a model may contain, besides those that are always trusted."""
    allow_code: bool = False
    """ALLOW_CODE: true runs code that the owner of a signed version has vouched for (`adopt --allow-code`)."""
    challenger_max_disagreement: float = 0.3
    """CHALLENGER_MAX_DISAGREEMENT: the share of a challenger's answers that may differ from Production's before Production answers all again, from 0 to 1."""
    allow_schema_change: bool = False
    """ALLOW_SCHEMA_CHANGE: whether a version may replace one with another schema or other class names."""
    poll_seconds: float = 1.0
    """MODEL_POLL_SECONDS: how often the alias is looked up, from 0.1 to 3600."""
    cache_dir: Path = Path("embedded/model-cache")
    """MODEL_CACHE_DIR: where the served version's files are kept, so that a restart needs no registry."""
    host: str = "127.0.0.1"
    """INFERENCE_HOST: the address to listen on."""
    port: int = 1235
    """INFERENCE_LISTEN_PORT: the port to listen on."""
    workers: int = 2
    """INFERENCE_WORKERS: gunicorn worker processes, from 1 to 64."""
    connections: int = 1000
    """INFERENCE_CONNECTIONS: connections that one worker holds, from 1 to 100000; beyond them the answer is 503."""
    queue_seconds: float = 1.0
    """INFERENCE_QUEUE_SECONDS: how long a request may wait for its turn, from 0.01 to 60; beyond it is 503."""
    body_seconds: float = 30.0
    """INFERENCE_BODY_SECONDS: how long a request's body may take to arrive, from 1 to 3600."""
    log_rate: float = 10.0
    """INFERENCE_LOG_RATE: requests that one worker logs per second, from 0 to 100000; beyond them they are counted."""
    max_body_bytes: int = 16 * 1024 * 1024
    """INFERENCE_MAX_BODY_MB: the largest request, in the environment as MiB from 1 to 1024."""
    allowed_hosts: frozenset[str] = OWN_NAMES
    """INFERENCE_ALLOWED_HOSTS: further names under which clients may address the service, beside its own; * is any."""
    api_keys_file: Path | None = None
    """API_KEYS_FILE: the file with the API keys (docs/api-keys.md), read again when it changes; without it none is asked for."""
    cors_origins: frozenset[str] = frozenset()
    """INFERENCE_CORS_ORIGINS: web pages of other origins that may ask and read answers (CORS); * is any."""
    public_url: str = "http://localhost:1235"
    """INFERENCE_PUBLIC_URL: where clients find this service; of several with blanks between, links have the first."""
    mlflow_public_url: str | None = None
    """MLFLOW_PUBLIC_URL: where a person's browser finds the MLflow UI, likewise; without it, the page has no links to it."""
    prediction_log: float = 0.0
    """PREDICTION_LOG: the share of predictions that is kept (docs/prediction-log.md), from 0 to 1."""
    prediction_log_omit: frozenset[str] = frozenset()
    """PREDICTION_LOG_OMIT: columns that are not kept of them; where the served model lacks one, nothing is kept."""
    prediction_log_dir: Path = Path("embedded/prediction-spool")
    """PREDICTION_LOG_DIR: the folder in which they wait until they are shipped."""
    prediction_log_spool_bytes: int = 1024 * 1024 * 1024
    """PREDICTION_LOG_SPOOL_MB: how much may be in that folder, in the environment as MiB from 32 to 1048576; beyond it none is kept."""
    trace_share: float = 0.0
    """TRACE_SHARE: the share of predictions that are traced (docs/tracing.md), from 0 to 1."""
    otlp_endpoint: str = "http://mlflow:5000"
    """OTEL_EXPORTER_OTLP_ENDPOINT: where traces are sent, as OTLP over HTTP in JSON: MLflow, or any collector."""
    otlp_headers: str = "x-mlflow-experiment-id=0"
    """OTEL_EXPORTER_OTLP_HEADERS: what is sent with them, as name=value with commas between."""
    monitor_url: str = ""
    """MONITOR_URL: where the monitor of drift says what it found, for the page at /status; without it, nobody is asked."""
    schedule_url: str = ""
    """SCHEDULE_URL: where the schedule of trainings says what it did, likewise."""
    run_dir: Path = Path(gettempdir())
    """a folder that the processes of one start share; the first of them makes it, and no variable names it"""

    @property
    def address(self) -> str:
        """Where it listens, as a URL has it: an address of IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def channel(self) -> Path:
        """The socket over which the registry poller talks with the workers."""
        return self.run_dir / "poller.sock"

    @property
    def trusted(self) -> Trusted:
        return Trusted(self.trust, self.trusted_types, self.allow_code)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        read = Reader(environ, SettingsError)
        port = read.number("INFERENCE_LISTEN_PORT", cls.port, 1, 65535)
        public = _addresses(read, "INFERENCE_PUBLIC_URL", f"http://localhost:{port}", "models")
        return cls(
            tracking_uri=read.uri("MLFLOW_TRACKING_URI", cls.tracking_uri),
            model_name=read.text("MODEL_NAME", cls.model_name),
            model_alias=read.text("MODEL_ALIAS", cls.model_alias),
            trust=Trust(read.choice("MODEL_TRUST", cls.trust, *Trust)),
            verifying_key=Path(read.text("VERIFYING_KEY_FILE", str(cls.verifying_key))),
            trusted_types=read.names("MODEL_TRUSTED_TYPES"),
            allow_code=read.choice("ALLOW_CODE", "false", "true", "false") == "true",
            challenger_max_disagreement=read.number("CHALLENGER_MAX_DISAGREEMENT", 0.3, 0, 1),
            allow_schema_change=read.choice("ALLOW_SCHEMA_CHANGE", "false", "true", "false") == "true",
            poll_seconds=read.number("MODEL_POLL_SECONDS", cls.poll_seconds, 0.1, 3600),
            cache_dir=Path(read.text("MODEL_CACHE_DIR", str(cls.cache_dir))),
            host=(host := read.text("INFERENCE_HOST", cls.host)),
            port=port,
            workers=read.number("INFERENCE_WORKERS", cls.workers, 1, 64),
            connections=read.number("INFERENCE_CONNECTIONS", cls.connections, 1, 100_000),
            queue_seconds=read.number("INFERENCE_QUEUE_SECONDS", cls.queue_seconds, 0.01, 60),
            body_seconds=read.number("INFERENCE_BODY_SECONDS", cls.body_seconds, 1, 3600),
            log_rate=read.number("INFERENCE_LOG_RATE", cls.log_rate, 0, 100_000),
            max_body_bytes=read.number("INFERENCE_MAX_BODY_MB", 16, 1, 1024) * 1024 * 1024,
            allowed_hosts=_allowed_hosts(read, host, public),
            api_keys_file=Path(read.text("API_KEYS_FILE", "-")) if "API_KEYS_FILE" in read else None,
            cors_origins=_cors_origins(read),
            public_url=public[0].url,
            mlflow_public_url=_mlflow_url(read),
            prediction_log=read.number("PREDICTION_LOG", cls.prediction_log, 0, 1),
            prediction_log_omit=read.names("PREDICTION_LOG_OMIT"),
            prediction_log_dir=Path(read.text("PREDICTION_LOG_DIR", str(cls.prediction_log_dir))),
            prediction_log_spool_bytes=read.number("PREDICTION_LOG_SPOOL_MB", 1024, 32, 1024 * 1024) << 20,
            trace_share=read.number("TRACE_SHARE", cls.trace_share, 0, 1),
            otlp_endpoint=read.text("OTEL_EXPORTER_OTLP_ENDPOINT", cls.otlp_endpoint),
            otlp_headers=read.text("OTEL_EXPORTER_OTLP_HEADERS", cls.otlp_headers),
            monitor_url=read.text("MONITOR_URL", cls.monitor_url),
            schedule_url=read.text("SCHEDULE_URL", cls.schedule_url),
        )

    def handed_on(self) -> bytes:
        """Return the settings as another process of the service takes them; a login in a URL is in there."""
        return msgspec.json.encode(self, enc_hook=str)

    @classmethod
    def taken_over(cls, content: bytes) -> "Settings":
        """Return the settings that another process of the service has handed on."""
        return msgspec.json.decode(content, type=cls, dec_hook=lambda kind, text: kind(text))


def _addresses(read: Reader, name: str, default: str, service: str) -> list[Address]:
    return addresses(name, read.text(name, default), service, SettingsError)


def _mlflow_url(read: Reader) -> str | None:
    return _addresses(read, "MLFLOW_PUBLIC_URL", "-", "mlflow")[0].url if "MLFLOW_PUBLIC_URL" in read else None


def _allowed_hosts(read: Reader, listening: str, public: list[Address]) -> frozenset[str]:
    """Read the names, and add those that are always allowed: the service's own, where it listens, and where clients find it."""
    given = {name.lower() for name in read.names("INFERENCE_ALLOWED_HOSTS")}
    for name in given:
        if name != "*" and not re.fullmatch(r"\[[0-9a-f:.]+\]|[^\[\]:/@*\s]+", name):
            raise SettingsError(
                f"INFERENCE_ALLOWED_HOSTS has {name!r}; expected names without scheme and port, separated by commas, or *"
            )
    own = {f"[{listening}]" if ":" in listening else listening} if listening not in EVERYWHERE else set()
    return OWN_NAMES | given | {name.lower() for name in own} | {address.host for address in public}


def _cors_origins(read: Reader) -> frozenset[str]:
    """Read origins as browsers write them: in lower case, and without the port that their scheme has anyway."""
    given = {origin.lower() for origin in read.names("INFERENCE_CORS_ORIGINS")}
    for origin in given:
        if origin != "*" and not re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[^\[\]:/@*?#\s]+)(:\d{1,5})?", origin):
            raise SettingsError(
                f"INFERENCE_CORS_ORIGINS has {origin!r}; expected origins such as https://app.example.com or "
                "http://localhost:3000, without a path, separated by commas, or *"
            )
    return frozenset(origin.removesuffix(":443" if origin.startswith("https:") else ":80") for origin in given)
