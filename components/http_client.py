"""The one way in which components ask an API beside the engine, and the one way in which they ask again.

It owns the wire: JSON, time-outs, what is an answer and what is none, the pauses between tries. Paths, logins and the
words of an error are those of the client of each API (``hetzner_client.py``, ``netbird_client.py``,
``kubernetes_client.py``). The keeper has a client of its own: nothing but Python is where it runs.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

REQUEST_TIMEOUT_SECONDS: Final = 20.0
"""For each step of a request."""
RETRY_PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Half a minute in all: outlasts a restart of a server, not an outage that a person has to look at."""
NOT_FOUND: Final = 404
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
_REFUSED: Final = 300
"""From here on, redirections that lead nowhere included."""

T = TypeVar("T")


class NoAnswer(Exception):
    """Nobody answered, or broke off in the middle. The text says why, and nothing of the request."""


class RequestError(Exception):
    """A request that was refused or not answered. ``status`` is that of the answer, None where there was none."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def worth_retrying(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        return self.status is None or self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERROR


@dataclass(frozen=True)
class Answer:
    """Of any status."""

    status: int
    reason: str
    body: bytes

    @property
    def refused(self) -> bool:
        """Whether it is none that was asked for."""
        return self.status >= _REFUSED

    @property
    def text(self) -> str:
        """The body, whatever it is."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """Requests below one address, each with the same headers. ``handlers`` are urllib's, in place of its own."""

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        handlers: Sequence[urllib.request.BaseHandler] = (),
    ) -> None:
        self.base = base
        """What the paths stand below."""
        self._headers = dict(headers)
        self._timeout_seconds = timeout_seconds
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One try. ``body`` is sent as JSON. Raises :class:`NoAnswer`."""
        sent = {**self._headers, **(headers or {})}
        data = None
        if body is not None:
            sent["Content-Type"] = content_type
            data = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, headers=sent, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return Answer(response.status, str(response.reason), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, str(error.reason), _rest_of(error))
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise NoAnswer(str(reason) or type(reason).__name__) from None


def again_and_again(attempt: Callable[[], T], pauses: Sequence[float], sleep: Callable[[float], None]) -> T:
    """What the attempt gives, tried once more after each pause as long as its error is worth it."""
    for pause in pauses:
        try:
            return attempt()
        except RequestError as error:
            if not error.worth_retrying:
                raise
        sleep(pause)
    return attempt()


def _rest_of(error: urllib.error.HTTPError) -> bytes:
    """The body of a refusal, empty where it breaks off."""
    try:
        return error.read()
    except (OSError, http.client.HTTPException):
        return b""
