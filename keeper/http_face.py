"""The keeper's HTTP face, on the node's loopback: for the kubelet's probes and for ``up``. What it gives at the node's
address, where that is wanted, is for monitoring alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

ADDRESS: Final = "127.0.0.1"
PORT: Final = 8055
PATIENCE_SECONDS: Final = 5.0
LONGEST_HEAD: Final = 8192


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: str
    content_type: str = "text/plain; charset=utf-8"


def as_json(content: object) -> Answer:
    """An answer for programs."""
    return Answer(HTTPStatus.OK, json.dumps(content, indent=1, sort_keys=True) + "\n", "application/json")


Route = Callable[[], Answer | Awaitable[Answer]]


async def serve(
    routes: Mapping[tuple[str, str], Route], address: str = ADDRESS, port: int = PORT
) -> asyncio.AbstractServer:
    """Serves {(method, path): what answers} until it is closed. One request a connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
                answer = await _answer(routes, head)
                body = answer.body.encode()
                writer.write(
                    f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.content_type}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + (b"" if head.startswith(b"HEAD ") else body)
                )
                await asyncio.wait_for(writer.drain(), PATIENCE_SECONDS)
            finally:
                writer.close()

    return await asyncio.start_server(connected, address, port, limit=LONGEST_HEAD)


async def _answer(routes: Mapping[tuple[str, str], Route], head: bytes) -> Answer:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) != 3:
        return Answer(HTTPStatus.BAD_REQUEST, "this is no HTTP request\n")
    method, path = words[0].replace("HEAD", "GET"), words[1].partition("?")[0]
    route = routes.get((method, path))
    if route is None:
        others = [known for known, at in routes if at == path]
        if others:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {' and '.join(others)}\n")
        known = " ".join(sorted(at for _, at in routes))
        return Answer(HTTPStatus.NOT_FOUND, f"there is no {path}; there is {known}\n")
    answer = route()
    return answer if isinstance(answer, Answer) else await answer
