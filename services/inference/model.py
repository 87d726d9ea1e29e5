"""A model version's files, loaded: from rows to answers."""

import json
import logging
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import skops.io
import yaml

from inference.errors import InvalidInput, ModelRefused
from inference.registry import ModelVersion
from inference.trust import Trust, check_signature

log = logging.getLogger("inference")

# Rows that get here are finite (inference.rows), and in the columns' order.
sklearn.set_config(assume_finite=True)
warnings.filterwarnings("ignore", message="X does not have valid feature names")


@dataclass(frozen=True)
class Model:
    """A scikit-learn estimator with what the version says about its input and output."""

    estimator: Any
    columns: list[str]
    """the features, in the order that rows have"""
    class_names: list[str] | None
    """the name of class i; None where the version carries no names"""
    example: list[float]
    """one row that the model takes, for people to try"""
    takes_arrays: bool = False
    """whether the estimator takes the columns by their order alone, which is five times as fast as by their names"""

    def predict(self, rows: np.ndarray) -> list[Any]:
        """Return one prediction per row; rows has shape (rows, columns), finite float64."""
        predictions: list[Any] = self.estimator.predict(self._input(rows)).tolist()
        return predictions

    def predict_names(self, rows: np.ndarray) -> tuple[list[str], list[dict[str, float]]]:
        """Return, per row, the name of the likeliest class and every class's probability.

        Raises InvalidInput where the model has no probabilities: it is the wrong question to this model.
        """
        if not hasattr(self.estimator, "predict_proba"):
            kind = type(self.estimator).__name__
            raise InvalidInput(
                f"the model, a {kind}, has no class probabilities; POST /invocations has its predictions"
            )
        probabilities = self.estimator.predict_proba(self._input(rows))
        names = [self._name(label) for label in self.estimator.classes_]
        best = probabilities.argmax(axis=1)
        return [names[i] for i in best], [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]

    def _input(self, rows: np.ndarray) -> np.ndarray | pd.DataFrame:
        return rows if self.takes_arrays else pd.DataFrame(rows, columns=self.columns)

    def _name(self, label: Any) -> str:
        return str(label) if self.class_names is None else self.class_names[int(label)]


def load(folder: Path, version: ModelVersion, trust: Trust, public_key: Path) -> Model:
    """Load the files of a version (docs/model-contract.md); raise ModelRefused where they may not or cannot be served."""
    if trust is Trust.SIGNED:
        check_signature(folder, version, public_key)
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelRefused(f"it has no readable MLmodel file: {error}") from error
    if not isinstance(description, dict):
        raise ModelRefused("its MLmodel file is empty or no YAML mapping")
    flavors = description.get("flavors")
    if not isinstance(flavors, dict) or not isinstance(flavors.get("sklearn", {}), dict):
        raise ModelRefused(f"its flavors are {flavors!r}; expected a mapping of mappings")
    if "sklearn" not in flavors:
        raise ModelRefused(f"its flavors are {', '.join(flavors) or 'none'}; this service serves sklearn")
    columns = _columns(description)
    estimator = _estimator(folder, flavors["sklearn"], trust)
    return Model(
        estimator=estimator,
        columns=columns,
        class_names=_class_names(description, estimator),
        example=_example(folder, description, columns),
        takes_arrays=_takes_arrays(estimator, len(columns)),
    )


def _estimator(folder: Path, flavor: dict[str, Any], trust: Trust) -> Any:
    """Load the estimator; unless trust is PICKLE, without running code or building types that skops does not know."""
    path, form = _inside(folder, flavor.get("pickled_model")), flavor.get("serialization_format")
    if trust is not Trust.PICKLE and form != "skops":
        raise ModelRefused(
            f"it is stored as {form}, which runs code when it is loaded; log it with serialization_format='skops'"
        )
    try:
        if form != "skops":
            log.warning("MODEL_TRUST is pickle: loading %s runs whatever code is in it", path.name)
            return pickle.loads(path.read_bytes())  # noqa: S301 - what MODEL_TRUST=pickle asks for
        unknown = skops.io.get_untrusted_types(file=path)
        if unknown and trust is not Trust.PICKLE:
            raise ModelRefused(f"it contains types that are not trusted: {', '.join(unknown)}")
        return skops.io.load(path, trusted=unknown)
    except ModelRefused:
        raise
    except Exception as error:  # a damaged file can fail in any way inside zip, JSON or NumPy
        raise ModelRefused(f"its file {path.name} cannot be loaded: {type(error).__name__}: {error}") from error


def _takes_arrays(estimator: Any, columns: int) -> bool:
    """Tell whether the estimator predicts from an array; one that looks columns up by their names refuses it.

    Where it does predict, the order is all that counts, and rows come in the order of the columns.
    """
    try:
        estimator.predict(np.zeros((1, columns)))
    except Exception:  # whatever it misses, a DataFrame is what it was fitted on
        return False
    return True


def _inside(folder: Path, name: Any) -> Path:
    """Return a file that a version names; it must be one of the version's own, which is what its signature covers."""
    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelRefused(f"its file {name!r} is not one of its own")
    return path


def _class_names(description: dict[str, Any], estimator: Any) -> list[str] | None:
    """Return the names of the classes 0, 1, …; raise ModelRefused where the estimator has classes that they do not name."""
    metadata = description.get("metadata")
    names = metadata.get("class_names") if isinstance(metadata, dict) else None
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelRefused(f"its class_names are {names!r}; expected a list of texts")
    for label in getattr(estimator, "classes_", []):
        if not isinstance(label, int | np.integer) or not 0 <= label < len(names):
            raise ModelRefused(f"its class_names do not name its class {label!r}; expected one for each of 0, 1, …")
    return names


def _columns(description: dict[str, Any]) -> list[str]:
    try:
        columns = json.loads(description["signature"]["inputs"])
        names = [column["name"] for column in columns]
        types = {column["type"] for column in columns}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelRefused("it has no signature with named columns; log it with one") from error
    if not types <= {"double", "float", "long", "integer"}:
        raise ModelRefused(f"its columns have the types {', '.join(sorted(types))}; this service serves numeric ones")
    return names


def _example(folder: Path, description: dict[str, Any], columns: list[str]) -> list[float]:
    """The first row of the version's input example, zeros where it has none."""
    try:
        info = description["saved_input_example_info"]
        row: list[float] = json.loads(_inside(folder, info["artifact_path"]).read_text())["data"][0]
        return row
    except (KeyError, TypeError, IndexError, OSError, ValueError):
        return [0.0] * len(columns)
