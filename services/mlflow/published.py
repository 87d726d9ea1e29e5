"""Start the MLflow server as it is published: `python published.py mlflow server`.

It does not start where other machines would reach it without a login. It answers to the names under which it is published, and
takes changes from pages of these origins; MLflow compares the whole Host header, port included.

MLflow's command starts the server as another process, which imports MLflow once more, and stays beside it. Here it is one
process, which is there seconds sooner and takes half the memory.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import uvicorn  # before MLflow, which takes it as the sign that this is the server
from contract.publishing import guard
from contract.publishing.addresses import Address, addresses

HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
ORIGINS = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"


class SettingsError(Exception):
    """A setting cannot be used; the message names it, its value and what is expected."""


def names(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell MLflow its names and origins; raise SettingsError where an address cannot be used."""
    public = addresses("MLFLOW_PUBLIC_URL", environ.get("MLFLOW_PUBLIC_URL", ""), "mlflow", SettingsError)
    hosts = [environ.get(HOSTS, ""), *(name for address in public for name in (address.host, address.netloc))]
    return {HOSTS: _list(hosts), ORIGINS: _list([origin for address in public for origin in _origins(address)])}


def _origins(address: Address) -> list[str]:
    """Return what browsers call the pages of an address: as it is published, and from a proxy on the ports that need not be named.

    Where it is published by HTTPS, whoever is on the way could write a page of HTTP, which would then act as its visitor.
    """
    schemes = ["https"] if address.origin.startswith("https:") else ["http", "https"]
    return [address.origin, *(f"{scheme}://{address.host}" for scheme in schemes)]


def _list(words: list[str]) -> str:
    return ",".join(dict.fromkeys(filter(None, words)))


def serve(arguments: list[str]) -> None:
    """Run `mlflow` with arguments, and be the server that it starts."""
    # So that a stop while MLflow is imported is no failure; not by an exception, which an import may swallow.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    gc.disable()  # looking for garbage in modules takes a third of the time
    import mlflow.server
    from mlflow.cli import cli

    mlflow.server._exec_cmd = be_the_server
    cli(arguments, prog_name="mlflow")


def be_the_server(command: list[str], extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    """Do in this process what `python -m uvicorn …` would do in another."""
    os.environ.update(extra_env)
    gc.freeze()
    gc.enable()
    # A stop that uvicorn has answered it passes on; that is no failure either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    uvicorn.main(command[command.index("uvicorn") + 1 :])
    sys.exit()


def main(command: list[str]) -> None:
    """Serve, or end with a line that says which setting cannot be used."""
    try:
        guard.check(os.environ, SettingsError)
        published = names(os.environ)
    except SettingsError as error:
        sys.exit(f"mlflow: {error}")
    if published[HOSTS]:  # as it is without Docker, unless somebody publishes it
        print(f"mlflow: settings: {json.dumps(published)}", file=sys.stderr, flush=True)
    os.environ.update(published)
    serve(command[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
