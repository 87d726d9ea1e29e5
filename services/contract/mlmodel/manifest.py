"""What a version's files say about the model in them (docs/model-contract.md), read without loading the model."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

from contract import limits, schema
from contract.display import differing, listed, quoted
from contract.errors import Refused
from contract.file_names import FIGURES, GOLDEN, IDENTITY, MODEL_CARD, ONNX_MODEL, ONNX_RECORD, PROFILE
from contract.mlmodel import inputs
from contract.mlmodel.inputs import Inputs
from contract.schema import MOST_COLUMNS, TENSOR_TYPES, Column, Kind
from contract.signature import RUNS_CODE
from contract.trust.trusted_types import VOUCH
from contract.version_files import VersionFiles

# What onnx_engine.json says, and as what.
ONNX_KEYS = {
    "kept": (bool,),
    "reason": (str,),
    "input": (str,),
    "limit": (int, float),
    "classes": (list, type(None)),
    "tolerance": (int, float),
    "scale": (int, float),
}
EXAMPLES = 3
# Of a column's values in training, where people are to choose among them: how many, how long each, and how long all columns'.
MOST_CATEGORIES = 50
MOST_CATEGORY = 100
MOST_CATEGORIES_TEXT = 200_000
# What counts of MLmodel's flavors.sklearn.
FLAVOR_KEYS = ("pickled_model", "serialization_format", "sklearn_version")


@dataclass(frozen=True)
class Description:
    """A model: its input, its output, and where its parts are."""

    columns: tuple[Column, ...]
    """the features, in the order that rows have"""
    is_named: bool
    """whether the columns have names; those of a tensor signature are known by their order alone"""
    output: str
    """what a prediction's values are, as a type of MLflow's signatures; empty where the version does not say"""
    class_names: tuple[str, ...] | None
    """the name of class i; None where the version carries no names"""
    examples: list[list[Any]]
    """rows that the model takes, for people to try: up to three"""
    flavor: dict[str, Any]
    """MLmodel's flavors.sklearn: the estimator's file, its format, and scikit-learn's version; else, the loader_module"""
    onnx_engine: dict[str, Any] = field(default_factory=dict)
    """onnx_engine.json: whether there is a proven ONNX engine, and what was measured"""
    has_probabilities: bool | None = None
    """whether it has class probabilities, as its golden samples say; None where it has none"""
    figures: dict[str, Any] | None = None
    """figures.json: how well it did (metrics), and on which data; None where the version has none"""
    example: str | None = None
    """the path of its input example, None where it has none"""
    width: int = 1
    """how many values a prediction has"""
    card: str | None = None
    """model_card.md, one page about it for people as Markdown; None where the version has none"""
    decision_threshold: float | None = None
    """from which probability on it predicts its positive class; None where it predicts the likeliest one"""
    runs_code: bool = False
    """whether its owner has vouched for the code that MLflow's pyfunc runs when it loads it"""
    example_targets: list[str | float] = field(default_factory=list)
    """what the data say of each example: its class by name, or its value; empty where the version does not say"""
    categories: dict[str, list[str]] = field(default_factory=dict)
    """text column → all values that it had in training, of columns with few of them: for people to choose from"""
    shape: tuple[int, ...] | None = None
    """the shape of a row of an array that has more or fewer than one dimension; None where a row is a list of values"""
    params: tuple[str, ...] = ()
    """the names of what a request may tell a model's own code beside its rows"""

    def to_json(self) -> str:
        """Return all of it but the examples, which may be long; `of_json` reads it."""
        columns = [vars(column) for column in self.columns]
        return json.dumps({**vars(self), "columns": columns, "examples": []}, default=str)

    @classmethod
    def of_json(cls, text: str) -> "Description":
        """Return what `to_json` has made a text of: a description without examples."""
        content = json.loads(text)
        columns = tuple(Column(**column | {"kind": Kind(column["kind"])}) for column in content["columns"])
        content["columns"], content["params"] = columns, tuple(content["params"])
        for name in ("class_names", "shape"):
            content[name] = None if content[name] is None else tuple(content[name])
        return cls(**content)

    @property
    def takes_text(self) -> bool:
        return any(column.kind is Kind.TEXT for column in self.columns)

    @property
    def takes_dates(self) -> bool:
        return any(column.kind is Kind.DATE for column in self.columns)

    @property
    def first_example(self) -> list[Any]:
        """A row to try: the first example, or one of zeros, false, empty text and 1970 where the version has none."""
        empty = {Kind.NUMBER: 0.0, Kind.INTEGER: 0, Kind.BOOLEAN: False, Kind.TEXT: "", Kind.DATE: "1970-01-01"}
        return self.examples[0] if self.examples else [empty[column.kind] for column in self.columns]


