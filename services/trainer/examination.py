"""What is found out about a stranger's model: whether it can be served, and what it answers. Runs in a sandbox.

It is the only code that reads, loads and asks what nobody has signed. What it hands back is plain values, from which the
trainer writes every text file that it signs; the estimator and the input example it signs as they are.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from contract import documents
from contract.errors import Refused
from contract.signature import files_in

from trainer import checks, papers

# What MLmodel may say beside what is written anew: words and switches, and no other one's code or environment.
KEPT = (
    *("artifact_path", "run_id", "utc_time_created", "mlflow_version", "model_size_bytes"),
    *("is_signature_from_type_hint", "type_hint_from_example"),
)


def examined(folder: Path, trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a version's files come to: its estimator's and its example's path and digest, its MLmodel, golden rows.

    `trusted` are types that it may contain beside TRUSTED_TYPES. Raises Refused for a version that cannot be served.
    """
    description, files = documents.read_mlmodel(folder), files_in(folder)
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        estimator, columns, example = checks.tried(folder, frozenset(trusted))
        golden = papers.golden(estimator, columns, example)
    checks.check_class_names(description, estimator)
    paths = {
        "estimator": checks.estimator_file(description, files),
        "example": checks.example_file(description, files),
    }
    found = {
        **paths,
        "sha256": {path: digest_of(folder / path) for path in paths.values()},
        "mlmodel": rewritten(description, **paths),
        "golden": golden,
    }
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"its metadata, its example or its answers are no JSON: {error!s:.200}") from error
    return found


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rewritten(description: dict[str, Any], estimator: str, example: str) -> dict[str, Any]:
    """Return a version's MLmodel with nothing in it that would make a client run or install what is not signed."""
    sklearn = description["flavors"]["sklearn"]
    return {
        **{name: value for name in KEPT if isinstance(value := description.get(name), str | bool | int)},
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.sklearn",
                "model_path": estimator,
                "predict_fn": "predict",
                "python_version": platform.python_version(),
            },
            "sklearn": {
                "code": None,
                "pickled_model": estimator,
                "serialization_format": "skops",
                "sklearn_version": f"{sklearn.get('sklearn_version')!s:.20}",
                "skops_trusted_types": sorted(checks.TRUSTED_TYPES),
            },
        },
        "metadata": description.get("metadata"),
        "saved_input_example_info": {"artifact_path": example, "pandas_orient": "split", "type": "dataframe"},
        "signature": _signature(description["signature"]),
    }


def _signature(signature: dict[str, Any]) -> dict[str, str | None]:
    return {
        name: value if isinstance(value := signature.get(name), str) else None
        for name in ("inputs", "outputs", "params")
    }
