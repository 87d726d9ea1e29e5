"""What a version's files say about the model in them (docs/model-contract.md), read without loading the model."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Integral
from typing import Any

from contract import limits
from contract.display import quoted, visible
from contract.file_names import FIGURES, GOLDEN, TWIN_RECORD

from inference.errors import ModelRefused
from inference.model.schema import TENSOR_TYPES, TYPES, Column, Kind
from inference.model.version_files import VersionFiles

# What twin.json says, and as what.
TWIN_KEYS = {
    "kept": (bool,),
    "reason": (str,),
    "input": (str,),
    "limit": (int, float),
    "classes": (list, type(None)),
    "tolerance": (int, float),
    "scale": (int, float),
}
EXAMPLES = 3
MOST_COLUMNS = 20_000


@dataclass(frozen=True)
class Description:
    """A scikit-learn model: its input, its output, and where its parts are."""

    columns: tuple[Column, ...]
    """the features, in the order that rows have"""
    is_named: bool
    """whether the columns have names; those of a tensor signature are known by their order alone"""
    output: str
    """what a prediction is, as a type of MLflow's signatures; empty where the version does not say"""
    class_names: tuple[str, ...] | None
    """the name of class i; None where the version carries no names"""
    examples: list[list[Any]]
    """rows that the model takes, for people to try: up to three"""
    flavor: dict[str, Any]
    """MLmodel's flavors.sklearn: the estimator's file and its format"""
    twin: dict[str, Any] = field(default_factory=dict)
    """twin.json: whether there is a proven ONNX twin, and what was measured"""
    has_probabilities: bool | None = None
    """whether it has class probabilities, as its golden rows say; None where it has none"""
    figures: dict[str, Any] | None = None
    """figures.json: how well it did (metrics), and on which data; None where the version has none"""

    def interface(self) -> dict[str, Any]:
        """Return what those who ask the model rely on, as JSON has it; `of_interface` reads it."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "is_named": self.is_named,
            "output": self.output,
            "class_names": self.class_names,
            "has_probabilities": self.has_probabilities,
        }

    @classmethod
    def of_interface(cls, content: dict[str, Any]) -> "Description":
        """Return a description of what those who ask rely on, and of nothing else."""
        columns = tuple(Column(**column | {"kind": Kind(column["kind"])}) for column in content["columns"])
        names = content["class_names"]
        class_names = None if names is None else tuple(names)
        return cls(
            **content | {"columns": columns, "class_names": class_names, "examples": [], "flavor": {}},
        )

    @property
    def takes_text(self) -> bool:
        return any(column.kind is Kind.TEXT for column in self.columns)

    @property
    def first_example(self) -> list[Any]:
        """A row to try: the first example, or one of zeros, false and empty text where the version has none."""
        empty = {Kind.NUMBER: 0.0, Kind.INTEGER: 0, Kind.BOOLEAN: False, Kind.TEXT: ""}
        return self.examples[0] if self.examples else [empty[column.kind] for column in self.columns]


def read(files: VersionFiles) -> Description:
    """Read MLmodel and the papers beside it; raise ModelRefused where this service cannot serve what they describe."""
    content = files.mlmodel()
    flavor = _flavor(content)
    columns, is_named = _columns(content)
    return Description(
        columns=columns,
        is_named=is_named,
        output=_output(content),
        class_names=_class_names(content),
        examples=_examples(files, content, columns),
        flavor=flavor,
        twin=_twin(files),
        has_probabilities=_has_probabilities(files),
        figures=_figures(files),
    )


def check_class_names(model: Description, labels: Iterable[Any]) -> None:
    """Raise ModelRefused where an engine has classes that the version's names do not name."""
    if model.class_names is None:
        return
    for label in labels:
        if not isinstance(label, Integral) or not 0 <= int(label) < len(model.class_names):
            raise ModelRefused(
                f"its class_names do not name its class {quoted(label)}; expected one for each of 0, 1, …"
            )


def breaking_change(served: Description, candidate: Description) -> str | None:
    """Say why a request that the served model takes may be refused or misread by the candidate; None where it is not."""
    old, new = served.columns, candidate.columns
    if [column.name for column in old] != [column.name for column in new]:
        return f"its columns are {_names(new)}, and not {_names(old)}"
    for before, after in zip(old, new, strict=True):
        if before.kind is not after.kind and not (before.kind is Kind.INTEGER and after.kind is Kind.NUMBER):
            return f"its column {after.name!r} takes {after.kind}, and not {before.kind}"
        if after.kind is Kind.INTEGER and after.limit < before.limit:
            return f"its column {after.name!r} takes whole numbers up to {after.limit}, and not up to {before.limit}"
        if before.missing and not after.missing:
            return f"its column {after.name!r} takes no missing values any more"
    if served.class_names is not None and candidate.class_names is None:
        return f"its classes have no names, and the version being served has {_listed(served.class_names)}: log it with metadata={{'class_names': […]}}"
    if served.class_names is not None and candidate.class_names != served.class_names:
        return f"its classes are {_listed(candidate.class_names or ())}, and not {_listed(served.class_names)}"
    if served.output and candidate.output and served.output != candidate.output:
        return f"its predictions are of the type {candidate.output}, and not {served.output}"
    if served.has_probabilities and candidate.has_probabilities is False:
        return "it has no class probabilities, and the version being served has them"
    return None


