"""The settings of this stack as the program reads them: compared with the other files and with what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.configuration import words_of_leave
from components.engine import MOCKS
from tests.components.recording import (
    LINKS,
    engine_config_of,
    program,
    run,
    run_program,
    shared_run,
    write_stack_files,
)
from tests.domain.samples import DE, MN, changed, settings_of


def outputs_after_up() -> dict[str, Any]:
    """What a first `up` of mn leaves."""
    return {name: output.value for name, output in shared_run("mn").outputs.items()}


def said_by(directory: Path, config: dict[str, Any], outputs: dict[str, Any], *, preview: bool) -> str:
    """The refusal of the next run, empty where there is none."""
    write_stack_files(directory, mn=config)
    module = program()
    said: list[str] = []

    async def body() -> dict[str, Any] | None:
        try:
            result: dict[str, Any] = await module.main(directory=directory, engine=MOCKS)
        except pulumi.RunError as refusal:
            said.append(str(refusal))
            return None
        return result

    stacks = {"mn": outputs, "de": {"link": LINKS["de"]}}
    found = run(body, stack="mn", config=engine_config_of(config), preview=preview, stacks=stacks)
    assert bool(said) == (found.registrations == [])
    return "".join(said)


@pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])
def test_the_pod_cidr_of_a_running_cluster(tmp_path: Path, preview: bool) -> None:
    outputs = outputs_after_up()
    said = said_by(tmp_path, changed(MN, {"network.pod_cidr": "10.60.0.0/16"}), outputs, preview=preview)
    assert said == (
        "a problem in the stack files; nothing was changed:\n"
        "mn: network.pod_cidr 10.60.0.0/16 is not 10.52.0.0/16, with which the cluster runs; every node holds a part "
        "of it, and the peers route it; write 10.52.0.0/16 again, or raise the cluster anew: `pulumi destroy -s mn`, "
        "then `pulumi up -s mn`. [Pulumi.mn.yaml:3]"
    )


def test_the_only_server_of_a_running_cluster(tmp_path: Path) -> None:
    outputs = outputs_after_up()
    other = {"on_premise.machines.0.name": "mn-9", "on_premise.machines.0.address": "192.168.7.19"}
    said = said_by(tmp_path, changed(MN, other), outputs, preview=True)
    assert "mn: on_premise.machines lacks mn-1, the only server that runs; the cluster's data is on it; " in said


def test_all_else_goes_on(tmp_path: Path) -> None:
    outputs = outputs_after_up()
    assert said_by(tmp_path, MN, outputs, preview=False) == ""
    assert said_by(tmp_path, changed(MN, {"dns": {"record_ttl_seconds": 10}}), outputs, preview=False) == ""


def test_a_machine_that_leaves_is_named_with_the_way_past_one_that_is_gone() -> None:
    (said,) = words_of_leave("mn", settings_of("mn", MN), {"mn-3": "192.168.7.13"})
    assert said == (
        "mn: mn-3 leaves: its pods go first, then its Node, and k3s is taken off 192.168.7.13 over SSH, last of all. "
        "If that fails because the machine is gone for good, `pulumi state delete URN -s mn` ends it, for the two of "
        "mn-3 that `pulumi stack -s mn --show-urns` lists: first without, then with '-uninstall' at its end"
    )
    (said,) = words_of_leave("de", settings_of("de", DE), {"de-agent-2": "10.0.1.32"})
    assert said == "de: de-agent-2 leaves: its pods go first, then its Node, and its server is deleted"
    assert words_of_leave("mn", settings_of("mn", MN), {}) == []


def test_before_the_first_up_and_after_a_destroy_everything_may_change(tmp_path: Path) -> None:
    assert said_by(tmp_path, changed(MN, {"network.pod_cidr": "10.60.0.0/16"}), {}, preview=False) == ""


def test_a_computed_mtu_is_one_that_the_peer_takes(tmp_path: Path) -> None:
    """On its own mn would give Cilium 1480, of whose packets de's private network takes no more."""
    wide = {"netbird": {"underlay_mtu": 1500}}
    config = changed(MN, wide)
    write_stack_files(tmp_path, de=changed(DE, wide), mn=config)
    stacks = {"de": {"link": LINKS["de"]}}
    found = run_program(tmp_path, "mn", engine_config_of(config), preview=True, stacks=stacks)
    assert found.one("Release", "isthmus-cilium").inputs["values"]["MTU"] == 1450
