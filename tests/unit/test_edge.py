"""What the set-up makes of the edge's settings: names, redirects, and a certificate that fits, or one line that says why not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from setup import edge
from setup.errors import SetupError

SETTINGS = {"TLS": "internal", "EDGE_SITES": "mlflow,models", "EDGE_URL": " https://*.example.com,office.lan:443"}
KEY = ec.generate_private_key(ec.SECP256R1())


def _certificate(*names: str, days: int = 30, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made for a test")])
    until = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(until - timedelta(days=90)).not_valid_after(until)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def _key(key: ec.EllipticCurvePrivateKey = KEY) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _given(**files: str) -> Callable[[str], str | None]:
    return files.get


NOTHING = _given()


def _refusal(given: Callable[[str], str | None] = NOTHING, **changed: str) -> str:
    with pytest.raises(SetupError) as refused:
        edge.files(SETTINGS | changed, given)
    return str(refused.value)


def test_each_service_has_a_site_under_each_name_and_http_is_sent_there() -> None:
    sites = edge.files(SETTINGS, _given())["edge/sites.caddy"]
    assert "https://mlflow.example.com, https://mlflow.office.lan {\n\timport mlflow\n}\n" in sites
    assert "https://models.example.com, https://models.office.lan {\n\timport models\n}\n" in sites
    assert "http://models.office.lan {\n\tredir https://models.office.lan{uri} 308\n}\n" in sites
    assert "minio" not in sites


def test_the_console_has_a_name_on_request_and_a_port_of_the_outside_is_in_redirects_alone() -> None:
    changed = {"EDGE_SITES": "minio , mlflow", "EDGE_URL": "https://*.example.com https://*.example.com,b.lan:8443"}
    sites = edge.files(SETTINGS | changed, _given())["edge/sites.caddy"]
    assert "https://minio.example.com, https://minio.b.lan {\n\timport minio\n}\n" in sites
    assert "redir https://minio.example.com{uri} 308\n" in sites  # PUBLIC_URL counts before the published port
    assert "redir https://minio.b.lan:8443{uri} 308\n" in sites
    assert "models" not in sites


def test_only_the_way_that_is_chosen_leaves_anything_behind() -> None:
    given = _given(TLS_CERTIFICATE=_certificate("*.example.com"), TLS_KEY=_key(), ACME_CA_ROOT="root")
    acme = {"TLS": "acme", "ACME_CA": "https://pebble:14000/dir", "ACME_EMAIL": "a@example.com"}
    found = edge.files(SETTINGS | acme, given)
    assert found["edge/options.caddy"].splitlines()[1:] == [
        "email a@example.com",
        "acme_ca https://pebble:14000/dir",
        "acme_ca_root /run/secrets/acme-root.pem",
    ]
    assert (found["edge/acme-root.pem"], found["edge/certificate.pem"], found["edge/key.pem"]) == ("root", None, None)
    assert edge.files(SETTINGS | acme | {"TLS": "internal"}, given)["edge/options.caddy"] == "# made by the set-up\n"


def test_a_certificate_that_fits_is_handed_over() -> None:
    given = _given(
        TLS_CERTIFICATE=_certificate("*.example.com", "MLflow.office.lan", "models.office.lan"), TLS_KEY=_key()
    )
    found = edge.files(SETTINGS | {"TLS": "files"}, given)
    assert "BEGIN CERTIFICATE" in found["edge/certificate.pem"]
    assert "PRIVATE KEY" in found["edge/key.pem"]


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("", _key(), "TLS is files; give their paths as TLS_CERTIFICATE_FILE and TLS_KEY_FILE"),
        ("no PEM", _key(), "are no certificate and private key in PEM without a password"),
        (_certificate("*.example.com"), "no PEM", "are no certificate and private key in PEM without a password"),
        (_certificate("*.office.lan"), _key(), "is for *.office.lan, not for mlflow.example.com, models.example.com"),
        (_certificate(), _key(), "is for no name, not for mlflow.example.com"),
        (_certificate("*.example.com", days=-2), _key(), "was valid until 20"),
        (_certificate("x"), _key(ec.generate_private_key(ec.SECP256R1())), "the key in TLS_KEY_FILE is not that of"),
    ],
)
def test_a_certificate_that_would_be_of_no_use_is_told_before_anything_starts(
    certificate: str, key: str, said: str
) -> None:
    assert said in _refusal(_given(TLS_CERTIFICATE=certificate, TLS_KEY=key), TLS="files")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"TLS": "letsencrypt"}, "TLS is 'letsencrypt'; expected internal, acme, files"),
        ({"EDGE_SITES": "mlflow,console"}, "EDGE_SITES has console; expected mlflow, models, minio or some of them"),
        ({"SCALE": "on"}, "compose.edge.yaml and compose.scale.yaml do not go together yet"),
        ({"EDGE_SITES": ""}, "EDGE_SITES has nothing; expected mlflow, models, minio"),
        ({"EDGE_MAX_UPLOAD_MB": "5 GB"}, "EDGE_MAX_UPLOAD_MB is '5 GB'; expected a whole number"),
        ({"EDGE_URL": "https://*.10.0.0.5:443"}, "PUBLIC_HOST has 10.0.0.5; with compose.edge.yaml it takes names"),
        ({"EDGE_URL": "http://*.example.com"}, "PUBLIC_URL begins with http; with compose.edge.yaml it is https://"),
        ({"EDGE_URL": "https://*.localhost", "TLS": "acme"}, "TLS is acme, and PUBLIC_HOST is localhost"),
        ({"ACME_CA": "https://a {\n}", "TLS": "acme"}, "ACME_CA is 'https://a {\\n}', which has characters"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value_and_what_is_expected(
    changed: dict[str, str], said: str
) -> None:
    assert _refusal(NOTHING, **changed).startswith(said)
