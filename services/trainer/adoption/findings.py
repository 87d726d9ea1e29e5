"""What a check in the sandbox has found, taken from its answer: each part of the type and the size that it has to have.

The answer comes from where a stranger's model was loaded, so it may be anything. Nothing of it is written to a file that
is signed but words, numbers and switches of bounded length, in a structure that is made here.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import isfinite
from typing import Any

from contract import limits
from contract.display import visible
from contract.errors import Refused
from contract.file_names import MLMODEL
from contract.mlmodel.inputs import columns_of
from contract.schema import MOST_COLUMNS, TYPES
from contract.signature import own_file

from trainer.artifact import golden_samples, onnx_export

# What MLmodel may say beside what is written anew: words and switches, and no other one's code or environment.
KEPT: dict[str, type] = {
    "artifact_path": str,
    "run_id": str,
    "utc_time_created": str,
    "mlflow_version": str,
    "model_size_bytes": int,
    "is_signature_from_type_hint": bool,
    "type_hint_from_example": bool,
}
MOST_WORD = 500
MOST_NUMBER = 2**63 - 1
MOST_CLASSES = 10_000
# What MLflow has for a column that is no list and no object; what is answered may be more than what is taken.
SCALARS = {*TYPES, "binary"}
TENSOR = re.compile(r"[a-z]{1,20}[0-9]{0,3}")


@dataclass(frozen=True)
class Findings:
    """What the check has found of a version that can be served."""

    estimator: str
    """the path of its file"""
    example: str
    sha256: dict[str, str]
    """of both files, by their paths"""
    kept: dict[str, str | int | bool]
    """of KEPT, what its MLmodel has"""
    sklearn_version: str
    signature: dict[str, str | None]
    """the inputs and the outputs, as JSON text"""
    is_named: bool
    """whether the columns have names; those of a tensor signature are known by their order alone"""
    class_names: list[str] | None
    golden: dict[str, Any]
    onnx: dict[str, Any]
    """what was measured of its ONNX engine, and whether it has one"""

    @classmethod
    def of(cls, answer: Any, files: Collection[str]) -> "Findings":
        """Return what a sandbox has answered about these files; raise Refused where that is of another shape."""
        try:
            golden = golden_of(answer["golden"])
            estimator, example = (own_file(answer[name], files) for name in ("estimator", "example"))
            return cls(
                estimator,
                example,
                {path: _word(answer["sha256"][path]) for path in (estimator, example)},
                {name: _kept(value, KEPT[name]) for name, value in answer["kept"].items()},
                _word(answer["sklearn_version"], 20),
                _signature(answer["signature"]),
                columns_of(answer)[1],
                _class_names(answer["class_names"]),
                golden,
                _onnx(answer["onnx"], golden),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Refused(f"the check gave no answer that can be used: {error!s:.200}") from error


def _signature(found: Any) -> dict[str, str | None]:
    """Return a signature's texts, written anew from those of a version."""
    inputs, outputs = found["inputs"], found["outputs"]
    if any(len(text) > limits.limit_of(MLMODEL) for text in (inputs, outputs) if text is not None):
        raise ValueError("its signature is too long")
    columns, is_named = columns_of({"signature": {"inputs": inputs}})
    plain: list[dict[str, Any]] = [
        {"type": column.type_name, "name": _word(column.name), "required": not column.missing} for column in columns
    ]
    if not is_named:
        plain = [{"type": "tensor", "tensor-spec": {"dtype": columns[0].dtype(), "shape": [-1, len(columns)]}}]
    return {"inputs": json.dumps(plain), "outputs": _outputs(outputs), "params": None}


def _outputs(text: Any) -> str | None:
    if text is None:
        return None
    found = json.loads(text)
    if not isinstance(found, list) or len(found) > MOST_COLUMNS:
        raise ValueError("its outputs are no list of columns")
    return json.dumps([_output(one) for one in found])


def _output(found: dict[str, Any]) -> dict[str, Any]:
    name = {"name": _word(found["name"])} if "name" in found else {}
    if found["type"] in SCALARS:
        return {"type": found["type"], **name, "required": _kept(found.get("required", True), bool)}
    spec = found["tensor-spec"]
    if found["type"] != "tensor" or not TENSOR.fullmatch(spec["dtype"]):
        raise ValueError("its outputs are of a type that is not known")
    shape = _list(spec["shape"], lambda size: _kept(size, int), 8)
    return {"type": "tensor", **name, "tensor-spec": {"dtype": spec["dtype"], "shape": shape}}


def _class_names(found: Any) -> list[str] | None:
    return None if found is None else _list(found, _word, MOST_CLASSES)


def golden_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return golden samples: as many answers as there are rows, all of them plain values; raise ValueError and its like."""

    def row(values: Any) -> list[Any]:
        return _list(values, _cell, MOST_COLUMNS)

    def answer(value: Any) -> Any:
        return row(value) if isinstance(value, list) else _cell(value)

    rows = _list(found["instances"], row, golden_samples.GOLDEN_ROWS)
    golden: dict[str, Any] = {"instances": rows, "predictions": _list(found["predictions"], answer, len(rows))}
    golden["tolerance"] = golden_samples.TOLERANCE
    if "probabilities" in found:
        golden["probabilities"] = _list(found["probabilities"], row, len(rows))
    if not rows or any(len(answers) != len(rows) for name, answers in golden.items() if name != "tolerance"):
        raise ValueError("its golden samples have not one answer each")
    return golden


def _onnx(found: dict[str, Any], golden: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an ONNX engine, which names as many classes as the model has."""
    reason = visible(str(found["reason"]), MOST_WORD)
    if found["kept"] is not True:
        return {"kept": False, "reason": reason}
    classes = _list(found["classes"], _cell, MOST_CLASSES) if "probabilities" in golden else None
    if classes is not None and any(len(classes) != len(row) for row in golden["probabilities"]):
        raise ValueError("its ONNX engine has other classes")
    if (
        found["input"] not in dict(onnx_export.FORMS)
        or found["limit"] not in onnx_export.LIMITS
        or not found["scale"] > 0
    ):
        raise ValueError("its ONNX engine is of a kind that is not known")
    return {
        "kept": True,
        "reason": reason,
        "input": found["input"],
        "limit": found["limit"],
        "tolerance": onnx_export.TOLERANCE,
        **{name: _kept(found[name], int) for name in ("rows", "labels_differ")},
        **{name: _kept(found[name], float) for name in ("scale", "largest_difference")},
        "classes": classes,
    }


def _cell(value: Any) -> Any:
    """Return one value of a row, or of an answer. A text may be long, as a document is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    return _kept(value, int) if isinstance(value, int) else _word(value, limits.EXAMPLE_BYTES)


def _list(found: Any, make: Callable[[Any], Any], most: int) -> list[Any]:
    if not isinstance(found, list) or len(found) > most:
        raise ValueError(f"{type(found).__name__} in the place of a list of at most {most}")
    return [make(one) for one in found]


def _kept(value: Any, kind: type[Any]) -> Any:
    if kind is str:
        return _word(value)
    if type(value) is not kind or abs(value) > MOST_NUMBER:
        raise ValueError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


def _word(value: Any, most: int = MOST_WORD) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{type(value).__name__} in the place of a text of at most {most} characters")
    value.encode()  # half a character is a ValueError
    return value
