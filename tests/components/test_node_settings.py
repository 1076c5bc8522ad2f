"""The settings of k3s are counted: one for each role, and a number that no earlier one of the nodes can be."""

from __future__ import annotations

from pathlib import Path

from components.node_settings import SettingsProvider
from tests.components.recording import run_stack, shared_run
from tests.domain.samples import DE, changed


def test_each_change_counts_also_that_to_the_ones_of_before() -> None:
    provider, some, others = SettingsProvider(), {"role": "agent", "digest": "5f"}, {"role": "agent", "digest": "6a"}
    state = provider.create({**some, "number": None, "__provider": "x"}).outs
    assert state == {**some, "number": 1}
    assert provider.diff("agent", {**state, "__provider": "x"}, {**some, "number": None}).changes is False
    assert provider.diff("agent", state, others).changes is True
    state = provider.update("agent", {**state, "number": 1.0}, {**others, "number": None}).outs
    assert state == {**others, "number": 2}
    assert provider.update("agent", state, some).outs == {**some, "number": 3}


def test_they_are_those_of_a_role(tmp_path: Path) -> None:
    config = changed(DE, {"hetzner.control_plane.count": 3, "hetzner.workers.count": 2})
    (tmp_path / "more").mkdir()
    more = changed(config, {"k3s.agent_config": {"kubelet-arg": ["max-pods=200"]}})
    before, after = (
        {registration.name: registration for registration in run_stack(place, "de", config=given).of(":NodeSettings")}
        for place, given in ((tmp_path, config), (tmp_path / "more", more))
    )
    assert [*before] == ["machines-server-settings", "machines-agent-settings"]
    changes = [name for name in before if before[name].inputs != after[name].inputs]
    assert changes == ["machines-agent-settings"]
    assert before["machines-agent-settings"].inputs["role"] == "agent"


def test_nodes_on_premise_have_none() -> None:
    """Each machine says itself what it has not laid."""
    assert not shared_run("mn").of(":NodeSettings")
