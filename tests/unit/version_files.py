"""A version's files as the trainer leaves them (docs/model-contract.md), for tests to change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

COLUMNS = ["length", "width"]


class Files:
    """A folder with the metadata files of a version of two columns; its estimator is put there by who needs one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {
            "flavors": {
                "python_function": {"loader_module": "mlflow.sklearn"},
                "sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"},
            },
            "signature": {
                "inputs": json.dumps([{"type": "double", "name": name, "required": True} for name in COLUMNS]),
                "outputs": json.dumps([{"type": "long", "required": True}]),
            },
            "metadata": {"class_names": ["short", "long"]},
            "saved_input_example_info": {"artifact_path": "input_example.json"},
        }
        self.example({"columns": COLUMNS, "data": [[8.0, 1.0], [1.0, 2.0]]})
        self.describe()

    def describe(self, change: Callable[[dict[str, Any]], object] = lambda content: None) -> "Files":
        change(self.content)
        (self.folder / "MLmodel").write_text(yaml.dump(self.content, Dumper=yaml.CSafeDumper))
        return self

    def example(self, content: Any) -> None:
        (self.folder / "input_example.json").write_text(json.dumps(content))


def set_inputs(*columns: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["signature"].update(inputs=json.dumps(columns))


def set_outputs(outputs: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["signature"].update(outputs=json.dumps(outputs))


def tensor(dtype: Any = "float64", shape: Any = (-1, 2)) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
