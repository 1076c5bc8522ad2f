"""Requests and answers on the wire: JSON, ids, queries, pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from aiohttp import web

from lab.standins.hetzner_api import listing, requests
from lab.standins.hetzner_api.errors import ApiError
from lab.standins.hetzner_api.requests import Body
from lab.standins.hetzner_api.views import Json

PREFIX = "/v1"


def number(request: web.Request) -> int:
    """The id in the path."""
    return int(request.match_info["id"])


def query(request: web.Request) -> Mapping[str, Sequence[str]]:
    """The query by name, each with all of its values."""
    return {name: request.query.getall(name) for name in request.query}


async def body(request: web.Request, model: type[Body]) -> Body:
    """The body as that model; ApiError when it is no JSON or not what the API takes."""
    text = await request.text()
    try:
        data = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise ApiError(400, "json_error", "invalid JSON in the request") from error
    if not isinstance(data, dict):
        raise ApiError(400, "json_error", "the request's body must be an object")
    return requests.parse(model, data)


def answer(body: Json, status: int = 200) -> web.Response:
    """An answer of JSON."""
    return web.json_response(body, status=status)


def page_answer(request: web.Request, plural: str, page: listing.Page) -> web.Response:
    """One page of a list, with the links to its neighbours."""
    response = answer({plural: page.items, "meta": page.meta()})
    neighbours = (("prev", page.previous_page), ("next", page.next_page), ("last", page.last_page))
    links = [
        f'<{request.url.update_query(page=str(number), per_page=str(page.per_page))}>; rel="{relation}"'
        for relation, number in neighbours
        if number is not None
    ]
    response.headers["Link"] = ", ".join(links)
    return response
