"""Whether a list of files was signed with the key in force: the envelope's own signature (DSSE), without the library's imports."""

import base64
import json

from contract.errors import Refused
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# By the length of the curve, as OpenSSF Model Signing has it.
HASHES = {256: "SHA256", 384: "SHA384", 521: "SHA512"}


def check(signature: bytes, public_key: bytes) -> None:
    """Raise Refused where a model.sig was not made with the private half of a key in PEM.

    What is served is verified by the prediction service with the library; this is to tell a person beforehand.
    """
    key = load_pem_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Refused("the key in force is no elliptic-curve key")
    try:
        envelope = json.loads(signature)["dsseEnvelope"]
        kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        digest: hashes.HashAlgorithm = getattr(hashes, HASHES[key.curve.key_size])()
        key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(digest))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Refused(f"its signature cannot be read: {type(error).__name__}") from error
    except InvalidSignature as error:
        raise Refused("its signature is not of the key in force") from error
