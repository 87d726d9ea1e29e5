"""The packages that a version is served with, and code of our own, in the files in which MLflow's clients look for them."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import contract
import yaml

SERVED_WITH = ("mlflow-skinny", "scikit-learn", "skops", "pandas")
STEPS = "contract/preparation"
FILES = ("requirements.txt", "python_env.yaml", "conda.yaml")


def pins() -> list[str]:
    """Return the packages with the versions that are here: those that a model is made, or checked, with."""
    return [f"{name}=={version(name)}" for name in SERVED_WITH]


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
    found = {type(part) for part in estimator.get_params().values()}
    return sorted(kind.__name__ for kind in found if kind.__module__.startswith(STEPS.replace("/", ".")))


def code(estimator: Any, folder: Path) -> list[str] | None:
    """Copy the steps of our own that a pipeline has into a folder, for MLflow's code_paths; None where it has none.

    So every client of MLflow can load it. The prediction service and the trainer have them, and run none that a version brings.
    """
    if not own_steps(estimator):
        return None
    source, target = Path(str(contract.__file__)).parent, folder / "contract"
    shutil.copytree(source.parent / STEPS, folder / STEPS, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", target / "__init__.py")
    return [str(target)]
