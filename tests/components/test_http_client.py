"""The wire that the clients of all APIs share: what is an answer, what is none, and when it is asked again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from components.hetzner_client import HetznerError
from components.http_client import (
    RETRY_PAUSES_SECONDS,
    Answer,
    HttpClient,
    NoAnswer,
    RequestError,
    again_and_again,
)
from components.kubernetes_client import KubernetesError
from components.netbird_client import NetbirdError


class Handler(BaseHTTPRequestHandler):
    """Says what it was asked; the path is the status."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = f"{self.headers['Authorization']} {self.headers['Content-Type']} ".encode() + body
        self.send_response(int(self.path.rpartition("/")[2]), "as it was told")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "refused"), [(200, False), (299, False), (404, True), (503, True)])
def test_every_status_is_an_answer(server: str, status: int, refused: bool) -> None:
    client = HttpClient(server, {"Authorization": "Token t"})
    answer = client.ask("PUT", f"/{status}", {"a": [1]}, content_type="application/merge-patch+json")
    said = b'Token t application/merge-patch+json {"a": [1]}'
    assert answer == Answer(status, "as it was told", said)
    assert answer.refused is refused


def test_headers_of_one_request_come_on_top(server: str) -> None:
    answer = HttpClient(server, {"Authorization": "Token t"}).ask("PUT", "/200", headers={"Authorization": "Token u"})
    assert answer.text == "Token u None "


def test_nobody_who_listens_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="Connection refused"):
        HttpClient("http://127.0.0.1:9", {}).ask("GET", "/")


@pytest.mark.parametrize(
    ("said", "reason"),
    [(b"", "Remote end closed connection"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "IncompleteRead")],
)
def test_a_server_that_breaks_off_is_no_answer(said: bytes, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(NoAnswer, match=reason):
                HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}", {}).ask("GET", "/")
        finally:
            thread.join()


def test_a_server_that_is_silent_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}", {}, timeout_seconds=0.05)
        with pytest.raises(NoAnswer, match="timed out"):
            client.ask("GET", "/")


def failing(*errors: Exception) -> tuple[Callable[[], str], list[float]]:
    """An attempt that goes well after these, and where its pauses are noted."""
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt, []


def test_it_is_tried_again_after_each_pause() -> None:
    attempt, pauses = failing(*[RequestError("away")] * 6)
    assert again_and_again(attempt, RETRY_PAUSES_SECONDS, pauses.append) == "done"
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_the_last_error_is_told() -> None:
    attempt, pauses = failing(RequestError("first"), RequestError("second"), RequestError("third"))
    with pytest.raises(RequestError, match="second"):
        again_and_again(attempt, (1.0,), pauses.append)
    assert pauses == [1.0]


def test_what_will_not_be_otherwise_is_told_at_once() -> None:
    attempt, pauses = failing(RequestError("not allowed", 403))
    with pytest.raises(RequestError, match="not allowed"):
        again_and_again(attempt, (1.0,), pauses.append)
    assert pauses == []


@pytest.mark.parametrize(
    ("error", "again"),
    [
        *(
            (RequestError("", status), status in (None, 429, 500, 503))
            for status in (None, 400, 404, 409, 429, 500, 503)
        ),
        *((HetznerError("", status), status != 403) for status in (None, 403, 409, 423, 429, 503)),
        *((NetbirdError("GET", "/", status, ""), status != 409) for status in (None, 409, 429, 502)),
        *((KubernetesError("", status), status != 409) for status in (None, 409, 429, 502)),
    ],
)
def test_when_it_is_worth_another_try(error: RequestError, again: bool) -> None:
    assert error.worth_retrying is again
