"""What a clean-up is told by its environment, which is read once. What a person decides are options (cleanup.__main__)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Where MLflow keeps what is cleaned up, and how long the bucket keeps what is removed."""

    database_uri: str
    """MLFLOW_BACKEND_STORE_URI: MLflow's database."""
    destination: str | None
    """MLFLOW_ARTIFACTS_DESTINATION: what the server has behind its artifact proxy; None without a server."""
    s3_endpoint_url: str | None
    """MLFLOW_S3_ENDPOINT_URL: where the bucket is; None for AWS."""
    keep_deleted_days: str
    """KEEP_DELETED_DAYS: for how long the bucket's set-up was told to keep what is removed; empty where it was told nothing."""
    is_in_stack: bool
    """BACKEND_STORE_URI_FILE: whether it runs in the stack, where start.sh reads the database's address from that file."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings."""
        return cls(
            database_uri=environ["MLFLOW_BACKEND_STORE_URI"],
            destination=environ.get("MLFLOW_ARTIFACTS_DESTINATION"),
            s3_endpoint_url=environ.get("MLFLOW_S3_ENDPOINT_URL"),
            keep_deleted_days=environ.get("KEEP_DELETED_DAYS", ""),
            is_in_stack="BACKEND_STORE_URI_FILE" in environ,
        )