def _names(columns: tuple[Column, ...]) -> str:
    return _listed([quoted(column.name) for column in columns])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(visible(name, 100) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} … ({len(names)})"


def _flavor(content: dict[str, Any]) -> dict[str, Any]:
    flavors = content.get("flavors")
    if not isinstance(flavors, dict) or not isinstance(flavors.get("sklearn", {}), dict):
        raise ModelRefused(f"its flavors are {quoted(flavors)}; expected a mapping of mappings")
    if "sklearn" not in flavors:
        found = _listed([str(name) for name in flavors]) or "none"
        raise ModelRefused(
            f"its flavors are {found}; this service serves sklearn: log the scikit-learn estimator itself, with "
            "mlflow.sklearn.log_model"
        )
    return dict(flavors["sklearn"])


def _columns(content: dict[str, Any]) -> tuple[tuple[Column, ...], bool]:
    try:
        inputs = json.loads(content["signature"]["inputs"])
        if len(inputs) == 1 and inputs[0]["type"] == "tensor" and not inputs[0].get("name"):
            return _tensor_columns(inputs[0]["tensor-spec"]), False
        found = [(column["name"], column["type"], column.get("required", True)) for column in inputs]
        unknown = sorted({str(kind) for _, kind, _ in found} - TYPES.keys())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelRefused("it has no signature with named columns; log it with one") from error
    if not found or not all(isinstance(name, str) for name, _, _ in found):
        raise ModelRefused("it has no signature with named columns; log it with one")
    _check_number(len(found))
    if unknown:
        raise ModelRefused(f"its columns have the types {_listed(unknown)}; this service serves {', '.join(TYPES)}")
    return tuple(_column(name, kind, not required) for name, kind, required in found), True


def _column(name: str, type_name: str, missing: bool) -> Column:
    found = TYPES[type_name]
    return Column(name, found.kind, missing, found.limit, found.datatype)


def _tensor_columns(spec: dict[str, Any]) -> tuple[Column, ...]:
    dtype, shape = spec["dtype"], spec["shape"]
    if dtype not in TENSOR_TYPES or len(shape) != 2 or shape[1] < 1:
        expected = f"(rows, columns) of {', '.join(TENSOR_TYPES)}"
        raise ModelRefused(
            f"its input is a tensor of {visible(str(dtype), 50)} with the shape {quoted(shape)}; this service serves {expected}"
        )
    _check_number(shape[1])
    return tuple(_column(str(position), TENSOR_TYPES[dtype], False) for position in range(shape[1]))


def _check_number(columns: int) -> None:
    """Raise ModelRefused for more columns than are kept in mind: a tensor's number of them costs a file nothing."""
    if columns > MOST_COLUMNS:
        raise ModelRefused(f"it has {quoted(columns)} columns; this service serves at most {MOST_COLUMNS}")


def _output(content: dict[str, Any]) -> str:
    try:
        (found,) = json.loads(content["signature"]["outputs"])
        if found["type"] != "tensor":
            return str(found["type"])
        dtype = str(found["tensor-spec"]["dtype"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
    return "string" if dtype in ("str", "object") else TENSOR_TYPES.get(dtype, "")


def _class_names(content: dict[str, Any]) -> tuple[str, ...] | None:
    metadata = content.get("metadata")
    names = metadata.get("class_names") if isinstance(metadata, dict) else None
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelRefused(f"its class_names are {quoted(names)}; expected a list of texts")
    return tuple(names)


def _examples(files: VersionFiles, content: dict[str, Any], columns: tuple[Column, ...]) -> list[list[Any]]:
    """The first rows of the version's input example, none where it has no usable one."""
    saved = content.get("saved_input_example_info")
    if not isinstance(saved, dict) or "artifact_path" not in saved:
        return []
    text = files.read(saved["artifact_path"], limits.EXAMPLE_BYTES)
    try:
        found = json.loads(text)
        rows = found["data"] if isinstance(found, dict) else found
        return [list(row) for row in rows[:EXAMPLES] if len(row) == len(columns)]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def _has_probabilities(files: VersionFiles) -> bool | None:
    """What the golden rows say; whether they can be used is found when they are tried."""
    if GOLDEN not in files:
        return None
    try:
        return "probabilities" in files.json(GOLDEN)
    except (ModelRefused, TypeError):
        return None


def _twin(files: VersionFiles) -> dict[str, Any]:
    if TWIN_RECORD not in files:
        return {"kept": False, "reason": "the version has none"}
    try:
        record = files.json(TWIN_RECORD)
    except ModelRefused as error:
        raise ModelRefused(f"its ONNX twin cannot be loaded: {error}") from error
    if not isinstance(record, dict):
        raise ModelRefused(f"its ONNX twin cannot be loaded: {TWIN_RECORD} is no mapping")
    for key, kinds in TWIN_KEYS.items():
        if key in record and type(record[key]) not in kinds:
            raise ModelRefused(f"its ONNX twin cannot be loaded: {key} in {TWIN_RECORD} is {quoted(record[key])}")
    return record


def _figures(files: VersionFiles) -> dict[str, Any] | None:
    if FIGURES not in files:
        return None
    found = files.json(FIGURES)
    try:
        return {**found, "metrics": {name: _number(value) for name, value in found["metrics"].items()}}
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelRefused(f"its file {FIGURES} has no mapping 'metrics' of numbers") from error


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError("it is no number")
    return float(value)
