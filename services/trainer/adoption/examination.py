"""What is found out about a stranger's model: whether it can be served, and what it answers. Runs in a sandbox.

It is the only code that reads, loads and asks what nobody has signed. What it hands back is plain values, from which the
trainer writes every text file that it signs; the estimator and the input example it signs as they are.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from contract.display import visible
from contract.errors import Refused
from contract.file_names import FIGURES, GOLDEN, ONNX_MODEL, ONNX_RECORD
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.schema import count_of
from contract.trust.trusted_types import TRUSTED_TYPES
from contract.version_files import VersionFiles

from trainer.adoption import onnx_engine
from trainer.adoption.findings import KEPT, Findings
from trainer.artifact import golden_samples, version_checks

# What is not signed with the rest, as nobody can prove it: nothing in it counts for or against a version.
UNPROVEN = (GOLDEN, ONNX_MODEL, ONNX_RECORD, FIGURES)


def examined(
    folder: Path, trusted: Sequence[str] = (), without_onnx: str | None = None
) -> tuple[dict[str, Any], bytes]:
    """Return what a version's files come to, and the bytes of its ONNX engine, none where it has none.

    They come to plain values, of which trainer.adoption.findings takes what it needs. `trusted` are types that it may contain
    beside TRUSTED_TYPES; `without_onnx` is the reason why no ONNX engine is made of it, where there is one already. Raises
    Refused for a version that cannot be served.
    """
    files = VersionFiles.of(folder, without=UNPROVEN)
    description, content = manifest.read(files), files.mlmodel()
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        estimator = version_checks.estimator_of(files, description, TRUSTED_TYPES.union(trusted))
        rows = _example_rows(files, description)
        golden = _golden(estimator, rows, description)
        onnx = (
            onnx_engine.exported(estimator, description, rows)
            if without_onnx is None
            else onnx_engine.none(without_onnx)
        )
    paths = {"estimator": manifest.estimator_file(files, description.flavor), "example": description.example}
    found = {
        **paths,
        "sha256": {path: files.digests[path] for path in paths.values() if path is not None},
        "kept": {name: value for name, kind in KEPT.items() if type(value := content.get(name)) is kind},
        "sklearn_version": f"{description.flavor.get('sklearn_version')!s:.20}",
        "signature": {name: content["signature"].get(name) for name in ("inputs", "outputs")},
        "class_names": description.class_names,
        "golden": golden,
        "onnx": onnx.record,
    }
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"its example or its answers are no JSON: {error!s:.200}") from error
    return found, onnx.content or b""


def _example_rows(files: VersionFiles, description: Description) -> list[list[Any]]:
    """Return the rows of the input example."""
    if description.example is None:
        raise Refused("it has no input example; log it with input_example=ROWS")
    rows = manifest.example_rows(files, description)
    if not rows:
        wanted = count_of(description.columns)
        raise Refused(f"its input example has no rows of {wanted}; log it with input_example=ROWS of its columns")
    return rows


def _golden(estimator: Any, rows: list[list[Any]], description: Description) -> dict[str, Any]:
    """Return rows of the input example with the estimator's answers."""
    try:
        features = golden_samples.from_json(rows, description.columns)
    except ValueError as error:
        raise Refused(f"its input example cannot be used: {visible(str(error))}") from error
    try:
        return golden_samples.golden(estimator, features, description.is_named)
    except Exception as error:  # an estimator may fail in any way
        raise Refused(f"it does not predict its own input example: {type(error).__name__}: {error!s:.500}") from error


def check_servable(folder: Path, trusted: Sequence[str] = ()) -> None:
    """Have a signed version predict its input example and its golden samples; raise Refused where it does not."""
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        version_checks.check_servable(folder, frozenset(trusted))


def rewritten(found: Findings) -> dict[str, Any]:
    """Return the MLmodel of a version, written anew: nothing in it makes a client run or install what is not signed."""
    return {
        **found.kept,
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.sklearn",
                "model_path": found.estimator,
                "predict_fn": "predict",
                "python_version": platform.python_version(),
            },
            "sklearn": {
                "code": None,
                "pickled_model": found.estimator,
                "serialization_format": "skops",
                "sklearn_version": found.sklearn_version,
                "skops_trusted_types": sorted(TRUSTED_TYPES),
            },
        },
        "metadata": None if found.class_names is None else {"class_names": found.class_names},
        "saved_input_example_info": {"artifact_path": found.example, **_orientation(found)},
        "signature": found.signature,
    }


def _orientation(found: Findings) -> dict[str, str]:
    """Return how MLflow reads the input example: as a table, or as an array."""
    return {"pandas_orient": "split", "type": "dataframe"} if found.is_named else {"type": "ndarray"}
