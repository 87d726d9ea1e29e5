"""The service's description in OpenAPI 3.1, made from the signature of the model being served and its input example."""

from typing import Any

from contract.manifest import Description
from contract.schema import LARGEST, Column, Kind

from inference.model.deployment import Deployment
from inference.protocols.open_inference import DTYPES, PREDICT, model_metadata

JSON = "application/json"


def document(url: str, name: str, served: Deployment | None) -> dict[str, Any]:
    """Return the OpenAPI document; without a model, predictions take no particular columns."""
    version = served.version.version if served else "none"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name}: predictions",
            "version": version,
            "summary": "Serves the version of a model that is behind an alias of the MLflow registry.",
        },
        "servers": [{"url": url}],
        "paths": {**_information(), **_predictions(served), **_open_inference(name, served)},
        "components": {
            "schemas": {"Error": _error_schema(), **_model_schemas(served)},
            "responses": _responses(),
            "headers": _headers(),
        },
    }


# --- answers that all have -----------------------------------------------------------------------------------------


def _headers() -> dict[str, Any]:
    return {
        "X-Model-Name": {"schema": {"type": "string"}, "description": "the registered model, percent-encoded"},
        "X-Model-Version": {"schema": {"type": "string"}, "description": "the version that answered, or none"},
        "X-Request-ID": {"schema": {"type": "string"}, "description": "as it was sent, or a new one"},
    }


def _with_headers(response: dict[str, Any]) -> dict[str, Any]:
    return {**response, "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _headers()}}


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["error_code", "message"],
        "properties": {
            "error_code": {"type": "string", "examples": ["INVALID_PARAMETER_VALUE"]},
            "message": {"type": "string"},
            "error": {"type": "string", "description": "under /v2: the message once more, as that protocol has it"},
            "where": {
                "type": "string",
                "description": "where in the request the fault is",
                "examples": ["instances[0][2]"],
            },
        },
        "additionalProperties": False,
    }


def _responses() -> dict[str, Any]:
    meanings = {
        "BadRequest": "the body is not what the model takes",
        "Forbidden": "the request is addressed to another host, or comes from a foreign web page",
        "NotFound": "there is nothing of this name",
        "NotAllowed": "the path has no such method",
        "TooLarge": "the body is over the limit",
        "UnsupportedMedia": "the body is not declared as something that is read here",
        "Unavailable": "there is no model yet, or more to do than can be done in time; Retry-After says when to ask again",
    }
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {name: _with_headers({"description": what, "content": content}) for name, what in meanings.items()}


def _errors(*names: str) -> dict[str, Any]:
    status = {
        "BadRequest": "400",
        "Forbidden": "403",
        "NotFound": "404",
        "NotAllowed": "405",
        "TooLarge": "413",
        "UnsupportedMedia": "415",
        "Unavailable": "503",
    }
    return {status[name]: {"$ref": f"#/components/responses/{name}"} for name in names}


def _answer(description: str, schema: dict[str, Any], media: str = JSON) -> dict[str, Any]:
    return _with_headers({"description": description, "content": {media: {"schema": schema}}})


def _get(
    name: str, summary: str, schema: dict[str, Any], media: str = JSON, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "responses": {"200": _answer(summary, schema, media), **(more or {})},
        }
    }


# --- information ---------------------------------------------------------------------------------------------------


