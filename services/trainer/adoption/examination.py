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
from contract.trust import TRUSTED_TYPES

from trainer.adoption.findings import KEPT, Findings
from trainer.artifact import papers, version_checks


def examined(folder: Path, trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a version's files come to, in plain values of which trainer.adoption.findings takes what it needs.

    `trusted` are types that it may contain beside TRUSTED_TYPES. Raises Refused for a version that cannot be served.
    """
    description, files = documents.read_mlmodel(folder), files_in(folder)
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        estimator, columns, example = version_checks.tried(folder, frozenset(trusted))
        golden = papers.golden(estimator, columns, example)
    version_checks.check_class_names(description, estimator)
    paths = {
        "estimator": version_checks.estimator_file(description, files),
        "example": version_checks.example_file(description, files),
    }
    metadata, signature = description.get("metadata"), description["signature"]
    found = {
        **paths,
        "sha256": {path: digest_of(folder / path) for path in paths.values()},
        "kept": {name: value for name, kind in KEPT.items() if type(value := description.get(name)) is kind},
        "sklearn_version": f"{description['flavors']['sklearn'].get('sklearn_version')!s:.20}",
        "signature": {name: signature.get(name) for name in ("inputs", "outputs")},
        "class_names": metadata.get("class_names") if isinstance(metadata, dict) else None,
        "golden": golden,
    }
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"its example or its answers are no JSON: {error!s:.200}") from error
    return found


def check_servable(folder: Path, trusted: Sequence[str] = ()) -> None:
    """Have a signed version predict its input example and its golden rows; raise Refused where it does not."""
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        version_checks.check_servable(folder, frozenset(trusted))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        "saved_input_example_info": {"artifact_path": found.example, "pandas_orient": "split", "type": "dataframe"},
        "signature": found.signature,
    }
