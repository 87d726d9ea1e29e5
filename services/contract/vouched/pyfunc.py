"""A version whose owner has vouched for its code: loaded by MLflow's pyfunc, which runs that code, and asked.

It is for processes in which that may happen: the sandbox of `adopt`, and a child of the prediction service.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


class Unusable(Exception):
    """A model has answered with what is no answer, which is its own fault, whatever it was asked."""


class PyFunc:
    """A model as MLflow's pyfunc has it, with answers that are arrays.

    Rows are a DataFrame with the signature's columns and types, or for a tensor signature an array of shape (rows, values). The
    model gets them as its signature has them. What its code raises comes through.
    """

    def __init__(self, folder: Path) -> None:
        """Load a version's folder: this runs code from its files."""
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        self._schema = self._model.metadata.get_input_schema()
        raw = _raw(self._model)
        self._session = raw if hasattr(raw, "get_inputs") and hasattr(raw, "run") else None
        # Those of a flavor's estimator with scikit-learn's interface.
        self._likely = raw if hasattr(raw, "predict_proba") and hasattr(raw, "classes_") else None

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of the probabilities, None where it has no probabilities."""
        return None if self._likely is None else np.asarray(self._likely.classes_).tolist()

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return one answer per row, of shape (rows,) or (rows, values); `params` are those of the signature."""
        if self._session is not None and hasattr(rows, "columns"):
            return answers(_outputs(self._session, rows), len(rows))
        return answers(self._model.predict(_as_logged(rows, self._schema), params=params), len(rows))

    def probabilities(self, rows: Any) -> np.ndarray:
        """Return the probability of each class, shape (rows, classes); raise Unusable where it answers with something else."""
        given: Any = self._likely.predict_proba(rows)  # type: ignore[union-attr]
        found, expected = _of_numbers(given), (len(rows), len(self.classes or ()))
        if found.shape != expected:
            raise Unusable(f"its probabilities have the shape {found.shape}; expected {expected}")
        return found


def _as_logged(rows: Any, schema: Any) -> Any:
    """Return rows as a signature has them: an array in its shape, records of an object, columns with the names that they have."""
    if schema.is_tensor_spec():
        return rows.reshape(-1, *schema.inputs[0].shape[1:])
    if schema.has_input_names():
        return rows
    if hasattr(schema.inputs[0].type, "properties"):
        return rows.astype(object).where(rows.notna(), None).to_dict("records")
    return rows.set_axis(range(rows.shape[1]), axis=1)


# The types of a graph's inputs that columns come as; others come as they are.
ONNX_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def _outputs(session: Any, rows: Any) -> dict[str, Any]:
    """Return what an ONNX session answers to a table, by the names of its outputs.

    The flavor's own pyfunc hands a table's columns over as vectors, and lays each output out as one column: it has no answer where the
    graph takes columns of the shape (rows, 1), as converted pipelines do, or answers with more than one value per row.
    """
    inputs, names = session.get_inputs(), [output.name for output in session.get_outputs()]
    if len(inputs) == 1:
        given = {inputs[0].name: rows.to_numpy()}
    else:
        given = {one.name: _of_rank(rows[one.name].to_numpy(), len(one.shape)) for one in inputs}
    feeds = {one.name: _of_type(given[one.name], ONNX_TYPES.get(one.type)) for one in inputs}
    return dict(zip(names, session.run(names, feeds), strict=True))


def _of_type(values: np.ndarray, wanted: Any) -> np.ndarray:
    return values if wanted is None else values.astype(wanted, copy=False)


def _of_rank(column: np.ndarray, rank: int) -> np.ndarray:
    return column[:, None] if rank == 2 else column


def _raw(model: Any) -> Any:
    """Return what a flavor has loaded, None where it does not hand it out."""
    try:
        return model.get_raw_model()
    except NotImplementedError:
        return None


def answers(found: Any, count: int) -> np.ndarray:
    """Return whatever a pyfunc has answered to so many rows as an array of shape (rows,) or (rows, values).

    A table, a mapping of outputs and a list of records have their columns side by side; what is one value wide is (rows,).
    Numbers are of 64 bits, times texts. Raises Unusable for what is not one answer per row, of plain values.
    """
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        found = _columns_of(found)
    if hasattr(found, "columns") and hasattr(found, "to_numpy"):
        found = {j: found.iloc[:, j] for j in range(len(found.columns))}
    if isinstance(found, dict):
        found = _beside([_array(part, count) for part in found.values()])
    array = _array(found, count)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array


def _columns_of(records: list[dict[Any, Any]]) -> dict[Any, list[Any]]:
    if any(row.keys() != records[0].keys() for row in records):
        raise Unusable("its answers are records that have not all the same keys")
    return {key: [row[key] for row in records] for key in records[0]}


def _beside(parts: list[np.ndarray]) -> np.ndarray:
    """Return outputs side by side: numbers as those of one type, and beside texts each value as it is."""
    if not parts:
        raise Unusable("it answers with nothing")
    return np.column_stack(parts)


def _array(found: Any, count: int) -> np.ndarray:
    """Return one output: one value, or one list of values, per row."""
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return answers(found, count)  # an ONNX classifier's probabilities
    array = found.to_numpy() if hasattr(found, "to_numpy") else _of_values(found)
    if array.ndim not in (1, 2) or len(array) != count:
        raise Unusable(
            f"it answers {count} rows with the shape {array.shape}; expected one answer, or one list, per row"
        )
    kind = array.dtype.kind
    if kind == "f":
        return array.astype(np.float64)
    if kind == "M":
        return _texts_of_times(array)
    if kind in "iub":
        return array
    if kind not in "OU":
        raise Unusable(f"its answers are of the type {array.dtype}; expected numbers, texts, true and false, and times")
    return _plain(array)


def _of_numbers(found: Any) -> np.ndarray:
    try:
        return np.asarray(found, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise Unusable(f"its probabilities are no numbers: {error}") from error


def _of_values(found: Any) -> np.ndarray:
    try:
        array = np.asarray(found)
    except ValueError as error:  # lists of different lengths
        raise Unusable(f"its answers are no table: {error}") from error
    # Of a number and a text NumPy makes two texts.
    is_mixed = array.dtype.kind == "U" and isinstance(found, Iterable) and not isinstance(found, np.ndarray)
    return np.array(found, dtype=object) if is_mixed else array


def _texts_of_times(array: np.ndarray) -> np.ndarray:
    texts = np.datetime_as_string(array.astype("datetime64[us]")).astype(object)
    texts[np.isnat(array)] = None
    return texts


def _plain(array: np.ndarray) -> np.ndarray:
    """Return objects as the values that JSON has."""
    plain = np.empty(array.size, dtype=object)
    plain[:] = [_value(one) for one in array.ravel()]
    return plain.reshape(array.shape)


def _value(one: Any) -> Any:
    one = one.item() if isinstance(one, np.generic) else one
    if type(one).__name__ == "NAType" or one != one:  # what pandas has for what is missing
        return None
    if one is None or isinstance(one, bool | int | float | str):
        return one
    if hasattr(one, "isoformat"):
        return one.isoformat()
    raise Unusable(f"one of its answers is a {type(one).__name__}; expected a number, a text, true or false, or a time")
