"""That nobody opens a stack by accident: what other machines reach asks for a login, or somebody has said that it need not.

The set-up asks this first of all. So does each service with a port as it starts: the prediction service waits for no set-up job,
and a single service can be started without any.
"""

from collections.abc import Mapping
from ipaddress import ip_address

from contract.settings import Reader


def check(environ: Mapping[str, str], error: type[Exception]) -> None:
    """Raise `error` where ports are published to other machines (BIND_ADDRESS) and nothing asks for a login."""
    is_meant = Reader(environ, error).choice("ALLOW_OPEN", "false", "true", "false") == "true"
    if is_meant or environ.get("LOGIN") == "on" or not is_open(environ):
        return
    raise error(
        f"BIND_ADDRESS is {environ['BIND_ADDRESS'].strip()}, where other machines reach this stack, and nothing asks them for a login; "
        "either add compose.login.yaml to COMPOSE_FILE, or set ALLOW_OPEN=true"
    )


def is_open(environ: Mapping[str, str]) -> bool:
    """Tell whether ports are published where other machines reach them (BIND_ADDRESS)."""
    address = environ.get("BIND_ADDRESS", "").strip()
    return bool(address) and not _is_loopback(address)


def _is_loopback(address: str) -> bool:
    """Tell whether an address of this machine is one that no other machine reaches; IPv6 may be in brackets."""
    try:
        return ip_address(address.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return address.lower() == "localhost"