def read(files: VersionFiles, is_signed: bool = False) -> Description:
    """Read MLmodel and the files beside it; raise Refused where what they describe cannot be served.

    Where the signature `is_signed` and was verified, a version counts as one whose owner has vouched for its code if it says so.
    """
    if is_signed and files.json(IDENTITY).get(RUNS_CODE) is True:
        return read_vouched(files)
    content = files.mlmodel()
    found = _described(files, content, _flavor(content), Inputs(*inputs.columns_of(content)))
    found = replace(
        found,
        onnx_engine=_onnx_engine(files),
        figures=_figures(files),
        card=files.read(MODEL_CARD).decode(errors="replace") if MODEL_CARD in files else None,
        decision_threshold=_decision_threshold(content),
        categories=_categories(files, found.columns),
    )
    return with_examples(found, files)


def read_vouched(files: VersionFiles) -> Description:
    """Read the MLmodel of a version whose owner vouches for its code; raise Refused where it cannot be served.

    What only a training knows of a version is not looked for: under those names, such a version has files of its own.
    """
    content = files.mlmodel()
    loader = _loader(content)
    _check_paths(content["flavors"]["python_function"], files)
    described = _described(files, content, {"loader_module": loader}, inputs.vouched_inputs(content))
    found = with_examples(described, files)
    if not found.examples:
        rows = f"rows of {schema.count_of(found.columns)}"
        raise Refused(f"it has no input example with {rows}; log it with input_example=ROWS")
    return replace(found, runs_code=True)


def _described(files: VersionFiles, content: dict[str, Any], flavor: dict[str, Any], takes: Inputs) -> Description:
    """Return what every version says of itself, without its examples."""
    output, width = _output(content)
    return Description(
        **takes._asdict(),
        output=output,
        width=width,
        class_names=_class_names(content),
        examples=[],
        example_targets=_example_targets(content),
        flavor=flavor,
        has_probabilities=_has_probabilities(files),
        example=_example(files, content),
    )


def _check_paths(function: dict[str, Any], files: VersionFiles) -> None:
    """Raise Refused where MLflow would read code or data beside a version's own files: it joins paths, whatever they are."""
    for key in ("code", "data", "model_code_path"):
        if not (given := function.get(key)):
            continue
        # Of a model from code, it takes the name alone: the path is where it was logged.
        path = os.path.basename(str(given)) if key == "model_code_path" else str(given).rstrip("/")
        is_within = ".." not in path.split("/") and any(f"{own}/".startswith(f"{path}/") for own in files.digests)
        if not isinstance(given, str) or not is_within:
            raise Refused(f"the {key} that its python_function names is {quoted(given)}, which is none of its files")


def _loader(content: dict[str, Any]) -> str:
    flavors = content.get("flavors")
    found = flavors.get("python_function") if isinstance(flavors, dict) else None
    loader = found.get("loader_module") if isinstance(found, dict) else None
    if not isinstance(loader, str) or not loader:
        raise Refused("it has no flavor python_function with a loader_module, by which MLflow's pyfunc loads it")
    return loader


def with_examples(model: Description, files: VersionFiles) -> Description:
    """Return a description with the version's examples; raise Refused where they cannot be read."""
    if model.example is None:
        return model
    return replace(model, examples=example_rows(files, model, EXAMPLES))


