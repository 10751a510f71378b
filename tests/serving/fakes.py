"""A predictor without parties, and an application around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.service import Silent, Unavailable
from secure_hfl.serving.app import Application, HttpLimits
from secure_hfl.serving.description import description
from secure_hfl.serving.figures import Figures
from secure_hfl.serving.token import Token

TOKEN = "0123456789abcdef" * 4
LIMITS = HttpLimits(body_bytes=2000, ids=5, wait_seconds=0.2)


def predicted(ids: Sequence[str]) -> Predictions:
    """Ids that begin with "x" are missing, those with "r" refused; of others two outputs."""
    asked = list(dict.fromkeys(ids))
    known = [each for each in asked if each[0] not in "xr"]
    outputs = torch.tensor([[0.25, float(len(each))] for each in known]).reshape(len(known), 2)
    reasons = {each: "clinic does not hold it" for each in asked if each not in known}
    refused = frozenset(each for each in asked if each[0] == "r")
    return Predictions(tuple(ids), outputs, {each: at for at, each in enumerate(known)}, reasons, refused=refused)


class FakePredictor:
    """Answers at once, unless told otherwise.

    Attributes:
        answers: what is done with each request.
        asked: what was asked for.
    """

    def __init__(self) -> None:
        self.is_ready, self.is_stopping = True, False
        self.answers: Callable[[Sequence[str]], Any] = predicted
        self.asked: list[Sequence[str]] = []
        self.futures: list[Future[Predictions]] = []
        self.listener: Any = Silent()
        self.failure: BaseException | None = None
        self.events: list[str] = []

    def submit(self, ids: Sequence[str]) -> Future[Predictions]:
        """See `PredictionService`."""
        if self.is_stopping:
            raise Unavailable("the service is stopping")
        self.asked.append(ids)
        answer: Future[Predictions] = Future()
        self.futures.append(answer)
        try:
            found = self.answers(ids)
            if found is not None:
                answer.set_result(found)
        except Exception as error:
            answer.set_exception(error)
        return answer

    def why_late(self, seconds: float) -> str:
        """See `PredictionService`."""
        return f"no answer within {seconds:g} s: clinic is not on line"

    def online(self) -> dict[str, bool]:
        """See `PredictionService`."""
        return {"clinic": self.is_ready}

    def start(self) -> None:
        """See `PredictionService`."""
        self.events.append("start")

    def stop(self) -> None:
        """See `PredictionService`."""
        self.is_stopping = True
        self.events.append("stop")


class Served:
    """An application, and a client whose answers are held to the description."""

    def __init__(self, token: str = TOKEN, limits: HttpLimits = LIMITS) -> None:
        self.predictor, self.figures = FakePredictor(), Figures()
        self.predictor.listener = self.figures
        app = Application(self.predictor, Token(TOKEN), self.figures, limits).starlette()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = TestClient(app, headers=headers, raise_server_exceptions=False)
        self.description = description(limits.ids)

    def get(self, path: str) -> Any:
        """An answer."""
        return self._checked("get", path, self.client.get(path))

    def predict(self, ids: Any) -> Any:
        """The answer to a request."""
        return self._checked("post", "/predict", self.client.post("/predict", json={"ids": ids}))

    def post(self, content: Any, kind: str = "application/json") -> Any:
        """The answer to any body."""
        answer = self.client.post("/predict", content=content, headers={"Content-Type": kind})
        return self._checked("post", "/predict", answer)

    def _checked(self, method: str, path: str, answer: Any) -> Any:
        said = self.description["paths"][path][method]["responses"]
        assert str(answer.status_code) in said, f"{answer.status_code} is not described"
        (kind, content), *others = said[str(answer.status_code)]["content"].items()
        assert not others
        assert answer.headers["content-type"].partition(";")[0] == kind
        if kind == "application/json":
            self.check(answer.json(), content["schema"])
        return answer

    def check(self, value: Any, schema: dict[str, Any]) -> None:
        """Raise unless a value fits a schema of the description."""
        whole = {**schema, "components": self.description["components"]}
        Draft202012Validator(whole).validate(value)
