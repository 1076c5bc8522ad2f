"""What a peer's stack says of itself, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.peer_link import read_peer_link
from tests.components.recording import (
    LINKS,
    engine_config_of,
    run,
    run_program,
    write_stack_files,
)
from tests.domain.samples import DE, MN, plan_of


class TestPeer:
    @pytest.mark.parametrize(
        ("links", "back"),
        [
            ({"mn": {"status": "linked", "message": ""}}, True),
            ({"mn": {"status": "pending", "message": ""}}, False),
            ({"kz": {"status": "linked", "message": ""}}, False),
            ({}, False),
            (None, False),
        ],
    )
    def test_whether_it_knows_our_link_and_its_keepers_answer(self, links: Any, back: bool) -> None:
        found = []

        async def body() -> None:
            found.append(await read_peer_link("de", plan_of("mn", MN), cluster_ips=True))

        outputs = {"link": LINKS["de"], "links": links, "keeper": {"port": 51900.0}}
        run(body, stack="mn", config={}, preview=False, stacks={"de": outputs})
        assert [(one.links_back, one.keeper_port) for one in found] == [(back, 51900)]


def test_peer_without_a_stack_is_pending(tmp_path: Path) -> None:
    write_stack_files(tmp_path)
    found = run_program(tmp_path, "de", engine_config_of(DE), preview=True, stacks={})
    assert found.outputs["links"].value["mn"]["message"] == (
        "link pending: there is no stack mn yet; run `pulumi up -s mn`, then this stack again"
    )
    assert found.of("StackReference") == []
