"""The ONNX engine of a model: the same answers as the pipeline, proven by the trainer, without scikit-learn's overhead."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from contract.display import visible
from contract.file_names import ONNX_MODEL
from contract.mlmodel.manifest import Description, check_class_names
from contract.schema import LARGEST, MISSING_TEXT, UNKNOWN_TEXT, Column, Kind
from contract.version_files import VersionFiles

from inference.errors import ModelRefused
from inference.rows import Rows


@dataclass(frozen=True)
class OnnxEngine:
    """An ONNX session, and what rows it may be asked."""

    session: Any
    model: Description
    form: str
    """what numbers it takes: float64 or float32"""
    limit: float
    """up to which size of a number it is proven"""
    outputs: list[str]
    """the names of its outputs: labels or values, and probabilities where it has them"""
    classes: list[Any] | None
    """the labels in the order of the probabilities, None for a regression"""

    def labels(self, rows: Rows) -> np.ndarray:
        """Return labels or values of shape (rows,)."""
        found: np.ndarray = self.session.run(self.outputs[:1], self._feed(rows))[0]
        return found.ravel()

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return probabilities of shape (rows, classes)."""
        found: np.ndarray = self.session.run(self.outputs[1:], self._feed(rows))[0]
        return found

    def _feed(self, rows: Rows) -> dict[str, np.ndarray]:
        if rows.matrix is not None:
            return {"rows": rows.matrix.astype(self.form, copy=False)}
        if not self.model.takes_text:
            return {"rows": np.column_stack(rows.by_column).astype(self.form)}
        return {c.name: self._tensor(c, v) for c, v in zip(self.model.columns, rows.by_column, strict=True)}

    def _tensor(self, column: Column, values: np.ndarray) -> np.ndarray:
        if column.kind is Kind.TEXT:
            words = {None: MISSING_TEXT, MISSING_TEXT: UNKNOWN_TEXT if column.missing else MISSING_TEXT}
            values = np.array([words.get(value, value) for value in values], dtype=object)
        else:
            values = values.astype(self.form)
        return values.reshape(-1, 1)

    def is_proven_on(self, rows: Rows) -> bool:
        """Tell whether all numbers are within the size that the proof covers."""
        if self.limit >= LARGEST:
            return True
        arrays = [rows.matrix] if rows.matrix is not None else rows.by_column
        # False for NaN, a missing value, which the proof covers.
        return not any((np.abs(values) > self.limit).any() for values in arrays if values.dtype != object)


def is_kept(model: Description) -> bool:
    """Tell whether the version says that its ONNX engine was proven."""
    return bool(model.onnx_engine.get("kept"))


def stands_alone(model: Description) -> bool:
    """Tell whether an ONNX engine answers all that its model takes, so that the pipeline need not be loaded beside it."""
    return float(model.onnx_engine.get("limit", 0)) >= LARGEST and "classes" in model.onnx_engine


def load(files: VersionFiles, model: Description) -> OnnxEngine:
    """Return the ONNX engine among a version's files; raise ModelRefused where it is damaged."""
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests are what runs side by side
        options.enable_cpu_mem_arena = False  # it keeps what the largest request took, and makes none quicker
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(files.read(ONNX_MODEL), options, providers=["CPUExecutionProvider"])
        record = model.onnx_engine
        outputs = [output.name for output in session.get_outputs()]
        found = OnnxEngine(session, model, record["input"], float(record["limit"]), outputs, record.get("classes"))
    except Exception as error:  # a damaged file can fail in any way inside the runtime
        raise ModelRefused(
            f"its ONNX engine cannot be loaded: {type(error).__name__}: {visible(str(error))}"
        ) from error
    check_class_names(model, found.classes or [])
    return found
