"""The HTTP server's answers: an ASGI application around something that predicts.

    POST /predict       {"ids": [...]}  ->  predictions; needs the token
    GET  /metrics       for Prometheus; needs the token
    GET  /healthz       whether predictions can be made now; with the token also who is connected
    GET  /openapi.json  what this is

Errors are JSON: {"error": {"code": ..., "message": ...}}. A message never holds an id, or the text of an error of the
Host's own code.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.psi import check_ids, normal_form
from secure_hfl.log import logger
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.service import WAIT_SECONDS, Unavailable
from secure_hfl.serving.description import description
from secure_hfl.serving.figures import CONTENT_TYPE, Figures
from secure_hfl.serving.token import Token

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
BRIEF = {"Connection": "close"}
"""Of what is answered without the token: nobody holds a connection by it."""

RETRY_SECONDS = "5"

Endpoint = Callable[[Request], Awaitable[Response]]


class Predictor(Protocol):
    """What predicts: a `PredictionService`, as far as the application goes."""

    def submit(self, ids: Sequence[str]) -> Future[Predictions]: ...
    def why_late(self, seconds: float) -> str: ...
    def online(self) -> Mapping[str, bool]: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def is_stopping(self) -> bool: ...


@dataclass(frozen=True)
class HttpLimits:
    """What one request may ask for.

    Attributes:
        body_bytes: of it.
        ids: in it.
        wait_seconds: that it waits for its answer.
    """

    body_bytes: int = 1 << 20
    ids: int = 1024
    wait_seconds: float = WAIT_SECONDS


class Refusal(HTTPException):
    """An answer that is an error, with a code for programs."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


