"""What a peer's stack says of itself, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pulumi
import pytest

from components.peer_link import read_peer_link
from tests.components.recording import (
    LINKS,
    Run,
    engine_config_of,
    run,
    run_program,
    write_stack_files,
)
from tests.domain.samples import DE, MN, changed, plan_of


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
        assert [(link.links_back, link.keeper_port) for link in found] == [(back, 51900)]


class TestNames:
    RUNS: ClassVar[dict[str, Any]] = {"node_ips": {"de-x-db-1": "10.0.1.65", "de-server-1": "10.0.1.11"}}
    """Of de, whose pool x-db is not in the stack files beside ours."""
    POOL: ClassVar[dict[str, Any]] = {"db": {"server_type": "cx23", "addresses": "10.0.1.64/28", "count": 2}}

    def linked(self, directory: Path, access: str, **own: Any) -> Run:
        ranges = {"pod_cidr": "10.62.0.0/16", "service_cidr": "10.63.0.0/16", "dns_zone": "de-x.internal"}
        network = {f"network.{name}": value for name, value in ranges.items()}
        config = changed(DE, {**network, "hetzner.pools": self.POOL, "peers": ["de"]})
        write_stack_files(directory, **{"de": changed(DE, {"peers": ["mn", "de-x"]}), "de-x": config})
        theirs = {"link": LINKS["de"], "raised_with": {"access": access}, **self.RUNS}
        stacks = {"de": theirs, **({"de-x": own} if own else {})}
        return run_program(directory, "de-x", engine_config_of(config), preview=True, stacks=stacks)

    def test_machine_of_a_peer_with_a_name_that_comes(self, tmp_path: Path) -> None:
        with pytest.raises(pulumi.RunError) as refused:
            self.linked(tmp_path, "hetzner")
        assert str(refused.value) == (
            "de-x: de-x-db-1: de runs a machine of that name, and such a name is there once; call a pool otherwise "
            "here, or there and `pulumi up -s de` first."
        )

    def test_it_does_no_harm_elsewhere_nor_where_both_run(self, tmp_path: Path) -> None:
        assert self.linked(tmp_path, "ssh").outputs["links"].value["de"]["status"] == "linked"
        both = {"node_ips": {"de-x-db-1": "10.0.1.65"}, "raised_with": {"access": "hetzner"}}
        assert self.linked(tmp_path, "hetzner", **both).outputs["links"].value["de"]["status"] == "linked"


def test_peer_without_a_stack_is_pending(tmp_path: Path) -> None:
    write_stack_files(tmp_path)
    found = run_program(tmp_path, "de", engine_config_of(DE), preview=True, stacks={})
    assert found.outputs["links"].value["mn"]["message"] == (
        "link pending: there is no stack mn yet; run `pulumi up -s mn`, then this stack again"
    )
    assert found.of("StackReference") == []
