"""The packages that a version is served with, in the files in which MLflow's clients look for them."""

import platform
from importlib.metadata import version
from pathlib import Path

import yaml

SERVED_WITH = ("mlflow-skinny", "scikit-learn", "skops", "pandas")
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
