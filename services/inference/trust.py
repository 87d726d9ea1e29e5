"""How far a version's files are trusted, before anything is loaded from them.

signed    files, registered model and model id carry the trainer's signature; only types that skops knows as harmless,
          and scikit-learn's own
skops     unsigned too, but only types that skops knows as harmless
pickle    anything: loading it runs whatever code is in it
"""

import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

from inference.errors import ModelRefused
from inference.registry import ModelVersion

# Part of the contract with the trainer (docs/model-contract.md).
IDENTITY = "identity.json"
SIGNATURE = "model.sig"
VERIFY_SECONDS = 120
# Harmless, although skops does not say so: what numbers an array has.
HARMLESS_TYPES = ("numpy.dtype",)
# What a signed model may contain beside what skops itself takes for harmless: parts of scikit-learn's own estimators, in
# compiled code that believes its data, so they have to come from somebody who holds the key.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


class Trust(StrEnum):
    """The setting MODEL_TRUST."""

    SIGNED = "signed"
    SKOPS = "skops"
    PICKLE = "pickle"


def check_signature(folder: Path, version: ModelVersion, public_key: Path) -> None:
    """Raise ModelRefused unless the folder is signed, whole, and signed as this very version."""
    way_out = (
        f"`docker compose run trainer adopt {version.version}` checks and signs a version "
        f"(without Docker: `make adopt VERSION={version.version}`)"
    )
    if not (folder / SIGNATURE).is_file():
        raise ModelRefused(f"it is not signed; {way_out}")
    command = [sys.executable, "-m", "inference.verify", str(public_key), str(folder)]
    try:
        check = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ModelRefused(f"its signature could not be checked within {VERIFY_SECONDS} seconds") from error
    if check.returncode:
        reason = (check.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelRefused(f"its signature does not hold: {reason}; {way_out}")
    _check_identity(folder, version, way_out)


def _check_identity(folder: Path, version: ModelVersion, way_out: str) -> None:
    """The signed files must not be those of another version, copied here."""
    try:
        identity = json.loads((folder / IDENTITY).read_text())
    except (OSError, ValueError) as error:
        raise ModelRefused(f"it is signed without saying as what; {way_out}") from error
    expected = {"model_name": version.name, "model_id": version.model_id}
    if identity != expected:
        raise ModelRefused(f"it is signed as {identity}, not as {expected}; {way_out}")
