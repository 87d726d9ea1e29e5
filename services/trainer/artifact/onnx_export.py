"""The ONNX engine of a pipeline: an accelerator that each model earns by proof, never by trust.

The pipeline is converted, and both answer the same rows: training rows, random rows in and beyond their range, and edge
rows (the extremes of the input domain, missing values and every category where they are accepted, ties), the golden samples
among them. The ONNX engine is kept only where its answers are the same by the rule of contract/golden.py: the one by which the
service looks at it again. What was measured is recorded either way (docs/model-contract.md).
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Any

import numpy as np
import pandas as pd
from contract import schema
from contract.golden import Answers, Difference, difference, scale_of
from contract.proof import rows as proof
from contract.schema import LARGEST, MISSING_TEXT, UNKNOWN_TEXT
from sklearn.pipeline import Pipeline

from trainer.artifact import environment, golden_samples, onnx_converters
from trainer.data.table import SEED, Column, Kind, Task

TOLERANCE = 1e-5
MOST_ROWS, RANDOM_ROWS, MOST_MIDDLES = 2_000, 1_000, 100
# Up to which size of a number the ONNX engine is proven: where the whole domain is not, as much of it as is. Larger ones are
# the pipeline's.
LIMITS = (LARGEST, 1e15, 1e6)
# Doubles in plain matrix operations are exact, but fewer converters know them. Trees are another matter: scikit-learn's
# compare in float32 whatever they are given, and so do XGBoost's; only a float32 ONNX engine falls on the same side of every
# threshold. LightGBM's compare in doubles.
FORMS: tuple[tuple[str, frozenset[str]], ...] = (
    ("float64", frozenset({"LinearClassifier", "LinearRegressor", "Scaler", "Normalizer"})),
    ("float32", frozenset()),
)
IN_FLOATS = ("sklearn.tree", "sklearn.ensemble", "contract.boosting.xgboost_estimators")


@dataclass(frozen=True)
class OnnxExport:
    """A proven ONNX engine, or the reason why there is none."""

    content: bytes | None
    """the ONNX model, None where nothing was proven"""
    record: dict[str, Any]
    """kept, reason, input (float64 or float32), limit, tolerance, rows, scale, labels_differ, largest_difference"""


@dataclass(frozen=True)
class Subject:
    """A fitted estimator that is to be converted, and what it takes and gives."""

    estimator: Any
    columns: Sequence[Column]
    task: Task
    is_named: bool = True
    """whether it takes its columns by their names, or an array"""
    is_single: bool = False
    """whether it is given 32-bit numbers, so that an ONNX engine has to take the same"""


@dataclass(frozen=True)
class _Proof:
    rows: int
    difference: Difference
    scale: float
    fault: str | None


def make(estimator: Any, columns: Sequence[Column], features: pd.DataFrame, task: Task) -> OnnxExport:
    """Return the ONNX engine of a fitted pipeline, proven on rows made from the features that it was fitted on.

    It never raises: an estimator that cannot be converted has no ONNX engine, and the record says why.
    """
    return proven(Subject(estimator, columns, task), partial(proof_rows, columns, features))


def proven(subject: Subject, rows_up_to: Callable[[float], pd.DataFrame]) -> OnnxExport:
    """Return the ONNX engine of an estimator, proven on the rows that there are with numbers up to a size; never raise."""
    if unknown := environment.own_steps(subject.estimator):
        return OnnxExport(None, {"kept": False, "reason": f"ONNX has no operator for {', '.join(unknown)}"})
    reasons = []
    for form, avoided in FORMS[1 if subject.is_single else _first_form(subject.estimator) :]:
        try:
            content = _converted(subject.estimator, subject.columns, form, avoided)
            for limit in LIMITS:
                proof = _prove(content, subject, rows_up_to(limit), form)
                if proof.fault is None:
                    record = _record(True, f"proven on {proof.rows} rows", form, limit, proof)
                    return OnnxExport(content, record | {"classes": _classes(subject.estimator)})
            reasons.append(f"{form}: {proof.fault}")
        except Exception as error:  # converters and runtimes fail in any way
            reasons.append(f"{form}: {type(error).__name__}: {_first_line(str(error))}")
    return OnnxExport(None, {"kept": False, "reason": "; ".join(dict.fromkeys(reasons))})


def _classes(estimator: Any) -> list[Any] | None:
    """Return the labels in the order of the probabilities; None where there are no probabilities."""
    return np.asarray(estimator.classes_).tolist() if hasattr(estimator, "predict_proba") else None


def _first_form(estimator: Any) -> int:
    last = _last(estimator)
    return 1 if type(last).__module__.startswith(IN_FLOATS) else 0


def _last(estimator: Any) -> Any:
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def run(
    content: bytes, columns: Sequence[Column], features: pd.DataFrame, form: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return labels or values of shape (rows,), and probabilities of shape (rows, classes) where the model has them."""
    return _ask(_session(content), columns, features, form)


def _record(kept: bool, reason: str, form: str, limit: float, proof: _Proof) -> dict[str, Any]:
    return {
        "kept": kept,
        "reason": reason,
        "input": form,
        "limit": limit,
        "tolerance": TOLERANCE,
        "rows": proof.rows,
        "scale": proof.scale,
        "labels_differ": proof.difference.labels,
        "largest_difference": proof.difference.largest,
    }


