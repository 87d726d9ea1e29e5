"""Who we are to a tracking server that asks for a login: where MLflow's own client looks, too.

That is the environment, and the file ~/.mlflow/credentials, which each look reads again: a new password counts at once. The
environment is a default here, and no setting that is handed on: MLflow's client in the same process looks into it at each request, and
both have to log in as the same person.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path

USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
FILE = "~/.mlflow/credentials"


def authorization(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the header by which we log in, None where we have no login; raise OSError for a file that cannot be read."""
    kept = _kept(Path(FILE).expanduser())
    username = environ.get(USERNAME) or kept.get(USERNAME.lower())
    password = environ.get(PASSWORD) or kept.get(PASSWORD.lower())
    if not username or not password:
        return None
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _kept(file: Path) -> Mapping[str, str]:
    parser = ConfigParser()
    try:
        parser.read(file)
        return dict(parser["mlflow"]) if "mlflow" in parser else {}
    except (Error, UnicodeDecodeError) as error:
        raise OSError(f"{FILE} is no file of MLflow's ({str(error).splitlines()[0]})") from error