def _information() -> dict[str, Any]:
    thing = {"type": "object"}
    status = {"type": "object", "required": ["status"], "properties": {"status": {"const": "alive"}}}
    root = _get("index", "What this is: JSON, or a page for a browser", thing)
    root["get"]["responses"]["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
    not_ready = {"type": "object", "required": ["status", "reasons"], "properties": {"reasons": {"type": "array"}}}
    return {
        "/": root,
        "/health": _get("health", "The process is alive", status),
        "/ping": _get("ping", "The process is alive", status),
        "/ready": _get("ready", "Predictions work", thing, more={"503": _answer("they do not yet", not_ready)}),
        "/version": _get("version", "Which model is served, and by what", thing),
        "/metrics": _get("metrics", "Figures for Prometheus", {"type": "string"}, "text/plain"),
        "/openapi.json": _get("openapi", "This description", thing),
    }


# --- predictions ---------------------------------------------------------------------------------------------------


def _predictions(served: Deployment | None) -> dict[str, Any]:
    text = {"schema": {"type": "string"}, "examples": {"rows": {"value": _csv_example(served)}}} if served else {}
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Rows"}, **_example(served)}}
    if served and served.model.description.is_named:
        content["text/csv"] = text
    body = {"required": True, "content": content}
    failures = _errors("BadRequest", "Forbidden", "TooLarge", "UnsupportedMedia", "Unavailable")
    predict = {
        "operationId": "invocations",
        "summary": "Predict, in MLflow's scoring protocol",
        "requestBody": body,
        "responses": {"200": _answer("one prediction per row", _ref("Predictions")), **failures},
    }
    names = {
        "operationId": "predict_names",
        "summary": "Predict, as names of classes with the probability of each",
        "requestBody": body,
        "responses": {"200": _answer("one name per row, and its probabilities", _ref("NamedPredictions")), **failures},
    }
    return {"/invocations": {"post": predict}, "/predict_names": {"post": names}}


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
        return {"Rows": anything, "Predictions": anything, "NamedPredictions": anything}
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
    }


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
    return types.get(served.model.description.output, {})


# --- the Open Inference Protocol -----------------------------------------------------------------------------------


def _open_inference(name: str, served: Deployment | None) -> dict[str, Any]:
    thing = {"type": "object"}
    parameter = {"name": "model", "in": "path", "required": True, "schema": {"const": name} if name else {}}
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"const": served.version.version} if served else {"type": "string"},
    }
    failures = _errors("NotFound", "Unavailable")
    metadata = _get("model_metadata", "Names, types and shapes of the model's tensors", thing, more=failures)
    ready = _get("model_ready", "The model is ready", thing, more=failures)
    unready = {"503": _answer("there is no model yet", thing)}
    return {
        "/v2": _get("server_metadata", "The Open Inference Protocol: name, version, extensions", thing),
        "/v2/health/live": _get("server_live", "The process is alive", thing),
        "/v2/health/ready": _get("server_ready", "Predictions work", thing, more=unready),
        "/v2/models/{model}": {**metadata, "parameters": [parameter]},
        "/v2/models/{model}/ready": {**ready, "parameters": [parameter]},
        "/v2/models/{model}/infer": {"post": _infer("model_infer", served), "parameters": [parameter]},
        "/v2/models/{model}/versions/{version}": {
            **_get("version_metadata", "The same of a version", thing, more=failures),
            "parameters": [parameter, version],
        },
        "/v2/models/{model}/versions/{version}/ready": {
            **_get("version_ready", "The version is ready", thing, more=failures),
            "parameters": [parameter, version],
        },
        "/v2/models/{model}/versions/{version}/infer": {
            "post": _infer("version_infer", served),
            "parameters": [parameter, version],
        },
    }


def _with_binary(answer: dict[str, Any]) -> dict[str, Any]:
    """Add that tensors which are asked for as binary data stand behind the JSON."""
    return {**answer, "content": {**answer["content"], "application/octet-stream": {}}}


def _infer(name: str, served: Deployment | None) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"enum": [each["name"] for each in model_metadata(served)["inputs"]]} if served else {},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": [*DTYPES, "BYTES"]},
            "data": {"type": "array"},
        },
    }
    names = [each["name"] for each in model_metadata(served)["outputs"]] if served else [PREDICT]
    output = {"type": "object", "required": ["name"], "properties": {"name": {"enum": names}}}
    outputs = {"type": "array", "items": output}
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "inputs": _list(tensor), "outputs": outputs},
    }
    answered = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {"outputs": {"type": "array"}},
    }
    return {
        "operationId": name,
        "summary": "Predict, in the Open Inference Protocol",
        "requestBody": {"required": True, "content": {JSON: {"schema": request}}},
        "responses": {
            "200": _with_binary(_answer("a tensor per output", answered)),
            **_errors("BadRequest", "Forbidden", "NotFound", "TooLarge", "UnsupportedMedia", "Unavailable"),
        },
    }