def _decision_threshold(content: dict[str, Any]) -> float | None:
    metadata = content.get("metadata")
    value = metadata.get("decision_threshold") if isinstance(metadata, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise Refused(f"its decision_threshold is {quoted(value)}; expected a number between 0 and 1")
    return float(value)


def check_estimator(model: Description, estimator: Any) -> None:
    """Raise Refused where an estimator was fitted on other columns than the version has, or has classes without a name."""
    fitted = getattr(estimator, "feature_names_in_", None)
    names = [column.name for column in model.columns]
    if model.is_named and fitted is not None and list(fitted) != names:
        differ = differing(names, list(map(str, fitted)), ("column", "columns"))
        raise Refused(f"its signature is not of what its estimator was fitted on: it {differ}")
    check_class_names(model, getattr(estimator, "classes_", []))


def check_class_names(model: Description, labels: Iterable[Any]) -> None:
    """Raise Refused where an engine has classes that the version's names do not name."""
    if model.class_names is None:
        return
    for label in labels:
        if not isinstance(label, Integral) or not 0 <= int(label) < len(model.class_names):
            raise Refused(f"its class_names do not name its class {quoted(label)}; expected one for each of 0, 1, …")


def breaking_change(served: Description, candidate: Description) -> str | None:
    """Say why a request that the served model takes may be refused or misread by the candidate; None where it is not."""
    if change := schema.breaking_change(served.columns, candidate.columns):
        return change
    if served.class_names is not None and candidate.class_names is None:
        return f"its classes have no names, and the version being served has {listed(served.class_names)}: log it with metadata={{'class_names': […]}}"
    if served.class_names is not None and candidate.class_names != served.class_names:
        return f"it {differing(candidate.class_names or (), served.class_names, ('class', 'classes'))}"
    if served.output and candidate.output and served.output != candidate.output:
        return f"its predictions are of the type {candidate.output}, and not {served.output}"
    if served.width != candidate.width:
        return f"its predictions have {candidate.width} values for each row, and not {served.width}"
    # Where nobody has tried whether code of its own has them (None), nobody has said so either.
    is_without = not candidate.has_probabilities if candidate.runs_code else candidate.has_probabilities is False
    if served.has_probabilities and is_without:
        return "it has no class probabilities, and the version being served has them"
    return None


def estimator_file(files: VersionFiles, flavor: dict[str, Any]) -> str:
    """Return the path of the estimator's file; raise Refused unless it is a skops file among the version's own."""
    if (form := flavor.get("serialization_format")) != "skops":
        word = form if isinstance(form, str) and form.isidentifier() and len(form) < 50 else quoted(form)
        raise Refused(
            f"it is stored as {word}, which runs code when it is loaded; log it with serialization_format='skops'; "
            f"{VOUCH}"
        )
    return files.named(flavor.get("pickled_model"))


def _flavor(content: dict[str, Any]) -> dict[str, Any]:
    flavors = content.get("flavors")
    if not isinstance(flavors, dict) or not isinstance(flavors.get("sklearn", {}), dict):
        raise Refused(f"its flavors are {quoted(flavors)}; expected a mapping of mappings")
    if "sklearn" not in flavors:
        found = listed([str(name) for name in flavors]) or "none"
        raise Refused(
            f"its flavors are {found}; expected sklearn: log the scikit-learn estimator itself, with "
            f"mlflow.sklearn.log_model; {VOUCH}"
        )
    return {key: flavors["sklearn"][key] for key in FLAVOR_KEYS if key in flavors["sklearn"]}


def _output(content: dict[str, Any]) -> tuple[str, int]:
    """Return the type of a prediction's values, empty where the signature does not say one, and how many a prediction has."""
    try:
        found = json.loads(content["signature"]["outputs"])
        if found[0]["type"] == "tensor":
            (only,) = found
            return _tensor_output(only["tensor-spec"])
        types = {str(column["type"]) for column in found}
    except (LookupError, TypeError, ValueError, RecursionError):
        return "", 1
    return types.pop() if len(types) == 1 else "", min(len(found), MOST_COLUMNS)


def _tensor_output(spec: dict[str, Any]) -> tuple[str, int]:
    dtype, shape = str(spec["dtype"]), spec.get("shape", [])
    width = shape[1] if len(shape) == 2 and type(shape[1]) is int and 0 < shape[1] <= MOST_COLUMNS else 1
    return "string" if dtype in ("str", "object") else TENSOR_TYPES.get(dtype, ""), width


def _class_names(content: dict[str, Any]) -> tuple[str, ...] | None:
    metadata = content.get("metadata")
    names = metadata.get("class_names") if isinstance(metadata, dict) else None
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(f"its class_names are {quoted(names)}; expected a list of texts")
    return tuple(names)


def _example(files: VersionFiles, content: dict[str, Any]) -> str | None:
    saved = content.get("saved_input_example_info")
    return files.named(saved["artifact_path"]) if isinstance(saved, dict) and "artifact_path" in saved else None


def _example_targets(content: dict[str, Any]) -> list[str | float]:
    metadata = content.get("metadata")
    found = metadata.get("example_targets", []) if isinstance(metadata, dict) else []
    if not isinstance(found, list) or not all(isinstance(value, str | int | float) for value in found):
        raise Refused(
            f"its example_targets are {quoted(found)}; expected a text or a number for each row of its example"
        )
    return found[:EXAMPLES]


def example_rows(files: VersionFiles, model: Description, most: int | None = None) -> list[list[Any]]:
    """Return the first rows of a version's input example that are as wide as its columns, none where it has no usable one."""
    text = files.read(str(model.example), limits.EXAMPLE_BYTES)
    try:
        found = json.loads(text)
        # With params beside it, or as earlier versions of MLflow wrote an array, the example is under "inputs".
        found = found.get("inputs", found) if isinstance(found, dict) else found
        # The one of a table has "data"; that of an array and one of records are lists.
        rows: Any = found["data"] if isinstance(found, dict) else found
        cells = [_cells(row, model) for row in rows[:most]]
        return [row for row in cells if len(row) == len(model.columns)]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def _cells(row: Any, model: Description) -> list[Any]:
    """Return the values of an example's row: a list, a record, one value, or an array of a shape of its own."""
    if isinstance(row, dict):
        return [row.get(column.name) for column in model.columns]
    if not isinstance(row, list):
        return [row]
    return row if model.shape is None else [value for part in row for value in _cells(part, model)]


def _has_probabilities(files: VersionFiles) -> bool | None:
    """Return what the golden samples say; whether they can be used is found when they are tried."""
    if GOLDEN not in files:
        return None
    try:
        return "probabilities" in files.json(GOLDEN)
    except (Refused, TypeError):
        return None


def _onnx_engine(files: VersionFiles) -> dict[str, Any]:
    if ONNX_RECORD not in files:
        return {"kept": False, "reason": "the version has none"}
    try:
        record = files.json(ONNX_RECORD)
    except Refused as error:
        raise Refused(f"its ONNX engine cannot be loaded: {error}") from error
    if not isinstance(record, dict):
        raise Refused(f"its ONNX engine cannot be loaded: {ONNX_RECORD} is no mapping")
    for key, kinds in ONNX_KEYS.items():
        if key in record and type(record[key]) not in kinds:
            raise Refused(f"its ONNX engine cannot be loaded: {key} in {ONNX_RECORD} is {quoted(record[key])}")
    if record.get("kept") and ONNX_MODEL not in files:
        raise Refused(
            f"its ONNX engine cannot be loaded: {ONNX_RECORD} tells of it, and its file {ONNX_MODEL} is not there"
        )
    return record


def _figures(files: VersionFiles) -> dict[str, Any] | None:
    if FIGURES not in files:
        return None
    found = files.json(FIGURES)
    try:
        return {**found, "metrics": {name: _number(value) for name, value in found["metrics"].items()}}
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Refused(f"its file {FIGURES} has no mapping 'metrics' of numbers") from error


def _categories(files: VersionFiles, columns: tuple[Column, ...]) -> dict[str, list[str]]:
    """Return what the reference profile has of columns with few texts; what is not so there is not shown, and nothing more."""
    if PROFILE not in files:
        return {}
    try:
        profiles = files.json(PROFILE)["columns"]
        texts = {column.name: _texts(profiles.get(column.name, {})) for column in columns if column.kind is Kind.TEXT}
    except (Refused, LookupError, TypeError, AttributeError):
        return {}
    found = {name: values for name, values in texts.items() if values}
    return found if sum(len(text) for values in found.values() for text in values) <= MOST_CATEGORIES_TEXT else {}


def _texts(profile: dict[str, Any]) -> list[str]:
    """Return all texts of a column in order, none where its profile has not all of them, or some are long."""
    values = sorted(profile.get("categories", {}).keys())
    whole = profile.get("distinct") == len(values) <= MOST_CATEGORIES
    return values if whole and all(0 < len(text) <= MOST_CATEGORY for text in values) else []


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError("it is no number")
    return float(value)
