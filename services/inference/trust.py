"""How far a version's files are trusted, before anything is loaded from them.

signed    files, registered model and model id carry the trainer's signature; only types that skops knows as harmless,
          scikit-learn's own, XGBoost's and LightGBM's as the trainer fits them, and those of MODEL_TRUSTED_TYPES
skops     unsigned too, but only types that skops knows as harmless, and those of MODEL_TRUSTED_TYPES
pickle    anything: loading it runs whatever code is in it

Under the first two, what is in the types is checked as well (contract.trust).
"""

from dataclasses import dataclass
from enum import StrEnum

from contract.trust.trusted_types import HARMLESS_TYPES, SIGNED_TYPES


class Trust(StrEnum):
    """The setting MODEL_TRUST."""

    SIGNED = "signed"
    SKOPS = "skops"
    PICKLE = "pickle"


@dataclass(frozen=True)
class Trusted:
    """What may be loaded."""

    trust: Trust
    more: frozenset[str] = frozenset()
    """the setting MODEL_TRUSTED_TYPES"""
    code: bool = False
    """the setting ALLOW_CODE: whether code is run that the owner of a signed version has vouched for"""

    @property
    def types(self) -> frozenset[str]:
        """The types, beside those that skops knows as harmless, that a skops file may contain."""
        return (SIGNED_TYPES if self.trust is Trust.SIGNED else HARMLESS_TYPES) | self.more
