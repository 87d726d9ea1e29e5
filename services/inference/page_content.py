"""What the page at GET / shows (page/index.html)."""

from typing import Any

from inference.channel import State
from inference.columns import Column, Kind
from inference.keeper import Served
from inference.settings import Settings

KINDS = {Kind.NUMBER: "number", Kind.INTEGER: "number", Kind.BOOLEAN: "boolean", Kind.TEXT: "text"}
# The workshop's three samples, one of each kind of iris.
IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
IRIS_EXAMPLES = [
    {"label": "Iris setosa", "row": [5.1, 3.5, 1.4, 0.2]},
    {"label": "Iris versicolor", "row": [7.0, 3.2, 4.7, 1.4]},
    {"label": "Iris virginica", "row": [6.3, 3.3, 6.0, 2.5]},
]


def page_content(settings: Settings, served: Served | None, state: State, endpoints: dict[str, str]) -> dict[str, Any]:
    """Return the template's `page`: texts, numbers, lists and mappings alone."""
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
            "reasons": [state.problem or "the service has just started"],
            "url": settings.public_url,
            "endpoints": endpoints,
        }
    description = served.model.description
    return {
        "model": _model(settings, served, state),
        "reasons": [],
        "columns": [
            {"name": column.name, "kind": KINDS[column.kind], "missing": column.missing}
            for column in description.columns
        ],
        "examples": _examples(description.columns, description.examples),
        "class_names": served.model.class_names,
        "has_probabilities": served.model.classes is not None,
        "url": settings.public_url,
        "endpoints": endpoints,
    }


def _model(settings: Settings, served: Served, state: State) -> dict[str, Any]:
    # The registry's words may have changed since the version was taken up; those of another version are not its own.
    known = state.version if state.version == served.version else served.version
    version = known or served.version
    url = settings.mlflow_public_url
    return {
        "name": version.name,
        "version": version.version,
        "alias": settings.model_alias,
        "since": served.since,
        "run_id": version.run_id,
        "stale": state.problem is not None,
        "problem": state.problem,
        "engine": {"name": served.model.engine, "reason": served.model.reason},
        "task": "classification" if served.model.classes is not None else _task(served),
        "metrics": (state.metrics if known is state.version and state.metrics else served.metrics),
        "description": version.description,
        "tags": version.tags,
        "mlflow_url": f"{url}/#/models/{settings.quoted_name}/versions/{version.version}" if url else None,
    }


def _task(served: Served) -> str:
    return "regression" if served.model.description.output in ("double", "float") else "classification"


def _examples(columns: tuple[Column, ...], examples: list[list[Any]]) -> list[dict[str, Any]]:
    if tuple(column.name for column in columns) == IRIS:
        return IRIS_EXAMPLES
    # NaN, which MLflow writes for a missing value, is no JSON to a browser.
    rows = [[None if cell != cell else cell for cell in row] for row in examples]
    return [{"label": f"Example {i}", "row": row} for i, row in enumerate(rows, 1)]
