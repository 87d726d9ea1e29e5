"""The service's description in OpenAPI 3.1: openapi.yaml, and in it what depends on the model being served."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml
from contract.mlmodel.manifest import Description
from contract.preparation.dates import EXAMPLE
from contract.schema import LARGEST, Column, Kind

from inference.model.deployment import Deployment
from inference.protocols.open_inference import DTYPES, PREDICT, model_metadata
from inference.request.routing import scope_of

JSON = "application/json"
# The one in C takes 2 ms and not 66, for which others would wait.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# How an API key is sent, any one of these.
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "the API key"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "login": {"type": "http", "scheme": "basic", "description": "the API key as the password, under any name"},
}


def document(url: str, name: str, served: Deployment | None, asks_for_key: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document; without a model, predictions take no particular columns."""
    version = served.version.version if served else "none"
    tensors = model_metadata(served) if served else {"outputs": [{"name": PREDICT}]}
    values = {
        "$title": f"{name}: predictions",
        "$version": version,
        "$url": url,
        "$rows": _rows(served),
        "$model": {"const": name} if name else {},
        "$version_name": {"const": version} if served else {"type": "string"},
        "$input": {"enum": [each["name"] for each in tensors["inputs"]]} if served else {},
        "$datatypes": [*DTYPES, "BYTES"],
        "$outputs": [each["name"] for each in tensors["outputs"]],
    }
    found: dict[str, Any] = _filled(_template(), values)
    found["components"]["schemas"] |= _model_schemas(served)
    if asks_for_key:
        _add_keys(found)
    return found


def _add_keys(found: dict[str, Any]) -> None:
    """Say of each operation whether it asks for an API key, and what it answers where that is not good enough."""
    found["components"]["securitySchemes"] = SECURITY_SCHEMES
    found["security"] = [{name: []} for name in SECURITY_SCHEMES]
    refused = {"401": "Unauthorized", "403": "Forbidden", "429": "TooManyRequests", "503": "Unavailable"}
    answers = {status: {"$ref": f"#/components/responses/{name}"} for status, name in refused.items()}
    for path, item in found["paths"].items():
        for operation in (item[method] for method in ("get", "post") if method in item):
            if scope_of(path):
                operation["responses"] = answers | operation["responses"]
            else:
                operation["security"] = []


def content(url: str, name: str, served: Deployment | None, asks_for_key: bool = False) -> bytes:
    """Return the document as JSON."""
    found = document(url, name, served, asks_for_key)
    try:
        return orjson.dumps(found)
    except orjson.JSONEncodeError:  # the example of a version may have a whole number of more than 64 bits
        return json.dumps(found).encode()


@cache
def _template() -> Any:
    return yaml.load(Path(__file__).with_name("openapi.yaml").read_bytes(), LOADER)  # noqa: S506 - both are safe ones


def _filled(part: Any, values: dict[str, Any]) -> Any:
    """Return a copy of a part of the template with the values of the names in it."""
    if isinstance(part, dict):
        return {key: _filled(each, values) for key, each in part.items()}
    if isinstance(part, list):
        return [_filled(each, values) for each in part]
    return values.get(part, part) if isinstance(part, str) else part


def _rows(served: Deployment | None) -> dict[str, Any]:
    """Return what a body of rows may be, by its media type."""
    content: dict[str, Any] = {JSON: {"schema": _ref("Rows"), **_example(served)}}
    if served and served.model.description.is_named:
        text = {"schema": {"type": "string"}, "examples": {"rows": {"value": _csv_example(served)}}}
        content["text/csv"] = text
    return content


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _example(served: Deployment | None) -> dict[str, Any]:
    if served is None:
        return {}
    return {"examples": {"one row": {"value": {"instances": [served.model.description.first_example]}}}}


def _csv_example(served: Deployment) -> str:
    model = served.model.description
    cells = ["" if value is None else str(value) for value in model.first_example]
    return (
        "\n".join(",".join(_quoted(cell) for cell in line) for line in ([c.name for c in model.columns], cells)) + "\n"
    )


def _quoted(cell: str) -> str:
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if any(mark in cell for mark in ',"\n\r') else cell


def _model_schemas(served: Deployment | None) -> dict[str, Any]:
    if served is None:
        anything = {"type": "object"}
        return {"Rows": anything, "Predictions": anything, "NamedPredictions": anything, "Explanation": anything}
    model = served.model.description
    names = served.model.class_names
    named = {"type": "string", "enum": names} if names else {"type": "string"}
    probability = {"type": "number", "minimum": 0, "maximum": 1.0000001}
    return {
        "Row": _row_schema(model),
        "Rows": _rows_schema(model),
        "Predictions": _object({"predictions": _list(_prediction_schema(served))}),
        "NamedPredictions": _object(
            {
                "predictions": _list(named),
                "probabilities": _list(_object(dict.fromkeys(names or [], probability))),
            }
        ),
        "Explanation": _explanation_schema(served, named if names else {"type": "null"}),
    }


def _explanation_schema(served: Deployment, of: dict[str, Any]) -> dict[str, Any]:
    number, columns = {"type": "number"}, served.model.description.columns
    return _object(
        {
            "prediction": _prediction_schema(served),
            "of": of,
            "value": number,
            "expected_value": number,
            "contributions": _object({column.name: number for column in columns}),
            "method": {"enum": ["exact", "permutation"]},
            "background_rows": {"type": "integer", "minimum": 1},
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _rows_schema(model: Description) -> dict[str, Any]:
    lists = _list(_ref("Row"))
    formats: list[dict[str, Any]] = [{"instances": lists}]
    if not model.is_named:
        formats.append({"inputs": lists})
    else:
        records = _list(_record_schema(model))
        names = {"const": [column.name for column in model.columns]}
        formats += [{"instances": records}, {"inputs": records}, {"dataframe_records": records}]
        formats.append({"dataframe_split": _object({"columns": names, "data": lists})})
    # What else stands beside them counts for nothing, but of the formats there is one at a time.
    return {"oneOf": [{**_object(each), "additionalProperties": True} for each in formats]}


def _row_schema(model: Description) -> dict[str, Any]:
    cells = [_cell_schema(column) for column in model.columns]
    return {"type": "array", "prefixItems": cells, "items": False, "minItems": len(cells), "maxItems": len(cells)}


def _record_schema(model: Description) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [column.name for column in model.columns if not column.missing],
        "properties": {column.name: _cell_schema(column) for column in model.columns},
    }


def _cell_schema(column: Column) -> dict[str, Any]:
    found: dict[Kind, dict[str, Any]] = {
        Kind.NUMBER: {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        Kind.INTEGER: {"type": "integer", "minimum": -int(column.limit) - 1, "maximum": int(column.limit)},
        Kind.BOOLEAN: {"type": "boolean"},
        Kind.TEXT: {"type": "string"},
        Kind.DATE: {"type": "string", "description": f"ISO 8601, such as {EXAMPLE}"},
    }
    cell = found[column.kind]
    return {**cell, "type": [cell["type"], "null"]} if column.missing else cell


def _prediction_schema(served: Deployment) -> dict[str, Any]:
    types: dict[str, dict[str, Any]] = {
        "long": {"type": "integer"},
        "integer": {"type": "integer"},
        "double": {"type": ["number", "null"]},
        "float": {"type": ["number", "null"]},
        "boolean": {"type": "boolean"},
        "string": {"type": "string"},
    }
    model = served.model.description
    value = types.get(model.output, {})
    return value if model.width == 1 else _list(value)
