"""A model version's files, loaded: from rows to answers."""

import json
import logging
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import skops.io
import yaml

from inference import twin as twins
from inference.errors import InvalidInput, ModelRefused
from inference.registry import ModelVersion
from inference.rows import Column, Kind, from_instances
from inference.trust import HARMLESS_TYPES, TRUSTED_TYPES, Trust, check_signature

log = logging.getLogger("inference")

# Rows that get here are finite (inference.rows), and in the columns' order.
sklearn.set_config(assume_finite=True)
warnings.filterwarnings("ignore", message="X does not have valid feature names")


# The column types of a signature, and what they are in a request.
KINDS = {
    "double": Kind.NUMBER,
    "float": Kind.NUMBER,
    "long": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
}
# Part of the contract with the trainer (docs/model-contract.md).
GOLDEN = "golden.json"


@dataclass(frozen=True)
class Model:
    """A scikit-learn estimator with what the version says about its input and output."""

    estimator: Any
    columns: list[Column]
    """the features, in the order that rows have"""
    class_names: list[str] | None
    """the name of class i; None where the version carries no names"""
    example: list[Any]
    """one row that the model takes, for people to try"""
    takes_arrays: bool = False
    """whether the estimator takes the columns by their order alone, which is five times as fast as by their names"""
    twin: twins.Twin | None = None
    """what answers in the estimator's place, as it would and ten times as fast; None where that is not proven"""

    def predict(self, rows: list[list[Any]]) -> list[Any]:
        """Return one prediction per row, as rows.from_instances gives them; raise InvalidInput for those it refuses."""
        answer = self.twin and self.twin.ask(rows)
        found = answer[0] if answer else _asked(self.estimator.predict, self._input(rows))
        predictions: list[Any] = found.tolist()
        return predictions

    def predict_names(self, rows: list[list[Any]]) -> tuple[list[str], list[dict[str, float]]]:
        """Return, per row, the name of the likeliest class and every class's probability.

        Raises InvalidInput where the model has no probabilities: it is the wrong question to this model.
        """
        if not hasattr(self.estimator, "predict_proba"):
            kind = type(self.estimator).__name__
            raise InvalidInput(
                f"the model, a {kind}, has no class probabilities; POST /invocations has its predictions"
            )
        answer = self.twin and self.twin.ask(rows)
        if answer and answer[1] is not None:
            probabilities = answer[1]
        else:
            probabilities = _asked(self.estimator.predict_proba, self._input(rows))
        names = [self._name(label) for label in self.estimator.classes_]
        best = probabilities.argmax(axis=1)
        return [names[i] for i in best], [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]

    def _input(self, rows: list[list[Any]]) -> np.ndarray | pd.DataFrame:
        if self.takes_arrays:
            return np.array(rows, dtype=np.float64)  # None becomes NaN
        cells = zip(self.columns, zip(*rows, strict=True), strict=True)
        return pd.DataFrame({column.name: _series(column, list(values)) for column, values in cells})

    def _name(self, label: Any) -> str:
        return str(label) if self.class_names is None else self.class_names[int(label)]


def _series(column: Column, values: list[Any]) -> pd.Series:
    """Return a column as the trainer had it; a boolean one with missing values is one of objects."""
    dtypes = {Kind.NUMBER: "float64", Kind.TEXT: "str"}
    return pd.Series(values, dtype=dtypes.get(column.kind, "object" if None in values else "bool"))


def _asked(method: Callable[[Any], np.ndarray], rows: Any) -> np.ndarray:
    """Let the estimator answer; what it refuses itself, such as a category that it does not know, is the request's fault."""
    try:
        return method(rows)
    except ValueError as error:
        raise InvalidInput(f"the model does not take these rows: {str(error).splitlines()[0]}") from error


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
    model = Model(
        estimator=estimator,
        columns=columns,
        class_names=_class_names(description, estimator),
        example=_example(folder, description, columns),
        takes_arrays=_takes_arrays(estimator, columns),
        # The proof is as good as the signature that covers it.
        twin=twins.load(folder, columns) if trust is Trust.SIGNED else None,
    )
    _check_golden(model, folder)
    if model.twin:
        _check_golden(replace(model, twin=None), folder)
    return model


def _check_golden(model: Model, folder: Path) -> None:
    """Raise ModelRefused unless the model gives the answers that it gave when it was trained."""
    path = folder / GOLDEN
    if not path.exists():  # a version that was logged by hand
        return
    try:
        golden = json.loads(path.read_text())
        rows = from_instances({"instances": golden["instances"]}, model.columns)
        predicted, expected = model.predict(rows), golden["predictions"]
        same = _close(predicted, expected, golden["tolerance"])
        if same and "probabilities" in golden:
            found = [list(row.values()) for row in model.predict_names(rows)[1]]
            same = _close(found, golden["probabilities"], golden["tolerance"])
    except (OSError, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise ModelRefused(f"its golden rows cannot be tried: {type(error).__name__}: {error}") from error
    if not same:
        raise ModelRefused("it does not reproduce its golden rows: it answers otherwise than when it was trained")


def _close(found: list[Any], expected: list[Any], tolerance: float) -> bool:
    numbers = np.asarray(expected)
    if numbers.dtype.kind == "f":
        return bool(np.allclose(found, numbers, rtol=tolerance, atol=tolerance))
    return found == expected


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
        needed = skops.io.get_untrusted_types(file=path)
        trusted = TRUSTED_TYPES if trust is Trust.SIGNED else HARMLESS_TYPES
        unknown = sorted(set(needed) - set(trusted))
        if unknown and trust is not Trust.PICKLE:
            raise ModelRefused(f"it contains types that are not trusted: {', '.join(unknown)}")
        return skops.io.load(path, trusted=needed)
    except ModelRefused:
        raise
    except Exception as error:  # a damaged file can fail in any way inside zip, JSON or NumPy
        raise ModelRefused(f"its file {path.name} cannot be loaded: {type(error).__name__}: {error}") from error


def _takes_arrays(estimator: Any, columns: list[Column]) -> bool:
    """Tell whether the estimator predicts from an array; one that looks columns up by their names refuses it.

    Where it does predict, the order is all that counts, and rows come in the order of the columns.
    """
    if any(column.kind is Kind.TEXT for column in columns):
        return False
    try:
        estimator.predict(np.zeros((1, len(columns))))
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


def _columns(description: dict[str, Any]) -> list[Column]:
    try:
        inputs = json.loads(description["signature"]["inputs"])
        found = [(column["name"], column["type"], column.get("required", True)) for column in inputs]
        unknown = sorted({str(kind) for _, kind, _ in found} - KINDS.keys())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelRefused("it has no signature with named columns; log it with one") from error
    if unknown:
        raise ModelRefused(f"its columns have the types {', '.join(unknown)}; this service serves {', '.join(KINDS)}")
    return [Column(name, KINDS[kind], not required) for name, kind, required in found]


def _example(folder: Path, description: dict[str, Any], columns: list[Column]) -> list[Any]:
    """The first row of the version's input example; zeros, false and empty text where it has none."""
    try:
        info = description["saved_input_example_info"]
        row: list[Any] = json.loads(_inside(folder, info["artifact_path"]).read_text())["data"][0]
        return row
    except (KeyError, TypeError, IndexError, OSError, ValueError):
        return [{Kind.NUMBER: 0.0, Kind.BOOLEAN: False, Kind.TEXT: ""}[column.kind] for column in columns]