def _first_line(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return lines[0][:200]


# --- conversion ----------------------------------------------------------------------------------------------------


def _converted(estimator: Any, columns: Sequence[Column], form: str, avoided: frozenset[str]) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    onnx_converters.register()
    number = DoubleTensorType if form == "float64" else FloatTensorType
    if _is_one_tensor(columns):
        inputs = [("rows", number([None, len(columns)]))]
    else:
        kinds = [StringTensorType if column.kind is Kind.TEXT else number for column in columns]
        inputs = [(column.name, kind([None, 1])) for column, kind in zip(columns, kinds, strict=True)]
    last = _last(estimator)
    options = {id(last): {"zipmap": False}} if hasattr(last, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert_sklearn(
            estimator, name="onnx_engine", initial_types=inputs, options=options, black_op=set(avoided) or None
        )
    _give_names(model.graph, [name for name, _ in inputs])
    # The converter lists them in the order of a set, which differs from process to process; what was learnt has one digest.
    model.opset_import.sort(key=lambda opset: opset.domain)
    content: bytes = model.SerializeToString()
    return content


def _give_names(graph: Any, names: Sequence[str]) -> None:
    """Name a graph's inputs as what it is fed: of 'total charges (EUR)' the converter has made total_charges__EUR_.

    What else has such a name, as an output `label` and a feature that is called so, gets another one: outputs are told by their order.
    """
    given = dict(zip((each.name for each in graph.input), names, strict=True))
    made = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    taken = {*made, *names}
    for name in sorted(made & set(names)):
        given[name] = next(free for i in count(1) if (free := f"{name}_{i}") not in taken)
        taken.add(given[name])
    for each in (*graph.input, *graph.output, *graph.initializer):
        each.name = given.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]
        node.output[:] = [given.get(name, name) for name in node.output]


def _is_one_tensor(columns: Sequence[Column]) -> bool:
    return all(column.kind is not Kind.TEXT for column in columns)


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _ask(
    session: Any, columns: Sequence[Column], features: pd.DataFrame, form: str
) -> tuple[np.ndarray, np.ndarray | None]:
    if _is_one_tensor(columns):
        feed = {"rows": features.astype("float64").to_numpy().astype(form)}
    else:
        feed = {column.name: _tensor(column, features[column.name], form) for column in columns}
    outputs = session.run(None, feed)
    values = np.asarray(outputs[0])
    values = values.ravel() if values.ndim > 1 and values.shape[1] == 1 else values
    return values, np.asarray(outputs[1]) if len(outputs) > 1 else None


def _tensor(column: Column, values: pd.Series, form: str) -> np.ndarray:
    if column.kind is Kind.TEXT:
        words = values.astype(object)
        if column.missing:
            words = words.where(words != MISSING_TEXT, UNKNOWN_TEXT)
        return words.where(values.notna(), MISSING_TEXT).to_numpy().reshape(-1, 1)
    return values.astype("float64").to_numpy().astype(form).reshape(-1, 1)


# --- proof ---------------------------------------------------------------------------------------------------------


def _prove(content: bytes, subject: Subject, rows: pd.DataFrame, form: str) -> _Proof:
    session, estimator, is_regression = _session(content), subject.estimator, subject.task is Task.REGRESSION
    asked = rows if subject.is_named else rows.to_numpy()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        truth = np.asarray(estimator.predict(asked)).ravel()
        likely = estimator.predict_proba(asked) if hasattr(estimator, "predict_proba") else None
    found, probabilities = _ask(session, subject.columns, rows, form)
    alone, _ = _ask(session, subject.columns, rows.head(1), form)
    scale = scale_of(truth) if is_regression else 1.0
    # Labels are equal or not, numbers too.
    labels = truth if is_regression else truth.astype(object)
    apart = difference(Answers(found, probabilities), Answers(labels, likely), TOLERANCE, scale)
    fault = apart.fault(TOLERANCE)
    if found.shape != truth.shape or alone[0] != found[0]:
        fault = "it answers one row otherwise than many"
    elif found.dtype.kind != truth.dtype.kind and not {found.dtype.kind, truth.dtype.kind} <= set("OUT"):
        fault = f"its labels are {found.dtype}, and not {truth.dtype}"
    return _Proof(len(rows), apart, scale, fault)


def proof_rows(columns: Sequence[Column], features: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Return the rows that an ONNX engine is proven on, with numbers up to `limit` in size; the same ones each time."""
    seen = features.sample(min(MOST_ROWS, len(features)), random_state=SEED)
    golden = golden_samples.golden_rows(features)
    known = [_known(column, features[column.name], limit) for column in columns]
    made = chain.from_iterable(proof.kinds(known, golden_samples.as_json(seen.head(MOST_MIDDLES + 1)), RANDOM_ROWS))
    others = pd.DataFrame(np.array(list(made), dtype=object), columns=seen.columns)
    rows = pd.concat([frame.astype(object) for frame in (seen, golden, others)], ignore_index=True)
    typed = {column.name: _as_trained(column, rows[column.name], limit) for column in columns}
    return pd.DataFrame(typed)


def _known(column: Column, values: pd.Series, limit: float) -> proof.Known:
    present = values.dropna()
    is_range = column.kind is Kind.NUMBER and len(present)
    seen = [present.min(), present.max()] if is_range else present.unique().tolist()
    return proof.Known(schema.column(column.name, column.kind, column.missing), seen, limit)


def _as_trained(column: Column, values: pd.Series, limit: float) -> pd.Series:
    if column.kind is Kind.NUMBER:
        return values.astype("float64").clip(-limit, limit)
    if column.kind is Kind.TEXT:
        return values.astype("str")
    return values.where(values.notna(), None) if column.missing else values.astype(bool)
