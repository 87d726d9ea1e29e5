"""What Postgres and MinIO know the services by: users and databases. Imports next to nothing: each set-up job has a second."""

from collections.abc import Mapping
from urllib.parse import urlsplit

OWN_DATABASE = "postgresql+psycopg2://mlflow@postgres:5432/mlflow"
MLFLOW_ACCESS_KEY, PREDICTIONS_ACCESS_KEY, MONITOR_ACCESS_KEY = "mlflow", "predictions", "monitor"


def has_login(environ: Mapping[str, str]) -> bool:
    """Tell whether compose.login.yaml is among the compose files."""
    return environ.get("LOGIN") == "on"


def accounts_database(uri: str) -> str:
    """Return where the accounts are: in the database beside the one at this address, whose name has _auth after it."""
    return urlsplit(uri)._replace(path=f"{urlsplit(uri).path}_auth").geturl()
