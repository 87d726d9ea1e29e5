"""What the edge (compose.edge.yaml) reads: its names, where its certificates come from, and the certificate of one's own."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

from contract.publishing.addresses import Address, addresses
from contract.settings import Reader
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from setup import sign_on
from setup.errors import SetupError

SITES = ("mlflow", "models", "minio")
Files = dict[str, str | None]


def files(environ: Mapping[str, str], given: Callable[[str], str | None]) -> Files:
    """Return each file's name and content, None where it must not be there; `given` reads a file of the user's.

    Raises SetupError where a setting cannot be used.
    """
    read = Reader(environ, SetupError)
    if environ.get("SCALE") == "on":
        raise SetupError(
            "compose.edge.yaml and compose.scale.yaml do not go together yet, since the proxy of the second publishes a port "
            "of its own; leave one of them out of COMPOSE_FILE"
        )
    way = _way(read)
    read.number("EDGE_MAX_UPLOAD_MB", 5000, 1, 1_000_000)
    sites = _all_named(environ, read, way)
    return {
        "edge/sites.caddy": "\n".join(_site(found, _snippet(site, environ)) for site, found in sites.items()),
        **_authority(environ, way, given("ACME_CA_ROOT")),
        **_pair(way, given, _hosts(sites)),
    }


def hosts(environ: Mapping[str, str]) -> list[str]:
    """Return the names under which the edge serves; raise SetupError where a setting cannot be used."""
    read = Reader(environ, SetupError)
    return _hosts(_all_named(environ, read, _way(read)))


def _way(read: Reader) -> str:
    """Return who issues the certificates."""
    return read.choice("TLS", "internal", "internal", "acme", "files")


def _hosts(sites: Mapping[str, list[Address]]) -> list[str]:
    return [address.host for found in sites.values() for address in found]


def _all_named(environ: Mapping[str, str], read: Reader, way: str) -> dict[str, list[Address]]:
    """Return the addresses of each service that has a name."""
    return {site: _named(site, environ, way) for site in _sites(read)}


def _sites(read: Reader) -> list[str]:
    """Return which services have a name, in the order of SITES."""
    wanted = read.names("EDGE_SITES")
    if not wanted or wanted - set(SITES):
        shown = ", ".join(sorted(wanted - set(SITES))) or "nothing"
        raise SetupError(f"EDGE_SITES has {shown}; expected {', '.join(SITES)} or some of them, separated by commas")
    return [site for site in SITES if site in wanted]


def _named(site: str, environ: Mapping[str, str], way: str) -> list[Address]:
    """Return the addresses of a service, one for each name."""
    found = addresses("EDGE_URL", environ.get("EDGE_URL", ""), site, SetupError)
    for address in found:
        host = address.host.removeprefix(f"{site}.")
        if _is_ip(host):
            raise SetupError(
                f"PUBLIC_HOST has {host}; with compose.edge.yaml it takes names, since each service has its own before it: {site}.NAME"
            )
        if not address.origin.startswith("https:"):
            raise SetupError("PUBLIC_URL begins with http; with compose.edge.yaml it is https://*.NAME, or left out")
        if way == "acme" and host == "localhost":
            raise SetupError("TLS is acme, and PUBLIC_HOST is localhost, for which nobody certifies; set PUBLIC_HOST")
    return list({address.host: address for address in reversed(found)}.values())[::-1]


def _is_ip(host: str) -> bool:
    try:
        return bool(ip_address(host.strip("[]")))
    except ValueError:
        return False


def _snippet(site: str, environ: Mapping[str, str]) -> str:
    """Return what the Caddyfile calls the way to a service."""
    return "mlflow-sso" if site == "mlflow" and sign_on.is_on(environ) else site


def _site(found: Iterable[Address], snippet: str) -> str:
    """Return a service's part of Caddy's configuration: HTTPS under all of its names, and HTTP sent there."""
    lines = [", ".join(f"https://{address.host}" for address in found) + f" {{\n\timport {snippet}\n}}\n"]
    lines += [f"http://{address.host} {{\n\tredir {address.origin}{{uri}} 308\n}}\n" for address in found]
    return "\n".join(lines)


def _authority(environ: Mapping[str, str], way: str, root: str | None) -> Files:
    """Return Caddy's options on who issues certificates, and the certificate that the issuer itself is known by."""
    options = {"email": environ.get("ACME_EMAIL", ""), "acme_ca": environ.get("ACME_CA", "")}
    options["acme_ca_root"] = "/run/secrets/acme-root.pem" if root else ""
    for name, value in options.items():
        if any(character in value for character in " \t\n{}\"'`#"):
            raise SetupError(f"{name.upper()} is {value!r}, which has characters that an address has not")
    lines = [f"{name} {value}\n" for name, value in options.items() if way == "acme" and value]
    return {"edge/options.caddy": "".join(["# made by the set-up\n", *lines]), "edge/acme-root.pem": root}


def _pair(way: str, given: Callable[[str], str | None], hosts: list[str]) -> Files:
    """Return the certificate of the user's own and its key, which have to fit together and to the names."""
    certificate, key = given("TLS_CERTIFICATE"), given("TLS_KEY")
    if way != "files":
        return {"edge/certificate.pem": None, "edge/key.pem": None}
    if not certificate or not key:
        raise SetupError("TLS is files; give their paths as TLS_CERTIFICATE_FILE and TLS_KEY_FILE, both in PEM")
    _check_pair(certificate, key, hosts)
    return {"edge/certificate.pem": certificate + "\n", "edge/key.pem": key + "\n"}


def _check_pair(certificate: str, key: str, hosts: list[str]) -> None:
    try:
        first = x509.load_pem_x509_certificates(certificate.encode())[0]
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SetupError(
            f"TLS_CERTIFICATE_FILE and TLS_KEY_FILE are no certificate and private key in PEM without a password: {error}"
        ) from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if first.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise SetupError("the key in TLS_KEY_FILE is not that of the first certificate in TLS_CERTIFICATE_FILE")
    if first.not_valid_after_utc < datetime.now(UTC):
        raise SetupError(
            f"the certificate in TLS_CERTIFICATE_FILE was valid until {first.not_valid_after_utc:%Y-%m-%d}"
        )
    if missing := not_for(first, hosts):
        raise SetupError(
            f"the certificate in TLS_CERTIFICATE_FILE is for {', '.join(names_in(first)) or 'no name'}, not for {', '.join(missing)}"
        )


def not_for(certificate: x509.Certificate, hosts: Iterable[str]) -> list[str]:
    """Return which of these names a certificate is not for."""
    names = names_in(certificate)
    return [host for host in hosts if host not in names and f"*.{host.partition('.')[2]}" not in names]


def names_in(certificate: x509.Certificate) -> list[str]:
    """Return the names that a certificate is for, a star among them."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
