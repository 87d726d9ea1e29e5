"""How far a version's files are trusted, before anything is loaded from them.

signed    files, registered model and model id carry the trainer's signature; only types that skops knows as harmless,
          scikit-learn's own, and those of MODEL_TRUSTED_TYPES
skops     unsigned too, but only types that skops knows as harmless, and those of MODEL_TRUSTED_TYPES
pickle    anything: loading it runs whatever code is in it
"""

from dataclasses import dataclass
from enum import StrEnum

# Harmless, although skops does not say so: what numbers an array has.
HARMLESS_TYPES = frozenset({"numpy.dtype"})
# What a signed model may contain beside what skops itself takes for harmless: parts of scikit-learn's own estimators, in
# compiled code that believes its data, so they have to come from somebody who holds the key.
TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)


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

    @property
    def types(self) -> frozenset[str]:
        """The types, beside those that skops knows as harmless, that a skops file may contain."""
        return (TRUSTED_TYPES if self.trust is Trust.SIGNED else HARMLESS_TYPES) | self.more
