"""Calls from inside a network namespace of the lab, without a process of their own: HTTP requests, waiting for ports.

A thread enters the namespace (setns concerns the calling thread only), runs the function and ends.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NETNS = Path("/run/netns")


def call_inside(namespace: str, function: Callable[[], T]) -> T:
    """Runs ``function`` with the sockets of that network namespace; returns or raises what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            enter(namespace)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=body, name=f"inside {namespace}", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(namespace: str) -> None:
    """Moves the calling thread into the namespace for good; call it only in a thread that ends afterwards."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(_NETNS / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"can't enter the network namespace {namespace}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer: status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return json.loads(self.body) if self.body.strip() else None


def http_request(
    namespace: str,
    method: str,
    host: str,
    port: int,
    path: str,
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    deadline_seconds: float = 120.0,
) -> Answer:
    """One HTTP request from inside the namespace, without proxies. Raises OSError when no answer comes."""

    def request() -> Answer:
        connection = http.client.HTTPConnection(host, port, timeout=deadline_seconds)
        try:
            payload = None if body is None else json.dumps(body).encode()
            more = {} if payload is None else {"Content-Type": "application/json"}
            connection.request(method, path, body=payload, headers={**more, **(headers or {})})
            response = connection.getresponse()
            return Answer(status=response.status, body=response.read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} http://{host}:{port}{path}: {error!r}") from error
        finally:
            connection.close()

    return call_inside(namespace, request)
