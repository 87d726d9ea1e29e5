"""The ONNX twin of a model: the same answers as the pipeline, proven by the trainer, without scikit-learn's overhead."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.rows import Column, Kind

# Part of the contract with the trainer (docs/model-contract.md).
FILE_NAME = "model.onnx"
RECORD = "twin.json"
# How a missing text is written where no value can be missing.
MISSING_TEXT = "nan"


@dataclass(frozen=True)
class Twin:
    """An ONNX session, and what rows it may be asked."""

    session: Any
    columns: list[Column]
    form: str
    """what numbers it takes: float64 or float32"""
    limit: float
    """up to which size of a number it is proven"""
    is_one_tensor: bool
    """whether it takes all columns at once, as it does where none is text"""

    def ask(self, rows: list[list[Any]]) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return labels or values of shape (rows,), and probabilities of shape (rows, classes) where it has them.

        None where a number is larger than what it is proven on: that is the pipeline's to answer.
        """
        feed = self._one_tensor(rows) if self.is_one_tensor else self._tensors(rows)
        if feed is None:
            return None
        outputs = self.session.run(None, feed)
        return outputs[0].ravel(), outputs[1] if len(outputs) > 1 else None

    def _one_tensor(self, rows: list[list[Any]]) -> dict[str, np.ndarray] | None:
        numbers = np.array(rows, dtype=np.float64)  # None becomes NaN
        return {"rows": numbers.astype(self.form, copy=False)} if self._within(numbers) else None

    def _tensors(self, rows: list[list[Any]]) -> dict[str, np.ndarray] | None:
        feed = {}
        for column, cells in zip(self.columns, zip(*rows, strict=True), strict=True):
            if column.kind is Kind.TEXT:
                texts = [MISSING_TEXT if cell is None else cell for cell in cells]
                feed[column.name] = np.array(texts, dtype=object).reshape(-1, 1)
                continue
            numbers = np.array(cells, dtype=np.float64)
            if not self._within(numbers):
                return None
            feed[column.name] = numbers.astype(self.form).reshape(-1, 1)
        return feed

    def _within(self, numbers: np.ndarray) -> bool:
        return not bool((np.abs(numbers) > self.limit).any())  # false for NaN, a missing value


def load(folder: Path, columns: list[Column]) -> Twin | None:
    """Return the twin in a version's folder, None where the version has none; raise ModelRefused where it is damaged."""
    try:
        record = json.loads((folder / RECORD).read_text()) if (folder / RECORD).exists() else {}
        if not record.get("kept"):
            return None
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests are what runs side by side
        session = onnxruntime.InferenceSession(
            (folder / FILE_NAME).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        is_one_tensor = all(column.kind is not Kind.TEXT for column in columns)
        return Twin(session, columns, record["input"], float(record["limit"]), is_one_tensor)
    except Exception as error:  # a damaged file can fail in any way inside the runtime
        raise ModelRefused(f"its ONNX twin cannot be loaded: {type(error).__name__}: {error}") from error
