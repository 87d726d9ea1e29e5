"""A version's files, loaded: from rows to answers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from contract.display import visible
from contract.errors import Refused
from contract.file_names import BACKGROUND, GOLDEN
from contract.golden import Answers, difference
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.process.imports import import_once
from contract.schema import Kind
from contract.version_files import VersionFiles

from inference.errors import InvalidInput, ModelRefused, refusing
from inference.model import pacing
from inference.model.engines import onnx
from inference.rows import Rows, from_cells
from inference.trust import Trust, Trusted

if TYPE_CHECKING:  # importing them is what is to be avoided
    from inference.model.engines.pyfunc import PyFunc
    from inference.model.engines.sklearn import Pipeline


class Prediction(NamedTuple):
    """What a model answers to some rows."""

    labels: np.ndarray | None
    """one label or value per row, None where they are not wanted"""
    probabilities: np.ndarray | None
    """the probability of each class, shape (rows, classes); None where they are not wanted"""
    engine: str
    """what computed them: onnx, scikit-learn or pyfunc"""


@dataclass(frozen=True)
class Model:
    """What answers for a version: its ONNX engine, its scikit-learn pipeline or its own code, or the first beside the second."""

    description: Description
    onnx_engine: onnx.OnnxEngine | None
    pipeline: "Pipeline | PyFunc | None"
    """None where the ONNX engine answers all that the model takes"""
    reason: str
    """why it is this one that answers"""
    row_seconds: tuple[float, float] = (0.0, 0.0)
    """what one more row takes the ONNX engine and the pipeline, 0 where that is not known"""
    most_seconds: float = math.inf
    """how long it may take to predict what one request asks for"""
    row_values: float = 0.0
    """how many values a row becomes before the last step of an estimator has it"""
    background: Rows | None = None
    """rows of the training data that stand for all others in explanations, None where the version has none"""

    @property
    def engine(self) -> str:
        return "onnx" if self.onnx_engine else self.pipeline.name  # type: ignore[union-attr]

    @property
    def runs_code(self) -> bool:
        """Whether it runs code of its own, of which nobody knows how long one row takes."""
        return self.description.runs_code

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of the probabilities, None where the model has no probabilities."""
        if self.onnx_engine and self.onnx_engine.classes is not None:
            return self.onnx_engine.classes
        return self.pipeline.classes if self.pipeline else None

    @property
    def class_names(self) -> list[str] | None:
        """The names in the order of the probabilities, None where the model has no probabilities."""
        named = self.description.class_names
        if (classes := self.classes) is None:
            return None
        return [str(label) if named is None else named[int(label)] for label in classes]

    def answer(self, rows: Rows, labels: bool = True, probabilities: bool = False) -> Prediction:
        """Return what is wanted of labels and probabilities.

        Raises InvalidInput for rows that the estimator itself refuses, and where the model has no probabilities: they are
        the wrong question to this model.
        """
        if probabilities and self.classes is None:
            raise InvalidInput("the model has no class probabilities; POST /invocations has its predictions")
        engine = "onnx" if self._is_for_onnx_engine(rows) else self.pipeline.name  # type: ignore[union-attr]
        return Prediction(
            self._labels(rows, engine) if labels else None,
            self._probabilities(rows, engine) if probabilities else None,
            engine,
        )

    def predict(self, rows: Rows) -> np.ndarray:
        """Return one prediction per row; raise InvalidInput for rows that the estimator itself refuses."""
        return self._labels(rows, "onnx" if self._is_for_onnx_engine(rows) else "")

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return the probability of each class, shape (rows, classes); raise InvalidInput where the model has none."""
        return self.answer(rows, labels=False, probabilities=True).probabilities  # type: ignore[return-value]

    def _labels(self, rows: Rows, engine: str) -> np.ndarray:
        if engine == "onnx":
            return _wide(self._in_time(self.onnx_engine.labels, rows, self.row_seconds[0]))  # type: ignore[union-attr]
        return _wide(self._in_time(self.pipeline.labels, rows, self.row_seconds[1]))  # type: ignore[union-attr]

    def _probabilities(self, rows: Rows, engine: str) -> np.ndarray:
        if engine == "onnx" and len(self.onnx_engine.outputs) > 1:  # type: ignore[union-attr]
            return _wide(self._in_time(self.onnx_engine.probabilities, rows, self.row_seconds[0]))  # type: ignore[union-attr]
        return _wide(self._in_time(self.pipeline.probabilities, rows, self.row_seconds[1]))  # type: ignore[union-attr]

    def takes_long(self, rows: Rows) -> bool:
        """Tell whether these rows take longer than others are to wait for them."""
        if len(rows) * max(self.row_seconds) <= pacing.LONG_SECONDS:
            return False
        return len(rows) * self.row_seconds[0 if self._is_for_onnx_engine(rows) else 1] > pacing.LONG_SECONDS

    def _in_time(self, ask: pacing.Ask, rows: Rows, seconds: float) -> np.ndarray:
        count = len(rows)
        # Nobody knows whether a model's own code answers each row by itself, so it has all of them, and its process an end.
        if self.runs_code or (count * seconds <= pacing.PART_SECONDS and count * self.row_values <= pacing.PART_VALUES):
            return ask(rows)
        return pacing.in_parts(ask, rows, pacing.part_rows(seconds, self.row_values), self.most_seconds)

    def _is_for_onnx_engine(self, rows: Rows) -> bool:
        return self.onnx_engine is not None and (self.pipeline is None or self.onnx_engine.is_proven_on(rows))


def _wide(values: np.ndarray) -> np.ndarray:
    """Return floats as the 64-bit ones that they are in JSON."""
    return values.astype(np.float64) if values.dtype == np.float32 else values


@refusing()
def load(
    files: VersionFiles, trusted: Trusted, most_seconds: float = math.inf, known: Description | None = None
) -> Model:
    """Load the files of a version (docs/model-contract.md) and try it; raise ModelRefused where it cannot be served.

    It answers one request for so many seconds at most. `known` is what whoever verified these files has read in them: to
    read it again would be a quarter of what it takes to load them.
    """
    description = manifest.with_examples(known, files) if known else manifest.read(files)
    model = _with_engine(files, description, trusted, most_seconds)
    golden = _golden(files, description)
    background = _background(files, description)
    model = replace(model, row_values=_row_values(model, golden), most_seconds=most_seconds, background=background)
    if golden is None:
        return model
    for each in _engines(model):
        _check(each, golden)
    if model.runs_code:
        model = replace(model, description=_as_seen(description, model.predict(golden.rows)))
    if model.pipeline is not None:
        model = replace(model, pipeline=model.pipeline.with_fast_path(golden.rows))
    paces = [_row_seconds(each, golden.rows) for each in _engines(model)]
    by_onnx_engine = paces[0] if model.onnx_engine else 0.0
    return replace(model, row_seconds=(by_onnx_engine, paces[-1] if model.pipeline else 0.0))


def _with_engine(files: VersionFiles, description: Description, trusted: Trusted, most_seconds: float) -> Model:
    if description.runs_code:
        from inference.model.engines import pyfunc

        reason = f"its owner vouched for its code, loaded by {visible(description.flavor['loader_module'], 100)}"
        return Model(description, None, pyfunc.load(files, description, trusted, most_seconds), reason)
    if trusted.trust is not Trust.SIGNED:
        # The proof is as good as the signature that covers it.
        reason = f"an ONNX engine is used where its version's signature was checked, and MODEL_TRUST is {trusted.trust}"
        return Model(description, None, _pipeline(files, description, trusted), reason)
    reason = visible(str(description.onnx_engine.get("reason", "")))
    if not onnx.is_kept(description):
        return Model(description, None, _pipeline(files, description, trusted), f"no ONNX engine: {reason}")
    # Whether or not it is loaded: without it, the trainer would refuse.
    manifest.estimator_file(files, description.flavor)
    beside = None if onnx.stands_alone(description) else _pipeline(files, description, trusted)
    return Model(description, onnx.load(files, description), beside, reason)


def _pipeline(files: VersionFiles, description: Description, trusted: Trusted) -> "Pipeline":
    import_once("inference.model.engines.sklearn")
    from inference.model.engines import sklearn

    return sklearn.load(files, description, trusted)


def _engines(model: Model) -> Iterator[Model]:
    """Yield the model as each of its engines alone answers for it."""
    yield model
    if model.onnx_engine and model.pipeline:
        yield replace(model, onnx_engine=None)


def _row_values(model: Model, golden: "_Golden | None") -> float:
    """Return how many values a row becomes; what an ONNX engine makes of a text is not known."""
    if model.pipeline and golden and (found := model.pipeline.row_values(golden.rows)):
        return found
    columns = model.description.columns
    return len(columns) + pacing.VALUES_PER_TEXT * sum(column.kind is Kind.TEXT for column in columns)


def _row_seconds(model: Model, rows: Rows) -> float:
    """Return what one more row takes the model, for predictions or probabilities."""
    methods = [model.predict] if model.classes is None else [model.predict, model.probabilities]
    return max(pacing.row_seconds(method, rows) for method in methods)


@dataclass(frozen=True)
class _Golden:
    """Rows with the answers that the model gave when it was trained; a version logged by hand may have rows alone."""

    rows: Rows
    answers: Answers
    tolerance: float


def _golden(files: VersionFiles, description: Description) -> _Golden | None:
    """Return a version's golden samples, or its input example in their place; None where it has neither."""
    if GOLDEN not in files and not description.examples:
        return None
    try:
        answers: dict[str, Any] = {"instances": description.examples}
        if GOLDEN in files:
            answers = files.json(GOLDEN)
        lists = _lists(answers["instances"], len(description.columns))
        rows = from_cells(lists, description.columns, lambda i, j: f"instances[{i}][{j}]")
        truth = Answers.of(answers)
        is_answered = truth.labels is not None or truth.probabilities is not None
        return _Golden(rows, truth, float(answers["tolerance"]) if is_answered else 0.0)
    except (Refused, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise _untried(error) from error


def _as_seen(description: Description, answers: np.ndarray) -> Description:
    """Return a description with the type and the width of the answers that code gives: its signature need not say, nor be right."""
    types = {"b": "boolean", "i": "long", "u": "long", "f": "double"}
    is_text = answers.dtype.kind == "O" and all(isinstance(value, str) for value in answers.flat)
    output = "string" if is_text else types.get(answers.dtype.kind, "")
    return replace(description, output=output, width=answers.size // len(answers))


def _background(files: VersionFiles, description: Description) -> Rows | None:
    if BACKGROUND not in files:
        return None
    try:
        lists = _lists(files.json(BACKGROUND)["instances"], len(description.columns))
        return from_cells(lists, description.columns, lambda i, j: f"instances[{i}][{j}]")
    except (Refused, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise ModelRefused(f"its file {BACKGROUND} cannot be read: {visible(str(error))}") from error


def _lists(instances: Any, width: int) -> list[list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise ValueError("they are no list of rows")
    if any(not isinstance(row, list) or len(row) != width for row in instances):
        raise ValueError(f"they are not lists of {width} values each")
    return instances


def _untried(error: Exception) -> ModelRefused:
    return ModelRefused(f"its golden samples cannot be tried: {type(error).__name__}: {visible(str(error))}")


def _check(model: Model, golden: _Golden) -> None:
    """Raise ModelRefused unless the model answers its golden samples, and as it did when it was trained.

    An ONNX engine is as close to the pipeline as it was proven to be, and no closer.
    """
    truth, record = golden.answers, model.description.onnx_engine
    tolerance, scale = golden.tolerance, 1.0
    if model.onnx_engine:
        tolerance, scale = record.get("tolerance", tolerance), record.get("scale", scale)
    try:
        found = Answers(
            model.predict(golden.rows), None if truth.probabilities is None else model.probabilities(golden.rows)
        )
        fault = difference(found, truth, tolerance, scale).fault(tolerance)
    except Exception as error:  # an estimator may fail in any way, and so may what its answers are compared with
        raise _untried(error) from error
    if fault is not None:
        raise ModelRefused(f"it does not reproduce its golden samples: {fault}")
