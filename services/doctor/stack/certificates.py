"""What the edge shows under each name: certificates that have ended, end soon, or are for other names."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from setup import edge

from doctor.records import FAIL, OK, WARN, Row

# Who brings a certificate of their own has to be told while there is time; Caddy renews when a third of the time is left.
SOON, LEFT_TO_RENEW = timedelta(days=14), 1 / 4
RENEWED = (
    "the renewed certificate and key in their files, then docker compose up -d --wait && docker compose restart edge"
)
LOGS = "docker compose logs --tail 50 edge"


def look(environ: Mapping[str, str], seconds: float, address: tuple[str, int] = ("edge", 8443)) -> Iterator[Row]:
    """Yield a row for each certificate; `seconds` is how long the edge may take for each name."""
    shown: dict[bytes, list[str]] = {}
    for host in edge.hosts(environ):
        try:
            shown.setdefault(_shown(address, host, seconds), []).append(host)
        except ssl.SSLError as error:
            says = f"the edge has none for {host}: {error.reason or error}"
            yield Row("certificate", FAIL, says, RENEWED if _is_ones_own(environ) else LOGS)
        except OSError as error:
            yield Row(
                "certificate", FAIL, f"the edge does not answer to {host}: {error}", "docker compose up -d --wait"
            )
            return
    for der, hosts in shown.items():
        yield _judged(x509.load_der_x509_certificate(der), hosts, _is_ones_own(environ), datetime.now(UTC))


def _is_ones_own(environ: Mapping[str, str]) -> bool:
    return environ.get("TLS") == "files"


def _shown(address: tuple[str, int], host: str, seconds: float) -> bytes:
    """Return the certificate for a name, DER; whom clients trust is theirs to say. Raises OSError, ssl.SSLError among them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities of this machine, of whom none is asked
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, seconds) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def _judged(certificate: x509.Certificate, hosts: list[str], is_ones_own: bool, now: datetime) -> Row:
    end, mend = certificate.not_valid_after_utc, RENEWED if is_ones_own else LOGS
    names = ", ".join(hosts)
    if others := edge.not_for(certificate, hosts):
        says = f"the edge shows {', '.join(others)} one for {', '.join(edge.names_in(certificate)) or 'no name'}"
        return Row("certificate", FAIL, says, mend)
    if end <= now:
        return Row("certificate", FAIL, f"that of {names} was valid until {end:%Y-%m-%d %H:%M} UTC", mend)
    if (begin := certificate.not_valid_before_utc) > now:
        says = f"that of {names} is valid from {begin:%Y-%m-%d %H:%M} UTC on, and here it is {now:%Y-%m-%d %H:%M}"
        return Row("certificate", FAIL, says, mend)
    life = end - begin
    is_late = end - now < (SOON if is_ones_own else min(SOON, life * LEFT_TO_RENEW))
    says = f"that of {names} is valid until {end:%Y-%m-%d %H:%M} UTC, {_length(end - now)} from now"
    if not is_late:
        return Row("certificate", OK, says)
    return Row("certificate", WARN, says + ("" if is_ones_own else "; Caddy has not renewed it"), mend)


def _length(time: timedelta) -> str:
    hours = int(time.total_seconds() // 3600)
    return f"{time.days} days" if time.days > 1 else "less than an hour" if hours < 1 else f"{hours} h"
