"""Write docs/api.md, the prediction service's API for people, from the OpenAPI document that it serves: `make reference`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
FLOWERS = ("setosa", "versicolor", "virginica")
MEASURES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
EXAMPLE = [5.1, 3.5, 1.4, 0.2]

METHODS = ("get", "post")

REFUSALS = """## Refusals

The body is an [Error](#error) in each case.

| status | what it says |
|---|---|"""

INTRODUCTION = """# The API

This page lists every request that the prediction service answers, and every form of its answers, for the model of iris. It is made from
the OpenAPI document that the service itself gives at `GET /openapi.json`, for whatever model it serves, by `make reference`. The same
with examples, limits and reasons: [serving.md](serving.md).

Every answer has these headers:

| header | what it is |
|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    document = _document()
    known = document["components"]
    headers = "".join(f"| `{name}` | {each['description']} |\n" for name, each in known["headers"].items())
    requests = (line for path, item in document["paths"].items() for line in _path(path, item))
    refusals = (f"| {status} | {each['description']} |" for status, each in sorted(_refusals(document).items()))
    schemas = (line for name, schema in known["schemas"].items() for line in _schema(name, schema))
    return "\n".join(
        [INTRODUCTION + headers, "## Requests\n", *requests, REFUSALS, *refusals, "\n## Schemas\n", *schemas]
    )


def _refusals(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the answers that several requests may get: status → what it says."""
    known, found = document["components"]["responses"], {}
    for item in document["paths"].values():
        for operation in (item[method] for method in METHODS if method in item):
            for status, answer in operation["responses"].items():
                if "$ref" in answer:
                    found[status] = known[answer["$ref"].rpartition("/")[2]]
    return found


def _document() -> dict[str, Any]:
    """Return what the service says of itself while it serves a model of iris."""
    sys.path.insert(0, str(ROOT / "services"))
    from contract.mlmodel.manifest import Description
    from contract.schema import Column
    from inference.model.deployment import Deployment
    from inference.model.model import Model
    from inference.model.version import ModelVersion
    from inference.web import openapi

    columns = tuple(Column(name) for name in MEASURES)
    described = Description(columns, True, "long", FLOWERS, [EXAMPLE], {})
    estimator: Any = SimpleNamespace(name="onnx", classes=list(range(len(FLOWERS))))  # of which its classes are asked
    version = ModelVersion("iris_logistic_regression", "1", "", 0, "", "")
    served = Deployment(Model(described, None, estimator, ""), version, {}, "")
    return openapi.document("http://localhost:1235", version.name, served, asks_for_key=True)


def _path(path: str, item: dict[str, Any]) -> Iterator[str]:
    for method in METHODS:
        if operation := item.get(method):
            yield f"### {method.upper()} {path}\n"
            yield f"{_sentences(operation)}\n"
            if parameters := [_parameter(each) for each in item.get("parameters", [])]:
                yield "In the path: " + "; ".join(parameters) + ".\n"
            yield from _body(operation)
            yield "| status | what it says | body |"
            yield "|---|---|---|"
            answers = sorted(operation["responses"].items())
            yield from (_answer(status, each) for status, each in answers if "$ref" not in each)
            refused = ", ".join(status for status, each in answers if "$ref" in each)
            yield f"\n[Refused](#refusals) with {refused}.\n" if refused else ""


def _sentences(operation: dict[str, Any]) -> str:
    key = "Asks for an API key where there are any." if operation.get("security") != [] else ""
    found = (operation["summary"], operation.get("description", ""))
    return " ".join([*(f"{each.rstrip('.')}." for each in found if each), key]).strip()


def _parameter(parameter: dict[str, Any]) -> str:
    value = parameter["schema"].get("const")
    return f"`{parameter['name']}`" + (f", here `{value}`" if value else "")


def _body(operation: dict[str, Any]) -> Iterator[str]:
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        form = content.get("schema", {})
        name = form.get("$ref", "").rpartition("/")[2]
        yield (
            f"Body, `{media}`"
            + (f": [{name}](#{name.lower()})" if name else "")
            + ", such as\n" * ("examples" in content)
        )
        for example in content.get("examples", {}).values():
            value = example["value"]
            text = value if isinstance(value, str) else json.dumps(value)
            yield "\n".join(f"    {line}" for line in text.splitlines()) + "\n"
        if not content.get("examples"):
            yield from ([""] if name else _json(form))


def _answer(status: str, answer: dict[str, Any]) -> str:
    bodies = []
    for media, content in answer.get("content", {}).items():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        bodies.append(f"[{name}](#{name.lower()})" if name else f"`{media}`")
    return f"| {status} | {answer['description']} | {', '.join(bodies)} |"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield from _json(schema)


def _json(schema: dict[str, Any]) -> Iterator[str]:
    yield f"```json\n{json.dumps(schema, indent=2)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page())