class Application:
    """The endpoints.

    Args:
        predictor: what predicts.
        token: what clients must show.
        figures: what Prometheus is told.
        limits: of a request.
    """

    def __init__(self, predictor: Predictor, token: Token, figures: Figures, limits: HttpLimits) -> None:
        self._predictor, self._token, self._figures, self._limits = predictor, token, figures, limits
        self._description = description(limits.ids)

    def starlette(self) -> Starlette:
        """As an ASGI application."""
        routes = [
            Route("/predict", self.predict, methods=["POST"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/openapi.json", self.describe, methods=["GET"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})

    async def predict(self, request: Request) -> Response:
        """POST /predict."""
        started = time.perf_counter()
        try:
            found = await self._predicted(request)
        except HTTPException as error:
            self._figures.answered(error.status_code, time.perf_counter() - started)
            raise
        self._figures.answered(200, time.perf_counter() - started, found)
        return _answer(_table(found))

    async def _predicted(self, request: Request) -> Predictions:
        self._check_token(request)
        limits = self._limits
        try:
            ids = self._ids_in(await asyncio.wait_for(self._body(request), limits.wait_seconds))
        except asyncio.TimeoutError:
            raise Refusal(408, "too-slow", f"the body did not come within {limits.wait_seconds:g} s") from None
        try:
            answer = self._predictor.submit(ids)
            # Late, or without its client, it is taken out of the queue; a batch that it is in goes on for the others.
            return await asyncio.wait_for(asyncio.wrap_future(answer), limits.wait_seconds)
        except asyncio.TimeoutError:
            raise _unavailable(self._predictor.why_late(limits.wait_seconds)) from None
        except Unavailable as error:
            raise _unavailable(str(error)) from None
        except SecureHflError as error:
            logger.warning(f"A request over HTTP failed: {type(error).__name__}")
            raise Refusal(500, "failed", "the Host's own code failed at these ids; its log says why") from error

    def _check_token(self, request: Request) -> None:
        if not self._token.fits(request.headers.get("authorization")):
            challenge = {"WWW-Authenticate": "Bearer", **BRIEF}
            raise Refusal(401, "unauthorized", "show the token: Authorization: Bearer TOKEN", challenge)

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, "not-json", "Content-Type must be application/json")
        most, parts, size = self._limits.body_bytes, [], 0
        said = request.headers.get("content-length", "0")
        try:
            if said.isdecimal() and int(said) <= most:
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        break
                    parts.append(part)
                else:
                    return b"".join(parts)
        except ClientDisconnect:
            raise Refusal(400, "incomplete", "the body is incomplete") from None
        raise Refusal(413, "too-long", f"the body may have {most} bytes", BRIEF)

    def _ids_in(self, body: bytes) -> list[str]:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise Refusal(400, "not-json", "the body is no JSON") from None
        if not isinstance(said, dict) or set(said) != {"ids"} or not isinstance(said["ids"], list):
            raise Refusal(400, "bad-request", 'the body must be {"ids": [...]} and nothing else')
        ids, most = said["ids"], self._limits.ids
        if not 1 <= len(ids) <= most:
            raise Refusal(400, "bad-request", f"ids must be 1 to {most}, not {len(ids)}")
        if not all(isinstance(each, str) for each in ids):
            raise Refusal(400, "bad-request", 'ids must be texts: "17", not 17')
        try:
            check_ids(list({normal_form(each): None for each in ids}))
        except InvalidInput as error:
            raise Refusal(400, "bad-request", str(error)) from None
        return ids

    async def metrics(self, request: Request) -> Response:
        """GET /metrics."""
        self._check_token(request)
        return Response(self._figures.text(self._predictor.online()), media_type=CONTENT_TYPE, headers=HEADERS)

    async def health(self, request: Request) -> Response:
        """GET /healthz."""
        predictor = self._predictor
        status = "stopping" if predictor.is_stopping else "ready" if predictor.is_ready else "waiting"
        body: dict[str, Any] = {"status": status}
        is_known = self._token.fits(request.headers.get("authorization"))
        if is_known:
            body["collaborators"] = dict(predictor.online())
        return _answer(body, 200 if status == "ready" else 503, {} if is_known else BRIEF)

    async def describe(self, request: Request) -> Response:
        """GET /openapi.json."""
        return _answer(self._description, headers=BRIEF)


def _table(found: Predictions) -> dict[str, Any]:
    """The body of an answer."""
    rows = []
    for each in found.ids:
        values = found.outputs[found.at[each]].tolist() if each in found.at else None
        rows.append(
            {
                "id": each,
                "status": found.status(each),
                "prediction": None if values is None else _finite(found.said(values)),
                "outputs": None if values is None else [_finite(value) for value in values],
                "reason": "" if values is not None else found.reasons[each],
            }
        )
    without = list(dict.fromkeys(each for each in found.ids if each not in found.at))
    refused = [each for each in without if each in found.refused]
    missing = [each for each in without if each not in found.refused]
    return {"predictions": rows, "missing": missing, "refused": refused, "source": found.source}


def _finite(value: float | str) -> float | str | None:
    """JSON has no other numbers."""
    return value if isinstance(value, str) or math.isfinite(value) else None


def _unavailable(message: str) -> Refusal:
    return Refusal(503, "unavailable", message, {"Retry-After": RETRY_SECONDS})


def _answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(body, status, {**HEADERS, **(headers or {})})


async def _refused(request: Request, error: Exception) -> Response:
    """An error of ours, or of Starlette's routes."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    if isinstance(error, Refusal):
        code, headers = error.code, error.headers
    else:  # nobody has looked at the token
        code = {404: "not-found", 405: "bad-method"}.get(error.status_code, "refused")
        headers = {**(error.headers or {}), **BRIEF}
    return _answer({"error": {"code": code, "message": error.detail}}, error.status_code, headers)


async def _failed(request: Request, error: Exception) -> Response:
    """A defect: its text stays in the log."""
    logger.error(f"The HTTP server failed: {type(error).__name__}")
    return _answer({"error": {"code": "defect", "message": "the server failed; its log says why"}}, 500)
