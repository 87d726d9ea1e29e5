"""The key pair that models are signed with: the trainer holds the private half, inference the public one."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def new_private_key() -> str:
    """Return a new elliptic-curve key (P-256) as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key_of(private_key: str) -> str:
    """Return the public half of a private key, both as PEM text; raise ValueError where it is no elliptic-curve key."""
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"it is a {type(key).__name__}")
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_id_of(private_key: str) -> str:
    """Return a short name for a key pair: who has signed a version can be seen without verifying it."""
    return hashlib.sha256(public_key_of(private_key).encode()).hexdigest()[:16]
