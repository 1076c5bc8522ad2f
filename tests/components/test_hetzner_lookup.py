"""The look-up against the stand-in over HTTP: what is asked, and what comes of an API that is not as it should be."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.hetzner_lookup import look_up
from domain.places.hetzner.offer import Judgement
from domain.plan import address_plan
from lab.standins.hetzner_api import catalog
from lab.standins.hetzner_api.backend import MemoryBackend
from tests.domain.samples import DE, said, settings_of
from tests.lab.hetzner_api.conftest import TOKEN, StandIn

UNASKED = (
    "de: Hetzner could not be asked for locations, server types and images, which were checked by the list of "
    "September 2026 only: "
)


@pytest.fixture
def hetzner(tmp_path: Path) -> Iterator[StandIn]:
    standin = StandIn(tmp_path, MemoryBackend())
    yield standin
    standin.stop()


def asked(
    endpoint: str, changes: dict[str, Any] | None = None, *, token: str = TOKEN, seconds: float = 20.0
) -> Judgement:
    settings = settings_of("de", DE, {"hcloud:endpoint": endpoint, **(changes or {})})
    return asyncio.run(look_up(settings, address_plan(settings), (), token, answer_seconds=seconds))


def test_all_is_there(hetzner: StandIn) -> None:
    assert asked(hetzner.endpoint) == Judgement((), ())


def test_a_type_that_hetzner_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a list that has more than a page of others."""
    others = [replace(catalog.SERVER_TYPES[-1], id=1000 + number, name=f"ccx9{number}") for number in range(60)]
    left = tuple(server_type for server_type in catalog.SERVER_TYPES if server_type.name != "cx23")
    monkeypatch.setattr(catalog, "SERVER_TYPES", (*others, *left))
    standin = StandIn(tmp_path / "other", MemoryBackend())
    try:
        found = asked(standin.endpoint, {"hetzner.workers.server_type": "cx33"})
    finally:
        standin.stop()
    assert said(list(found.problems)) == [
        (
            "de: hetzner.control_plane.server_type cx23 is not among Hetzner's server types, as its API says; "
            "take one that is there: cpx22, ccx13, cpx32, cx33, ccx23, cpx42, cx43, cpx52 or a larger one."
        )
    ]


@pytest.mark.parametrize(
    ("image", "there"),
    [("debian-13", True), ("debian-99", False), (114690387, True), (114690389, False), (4711, False)],
    ids=["name", "no name", "id", "id of an Arm image", "no id"],
)
def test_images(hetzner: StandIn, image: str | int, there: bool) -> None:
    found = asked(hetzner.endpoint, {"hetzner.image": image})
    assert [problem.setting for problem in found.problems] == ([] if there else ["hetzner.image"])


def test_a_token_that_is_refused(hetzner: StandIn) -> None:
    found = asked(hetzner.endpoint, token="n" * 63)
    assert said(list(found.problems)) == [
        (
            "de: hcloud:token is refused by Hetzner's API; it is wrong, or was revoked; "
            "set a new one: `pulumi config set --secret hcloud:token -s de`."
        )
    ]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"answer": 503}, "Hetzner API: GET /server_types?per_page=50&page=1: 503: "),
        ({"answer": 429}, "Hetzner API: GET /server_types?per_page=50&page=1: 429: "),
        ({"answer": "drop"}, "Hetzner API: GET /server_types?per_page=50&page=1: no answer: "),
    ],
    ids=["error", "rate limit", "drop"],
)
def test_an_api_with_a_fault_is_a_remark(hetzner: StandIn, fault: dict[str, Any], reason: str) -> None:
    hetzner.order({"path": "^/server_types", "count": 9, **fault})
    found = asked(hetzner.endpoint)
    assert found.problems == ()
    (remark,) = found.remarks
    assert remark.startswith(UNASKED + reason)
    assert TOKEN not in remark


def test_an_api_that_does_not_answer_is_not_waited_for(hetzner: StandIn) -> None:
    hetzner.order({"path": "^/images", "count": 9, "answer": "hang", "seconds": 30})
    start = time.monotonic()
    found = asked(hetzner.endpoint, seconds=1.0)
    assert found == Judgement((), (f"{UNASKED}no answer within 1 s",))
    assert time.monotonic() - start < 10


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = asked(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert found.problems == ()
    (remark,) = found.remarks
    assert remark.startswith(UNASKED)
    assert "Connection refused" in remark


def test_an_address_where_something_else_answers(hetzner: StandIn) -> None:
    """The path is wrong: an error that is not of the API."""
    found = asked(hetzner.endpoint.removesuffix("/v1"))
    assert found.problems == ()
    (remark,) = found.remarks
    assert remark.startswith(UNASKED)
