"""A small client of NetBird's REST API: what NetBird's operator has no custom resource for.

It owns login and errors; the wire is ``http_client.py``'s. It does not know Pulumi. Shapes and paths are those of
https://docs.netbird.io/api and of shared/management/http/api/openapi.yml in NetBird 0.77.1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from components.http_client import (
    NOT_FOUND,
    REQUEST_TIMEOUT_SECONDS,
    RETRY_PAUSES_SECONDS,
    Answer,
    HttpClient,
    NoAnswer,
    RequestError,
    again_and_again,
)

Json = dict[str, Any]
_Objects = list[Json]


TOKEN_ADVICE: Final = (
    "the token in netbirdApiToken is wrong, revoked or expired, or its user may not do this; make a new one in NetBird "
    "(Team, Service Users), `pulumi config set --secret netbirdApiToken`, and then `pulumi up`, or "
    "`pulumi destroy --run-program`: without that option the engine takes the old one out of the state"
)


class NetbirdError(RequestError):
    """A request that NetBird refused or did not answer. Carries the request, never the token.

    ``status`` is None when there was no answer at all.
    """

    def __init__(self, method: str, path: str, status: int | None, message: str) -> None:
        self.method = method
        self.path = path
        self.message = message
        outcome = f"{status}" if status is not None else "no answer"
        advice = f"; {TOKEN_ADVICE}" if status in (401, 403) else ""
        super().__init__(f"NetBird API: {method} {path}: {outcome}: {message}{advice}", status)


class NetbirdClient:
    """Talks to one management server with one access token.

    ``management_url`` is the one of the settings, without the path ``/api``. ``pauses`` are the seconds between tries.
    """

    def __init__(
        self,
        management_url: str,
        token: str,
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        pauses: Sequence[float] = RETRY_PAUSES_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = HttpClient(
            f"{management_url.rstrip('/')}/api",
            {"Authorization": f"Token {token}", "Accept": "application/json"},
            timeout_seconds=timeout_seconds,
        )
        self._pauses = tuple(pauses)
        self._sleep = sleep

    @property
    def address(self) -> str:
        """Of the API, below which the paths are."""
        return self._http.base

    def list(self, path: str) -> list[Json]:
        """All objects of a collection; NetBird answers ``null`` for an empty one."""
        answer = self._retry(lambda: self._send("GET", path))
        return list(answer or [])

    def get(self, path: str) -> Json | None:
        """One object, or None when there is none."""
        try:
            answer: Json = self._retry(lambda: self._send("GET", path))
        except NetbirdError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return answer

    def list_below(self, path: str) -> _Objects:
        """A collection of an object that may be gone by now: then there is nothing in it."""
        try:
            return self.list(path)
        except NetbirdError as error:
            if error.status == NOT_FOUND:
                return []
            raise

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        """Changes an object and gives its new state."""
        answer: Json = self._retry(lambda: self._send("PUT", path, body))
        return answer

    def delete(self, path: str) -> None:
        """Deletes an object; one that is gone already is fine."""
        try:
            self._retry(lambda: self._send("DELETE", path))
        except NetbirdError as error:
            if error.status != NOT_FOUND:
                raise

    def ensure(
        self, collection: str, body: Mapping[str, Any], choose: Callable[[_Objects], Json | None]
    ) -> tuple[Json, bool]:
        """The object that ``choose`` takes out of a collection, put right, or a new one when it takes none; and
        whether it is new.

        Each try looks first, so neither an answer that got lost nor a program that was killed leaves an object twice.
        """

        def look_then_make() -> tuple[Json, bool]:
            found = choose(list(self._send("GET", collection) or []))
            if found is None:
                return self._send("POST", collection, body), True
            return self._send("PUT", f"{collection}/{found['id']}", body), False

        answer: tuple[Json, bool] = self._retry(look_then_make)
        return answer

    def pause(self, seconds: float) -> None:
        """Waits before something is looked at again."""
        self._sleep(seconds)

    def _retry(self, attempt: Callable[[], Any]) -> Any:
        return again_and_again(attempt, self._pauses, self._sleep)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._http.ask(method, path, body)
        except NoAnswer as reason:
            raise NetbirdError(method, path, None, str(reason)) from None
        if answer.refused:
            raise NetbirdError(method, path, answer.status, _message_of(answer))
        if not answer.body:
            return None
        try:
            return json.loads(answer.text)
        except ValueError:
            raise NetbirdError(method, path, 200, "the answer is not JSON; is the management URL right?") from None


def _message_of(answer: Answer) -> str:
    """What the server says: ``{"message": ..., "code": ...}`` from NetBird, anything from a proxy before it."""
    try:
        parsed = json.loads(answer.text)
    except ValueError:
        return answer.text.strip()[:200] or answer.reason
    if isinstance(parsed, dict) and parsed.get("message"):
        return str(parsed["message"])
    return answer.text.strip()[:200]
