"""Which requests the challenger answers: so many of a hundred keys, the same ones in each worker and replica; and whose a request is."""

from dataclasses import dataclass
from hashlib import blake2b

from inference.model.deployment import Deployment


@dataclass(frozen=True)
class Split:
    """A share of the requests for a challenger; all others are Production's."""

    challenger: Deployment
    key: bytes
    """of the experiment: in another one other clients are among the share"""
    below: int
    """what a request's hash, of 64 bits, is below where the challenger answers it"""
    until: float
    """when it is over, seconds since 1970"""

    @classmethod
    def of(cls, challenger: Deployment, key: str, percent: float, until: float) -> "Split":
        return cls(challenger, key.encode(), int(percent / 100 * 2**64), until)

    def chooses(self, key: str) -> bool:
        """Tell whether the challenger answers a client: with a larger share it answers the same ones, and more."""
        return int.from_bytes(digest_of(key, self.key), "big") < self.below


def digest_of(key: str, experiment: bytes) -> bytes:
    """Return what stands for a client in one experiment: 8 bytes, others in another one."""
    # A key comes as WSGI has a header, whose characters are bytes; half a surrogate pair is none of them.
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8, key=experiment).digest()
