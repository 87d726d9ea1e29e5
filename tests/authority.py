"""An authority of a test's own, whose certificates who is given its own trusts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HOUR = timedelta(hours=1)


@dataclass
class Authority:
    """A key, and a certificate over it that signs others."""

    key: Any
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority made for a test")])
        return cls(key, _builder(name, name, key, is_authority=True).sign(key, SHA256()))

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, folder: Path, *names: str, life: timedelta = timedelta(days=30), age: timedelta = HOUR) -> None:
        """Write certificate.pem and key.pem for names into a folder; `life` is from now on, and `age` what has gone before."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        builder = _builder(subject, self.certificate.subject, key, is_authority=False, life=life, age=age)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        certificate = builder.sign(self.key, SHA256())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Any,
    is_authority: bool,
    life: timedelta = timedelta(days=30),
    age: timedelta = HOUR,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - age)
    builder = builder.not_valid_after(now + life)
    return builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), True)
