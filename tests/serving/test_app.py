"""The HTTP server's answers, without a network and without parties; each is held to the server's own description."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError

from secure_hfl.errors import ConfigurationError, UserCodeError
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.service import Unavailable
from secure_hfl.serving.description import description
from tests.serving.fakes import TOKEN, Served


@pytest.fixture
def served() -> Served:
    return Served()


def test_predictions_missing_and_refused_ids_come_in_the_order_of_the_request(served: Served) -> None:
    answer = served.predict(["b", "x1", "r1", "aa", "b"])
    assert answer.status_code == 200
    body = answer.json()
    assert [row["id"] for row in body["predictions"]] == ["b", "x1", "r1", "aa", "b"]
    assert [row["status"] for row in body["predictions"]] == [
        "predicted",
        "missing",
        "refused",
        "predicted",
        "predicted",
    ]
    assert body["predictions"][0] == {
        "id": "b",
        "status": "predicted",
        "prediction": 1,
        "outputs": [0.25, 1.0],
        "reason": "",
    }
    assert body["predictions"][1]["reason"] == "clinic does not hold it"
    assert body["predictions"][1]["outputs"] is None
    assert (body["missing"], body["refused"]) == (["x1"], ["r1"])
    assert answer.headers["cache-control"] == "no-store"


def test_one_output_is_itself_the_prediction_and_what_is_no_number_is_null(served: Served) -> None:
    served.predictor.answers = lambda ids: Predictions(
        tuple(ids), torch.tensor([[0.5], [math.nan], [math.inf]]), {each: at for at, each in enumerate(ids)}, {}
    )
    rows = served.predict(["a", "b", "c"]).json()["predictions"]
    assert [row["prediction"] for row in rows] == [0.5, None, None]
    assert [row["outputs"] for row in rows] == [[0.5], [None], [None]]


def test_a_class_with_a_name_is_predicted_by_its_name(served: Served) -> None:
    served.predictor.answers = lambda ids: Predictions(
        tuple(ids), torch.tensor([[0.5, 2.0], [3.0, 1.0]]), {"a": 0, "b": 1}, {}, classes=("well", "ill")
    )
    rows = served.predict(["a", "b"]).json()["predictions"]
    assert [row["prediction"] for row in rows] == ["ill", "well"]


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/openapi.json", 200), ("/x", 404), ("/predict", 405)]
)
def test_without_the_token_no_connection_is_kept(served: Served, path: str, status: int) -> None:
    answer = served.client.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["connection"]) == (status, "close")


# Who may ask ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer " + TOKEN[:-1], "Bearer " + TOKEN + "0", "Basic " + TOKEN, TOKEN, "Bearer ~"]
)
@pytest.mark.parametrize("path", ["/predict", "/metrics"])
def test_without_the_token_nothing_is_answered(served: Served, header: str, path: str) -> None:
    served.client.headers["Authorization"] = header
    answer = served.predict(["a"]) if path == "/predict" else served.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert served.predictor.asked == []


def test_health_says_who_is_on_line_to_those_who_have_the_token() -> None:
    served, stranger = Served(), Served(token="")
    assert served.get("/healthz").json() == {"status": "ready", "collaborators": {"clinic": True}}
    assert stranger.get("/healthz").json() == {"status": "ready"}
    served.predictor.is_ready = False
    waiting = served.get("/healthz")
    assert (waiting.status_code, waiting.json()) == (503, {"status": "waiting", "collaborators": {"clinic": False}})
    served.predictor.is_stopping = True
    assert served.get("/healthz").json()["status"] == "stopping"


# Requests that cannot be answered -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"\xff\xfe", "not-json"),
        (b"[" * 900, "not-json"),
        (b"[]", "bad-request"),
        (b"{}", "bad-request"),
        (b'{"ids": "a"}', "bad-request"),
        (b'{"ids": []}', "bad-request"),
        (b'{"ids": [1]}', "bad-request"),
        (b'{"ids": [null]}', "bad-request"),
        (b'{"ids": [""]}', "bad-request"),
        (b'{"ids": ["\\ud800"]}', "bad-request"),
        (b'{"ids": ["a"], "other": 1}', "bad-request"),
        (b'{"ids": ["' + b"a" * 1025 + b'"]}', "bad-request"),
        (json.dumps({"ids": ["a"] * 6}).encode(), "bad-request"),
    ],
)
def test_a_body_that_is_no_request(served: Served, body: bytes, code: str) -> None:
    answer = served.post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert served.predictor.asked == []


def test_a_message_about_a_request_does_not_repeat_its_ids(served: Served) -> None:
    for body in ({"ids": ["secret-id", 7]}, {"ids": ["secret-id"] * 9}, {"ids": ["secret-id", ""]}, {"secret-id": []}):
        assert "secret-id" not in served.post(json.dumps(body)).text


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type(served: Served, kind: str) -> None:
    assert served.post(b'{"ids": ["a"]}', kind).status_code == 415
    assert served.post(b'{"ids": ["a"]}', "application/json; charset=utf-8").status_code == 200


def test_a_body_that_is_too_long_is_not_read_to_its_end(served: Served) -> None:
    read = []

    def parts() -> Iterator[bytes]:
        for at in range(1000):
            read.append(at)
            yield b" " * 500

    assert served.post(b" " * 2001).status_code == 413
    assert served.post(parts()).status_code == 413
    assert served.predictor.asked == []


def test_other_addresses_and_methods_are_errors_in_json(served: Served) -> None:
    for answer, code in (
        (served.client.get("/predict"), "bad-method"),
        (served.client.post("/healthz"), "bad-method"),
        (served.client.get("/other"), "not-found"),
    ):
        assert answer.json()["error"]["code"] == code


def test_who_waits_too_long_is_told_why_and_taken_out_of_the_queue(served: Served) -> None:
    served.predictor.answers = lambda ids: None
    answer = served.predict(["a"])
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "code": "unavailable",
        "message": "no answer within 0.2 s: clinic is not on line",
    }
    assert answer.headers["retry-after"] == "5"
    assert served.predictor.futures[0].cancelled()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("the service is stopping"), 503),
        (UserCodeError("predict_a_batch raised ValueError: secret"), 500),
        (ConfigurationError("secret"), 500),
        (RuntimeError("secret"), 500),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_of_the_hosts_own_code_stays_in_its_log(served: Served, error: Exception, status: int) -> None:
    def fails(ids: Any) -> Any:
        raise error

    served.predictor.answers = fails
    answer = served.predict(["a"])
    assert answer.status_code == status
    assert "secret" not in answer.text


def test_when_it_stops_new_requests_are_refused(served: Served) -> None:
    served.predictor.stop()
    answer = served.predict(["a"])
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "the service is stopping")


# What it says of itself -----------------------------------------------------------------------------------------------


def test_figures_have_counts_and_times_and_no_id(served: Served) -> None:
    served.predict(["secret-id", "x-secret-id", "r-secret-id"])
    served.client.post("/predict", json={"ids": []})
    served.figures.batch(3, 7, 0.01)
    served.figures.session(True)
    text = served.get("/metrics").text
    for line in (
        'secure_hfl_requests_total{code="200"} 1.0',
        'secure_hfl_requests_total{code="400"} 1.0',
        'secure_hfl_rows_total{status="predicted"} 1.0',
        'secure_hfl_rows_total{status="missing"} 1.0',
        'secure_hfl_rows_total{status="refused"} 1.0',
        "secure_hfl_request_seconds_count 2.0",
        "secure_hfl_batch_seconds_count 1.0",
        'secure_hfl_batch_requests_bucket{le="4.0"} 1.0',
        'secure_hfl_collaborator_up{collaborator="clinic"} 1.0',
        "secure_hfl_session_open 1.0",
        "secure_hfl_sessions_total 1.0",
    ):
        assert line in text.splitlines(), line
    assert "secret" not in text
    assert TOKEN not in text


def test_two_servers_of_one_process_have_their_own_figures() -> None:
    one, other = Served(), Served()
    one.predict(["a"])
    assert 'code="200"' not in other.get("/metrics").text


def test_the_description_is_one_and_fits_the_requests(served: Served) -> None:
    said = Served(token="").get("/openapi.json").json()
    assert said == served.description
    for schema in said["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    request = {"$ref": "#/components/schemas/Request"}
    served.check({"ids": ["a", "b"]}, request)
    for wrong in ({}, {"ids": []}, {"ids": ["a"] * 6}, {"ids": [""]}, {"ids": [1]}, {"ids": ["a"], "more": 1}):
        with pytest.raises(ValidationError):
            served.check(wrong, request)
        assert served.post(json.dumps(wrong)).status_code == 400
    paths = {route.path: route.methods - {"HEAD"} for route in served.client.app.routes}  # type: ignore[attr-defined]
    assert paths == {path: {method.upper() for method in methods} for path, methods in said["paths"].items()}


def test_the_description_is_valid_openapi() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(description(1024))
    with pytest.raises(Exception, match=r"operationId|responses|not valid"):
        validator.validate({**description(1024), "paths": {"/x": {"get": {"operationId": 1}}}})
