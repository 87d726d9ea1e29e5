"""What the page at GET / shows (page/index.html)."""

from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import quote

from contract.display import visible
from contract.schema import Kind

from inference.ipc.messages import State
from inference.model.deployment import Deployment
from inference.model.model import Model
from inference.settings import Settings
from inference.trust import Trust

KINDS = {Kind.NUMBER: "number", Kind.INTEGER: "number", Kind.BOOLEAN: "boolean", Kind.TEXT: "text", Kind.DATE: "text"}
# The workshop's three samples, one of each kind of iris, for a model that tells these kinds.
IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
IRIS_EXAMPLES = [
    {"label": "Iris setosa", "row": [5.1, 3.5, 1.4, 0.2], "target": "setosa"},
    {"label": "Iris versicolor", "row": [7.0, 3.2, 4.7, 1.4], "target": "versicolor"},
    {"label": "Iris virginica", "row": [6.3, 3.3, 6.0, 2.5], "target": "virginica"},
]


# MLflow's UI opens in the mode that it was left in: at first that of language models, where a version has nothing to show.
MODE = "?workflowType=machine_learning"
# Of an example's texts together: what is longer is for programs.
MOST_EXAMPLE = 20_000
# Of figures.json beside the metrics: what the page has a line for.
MADE_OF = {"algorithm": "algorithm", "data": "data", "rows": "rows", "sha256": "SHA-256 of the data"}


def page_content(
    settings: Settings, served: Deployment | None, state: State, reason: str, endpoints: dict[str, str]
) -> dict[str, Any]:
    """Return the template's `page`: texts, numbers, lists and mappings alone.

    What the version's signature covers is told apart from what anybody can write into the registry.
    """
    if served is None:
        nothing: dict[str, Any] = {
            "model": None,
            "columns": [],
            "examples": [],
            "class_names": None,
            "has_probabilities": False,
        }
        return {
            **nothing,
            "reasons": [reason],
            "url": settings.public_url,
            "endpoints": endpoints,
        }
    description = served.model.description
    return {
        "model": _model(settings, served, state),
        "reasons": [],
        "columns": [
            {
                "name": column.name,
                "kind": KINDS[column.kind],
                "missing": column.missing,
                "categories": description.categories.get(column.name, []),
            }
            for column in description.columns
        ],
        "examples": _examples(served.model),
        "class_names": served.model.class_names,
        "has_probabilities": served.model.classes is not None,
        "url": settings.public_url,
        "endpoints": endpoints,
    }


def _model(settings: Settings, served: Deployment, state: State) -> dict[str, Any]:
    # The registry's words may have changed since the version was taken up; those of another version are not its own.
    known = state.version if state.version == served.version else served.version
    version = known or served.version
    url, name = settings.mlflow_public_url, quote(version.name, safe="")
    metrics = state.metrics if known is state.version and state.metrics else served.metrics
    signed = _signed_figures(settings, served)
    return {
        "name": version.name,
        "version": version.version,
        "alias": settings.model_alias,
        "since": served.since,
        "run_id": str(signed.get("run_id") or version.run_id),
        "stale": state.problem is not None,
        "problem": state.problem,
        "engine": {"name": served.model.engine, "reason": served.model.reason},
        "task": "classification" if served.model.classes is not None else _task(served),
        "metrics": _finite(signed.get("metrics", metrics)),
        "is_signed": bool(signed),
        "has_card": served.model.description.card is not None,
        "made_of": _made_of(signed),
        "description": version.description,
        "tags": version.tags,
        "mlflow_url": f"{url}/#/models/{name}/versions/{version.version}{MODE}" if url else None,
    }


def _signed_figures(settings: Settings, served: Deployment) -> dict[str, Any]:
    """Return the figures that the version's signature covers; empty where it has none, or signatures are not asked for."""
    return (served.model.description.figures or {}) if settings.trust is Trust.SIGNED else {}


def _made_of(signed: Mapping[str, Any]) -> dict[str, str]:
    data = signed.get("data")
    found = {**signed, "data": None, **({**data, "data": data.get("file")} if isinstance(data, dict) else {})}
    return {words: visible(str(found[key])) for key, words in MADE_OF.items() if found.get(key) is not None}


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isfinite(value)}


def _task(served: Deployment) -> str:
    return "regression" if served.model.description.output in ("double", "float") else "classification"


def _examples(model: Model) -> list[dict[str, Any]]:
    description = model.description
    kinds = {example["target"] for example in IRIS_EXAMPLES}
    if tuple(column.name for column in description.columns) == IRIS and set(model.class_names or ()) == kinds:
        return IRIS_EXAMPLES
    rows = [[_shown(cell) for cell in row] for row in description.examples]
    # Rows that do not fit the columns are left out of the examples: then it is not known whose target is whose.
    known = description.example_targets if len(description.example_targets) == len(rows) else [None] * len(rows)
    found = [{"row": row, "target": _shown(target)} for row, target in zip(rows, known, strict=True)]
    short = [example for example in found if _length(*example["row"], example["target"]) <= MOST_EXAMPLE]
    return [{"label": f"Example {i}", **example} for i, example in enumerate(short, 1)]


def _length(*cells: Any) -> int:
    return sum(len(cell) for cell in cells if isinstance(cell, str))


def _shown(cell: Any) -> Any:
    """Return a value that is JSON to a browser: NaN, which MLflow writes for a missing value, and infinity are none."""
    if isinstance(cell, float):
        return cell if isfinite(cell) else None
    return cell if isinstance(cell, (str, bool, int)) else None
