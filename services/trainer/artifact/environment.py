"""The packages that a version is served with, and code of our own, in the files in which MLflow's clients look for them."""

import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import contract
import yaml

SERVED_WITH = ("mlflow-skinny", "scikit-learn", "skops", "pandas")
# Rooms of the contract with what pipelines are made of. A version has all of them or none: a client that loads several versions
# finds the package `contract` once, as the first one had it.
OWN = ("preparation", "boosting")
# The modules with boosted estimators, and the package that each is made of.
BOOSTED = {
    "contract.boosting.lightgbm_estimators": "lightgbm",
    "contract.boosting.xgboost_estimators": "xgboost" if sys.platform == "darwin" else "xgboost-cpu",
}
FILES = ("requirements.txt", "python_env.yaml", "conda.yaml")


def pins(estimator: Any = None) -> list[str]:
    """Return the packages with the versions that are here: those that a model is made, or checked, with."""
    modules = {kind.__module__ for kind in _own(estimator)}
    needed = [*SERVED_WITH, *(package for module, package in BOOSTED.items() if module in modules)]
    return [f"{name}=={version(name)}" for name in needed]


def write(folder: Path) -> None:
    """Write FILES into a model's folder: what `mlflow models serve` installs before it loads the model."""
    contents = {
        "python_env.yaml": {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]},
        "conda.yaml": {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={platform.python_version()}", "pip", {"pip": pins()}],
        },
    }
    (folder / "requirements.txt").write_text("\n".join(pins()) + "\n")
    for name, content in contents.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))


def own_steps(estimator: Any) -> list[str]:
    """Return the names of the steps of our own (contract.preparation) that a pipeline has."""
    return sorted(kind.__name__ for kind in _own(estimator) if kind.__module__ not in BOOSTED)


def _own(estimator: Any) -> set[type]:
    """Return what a pipeline is made of that scikit-learn does not have."""
    parts = [] if estimator is None else [estimator, *estimator.get_params().values()]
    return {type(part) for part in parts if type(part).__module__.startswith("contract.")}


def code(estimator: Any, folder: Path) -> list[str] | None:
    """Copy what a pipeline has of our own into a folder, for MLflow's code_paths; None where it has none.

    So every client of MLflow can load it. The prediction service and the trainer have them, and run none that a version brings.
    """
    if not _own(estimator):
        return None
    source, target = Path(str(contract.__file__)).parent, folder / "contract"
    for room in OWN:
        shutil.copytree(source / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", target / "__init__.py")
    return [str(target)]
