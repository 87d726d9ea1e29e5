"""Start the MLflow server as it is published: `python published.py mlflow server`.

It does not start where other machines would reach it without a login. It answers to the names under which it is published, and
takes changes from pages of these origins; MLflow compares the whole Host header, port included.
"""

import os
import sys
from collections.abc import Mapping

from contract.publishing import guard
from contract.publishing.addresses import addresses

HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
ORIGINS = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"


class SettingsError(Exception):
    """A setting cannot be used; the message names it, its value and what is expected."""


def names(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell MLflow its names and origins; raise SettingsError where an address cannot be used."""
    public = addresses("MLFLOW_PUBLIC_URL", environ.get("MLFLOW_PUBLIC_URL", ""), "mlflow", SettingsError)
    hosts = [environ.get(HOSTS, ""), *(name for address in public for name in (address.host, address.netloc))]
    # As it is published, and from a proxy on the ports that need not be named.
    origins = [
        origin for address in public for origin in (address.origin, f"http://{address.host}", f"https://{address.host}")
    ]
    return {HOSTS: _list(hosts), ORIGINS: _list(origins)}


def _list(words: list[str]) -> str:
    return ",".join(dict.fromkeys(filter(None, words)))


def main(command: list[str]) -> None:
    """Become the command, or end with a line that says which setting cannot be used."""
    try:
        guard.check(os.environ, SettingsError)
        os.environ.update(names(os.environ))
    except SettingsError as error:
        sys.exit(f"mlflow: {error}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
