"""What the HTTP server says of itself: an OpenAPI 3.1 description."""

from __future__ import annotations

from typing import Any

from protocols.psi.ids import MAX_ID_BYTES
from secure_hfl.version import __version__

_TEXT = {"type": "string"}


def description(most_ids: int) -> dict[str, Any]:
    """As JSON data; `most_ids`: in one request."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "secure-hfl predictions",
            "version": __version__,
            "description": "Predictions of a finished task, computed together with its collaborators.",
        },
        "paths": {
            "/predict": {"post": _predict()},
            "/healthz": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _own()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(most_ids),
        },
    }


def _predict() -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "Predict samples by their ids.",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": _json("Request")},
        "responses": {
            "200": _answer("An entry for each id, in the order of the request.", "Predictions"),
            "400": _failure("The body is no such request."),
            "401": _failure("The token is missing or wrong."),
            "408": _failure("The body did not come in time."),
            "413": _failure("The body is too long."),
            "415": _failure("The body is not JSON."),
            "500": _failure("The Host's own code failed at these ids; its log says why."),
            "503": _failure("Not answered in time: a collaborator is not on line, or the parties are busy."),
        },
    }


def _health() -> dict[str, Any]:
    return {
        "operationId": "health",
        "summary": "Whether predictions can be made now. With the token also who is connected.",
        "security": [{"token": []}, {}],
        "responses": {
            "200": _answer("All collaborators are on line.", "Health"),
            "503": _answer("Some collaborator is not.", "Health"),
        },
    }


def _metrics() -> dict[str, Any]:
    return {
        "operationId": "metrics",
        "summary": "Figures for Prometheus.",
        "security": [{"token": []}],
        "responses": {
            "200": {"description": "Its text format.", "content": {"text/plain": {"schema": _TEXT}}},
            "401": _failure("The token is missing or wrong."),
        },
    }


def _own() -> dict[str, Any]:
    schema = {"type": "object"}
    return {
        "operationId": "description",
        "summary": "This description.",
        "responses": {"200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": schema}}}},
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _answer(text: str, name: str) -> dict[str, Any]:
    return {"description": text, "content": _json(name)}


def _failure(text: str) -> dict[str, Any]:
    return _answer(text, "Failure")


def _schemas(most_ids: int) -> dict[str, Any]:
    an_id = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
    number = {"type": ["number", "null"]}
    prediction = {
        "id": _TEXT,
        "status": {"enum": ["predicted", "missing", "refused"]},
        "prediction": {
            "type": ["number", "string", "null"],
            "description": "The class of the largest output, by its name or its number; or the only output itself.",
        },
        "outputs": {"type": ["array", "null"], "items": number},
        "reason": {**_TEXT, "description": "Why there is no prediction; else empty."},
    }
    texts = {"type": "array", "items": _TEXT}
    failure = {"code": _TEXT, "message": _TEXT}
    health = {
        "status": {"enum": ["ready", "waiting", "stopping"]},
        "collaborators": {"type": "object", "additionalProperties": {"type": "boolean"}},
    }
    return {
        "Request": _object({"ids": {"type": "array", "items": an_id, "minItems": 1, "maxItems": most_ids}}),
        "Prediction": _object(prediction),
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
                "missing": texts,
                "refused": texts,
                "source": {"enum": ["joint", "fallback"], "description": "fallback: by the Host alone."},
            }
        ),
        "Health": {**_object(health), "required": ["status"]},
        "Failure": _object({"error": _object(failure)}),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
