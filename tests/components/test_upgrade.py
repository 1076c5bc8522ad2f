"""Two linked stacks that the first program raised, brought to this one by one `up` each, in either order.

In between each reads what the other version wrote. The first program is here as data: its outputs, and its reader as a
JSON Schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from domain.places.outputs import RAISED_WITH
from domain.version import PROGRAM, VERSION
from tests.components.recording import (
    GIVEN_KUBECONFIG,
    SECRET_VALUES,
    Run,
    engine_config_of,
    run_program,
    write_stack_files,
)
from tests.recorded import data
from tests.recorded.data import KINDS

OF_THE_LINK = (
    "EgressGateway",
    "CiliumEgressGatewayPolicy",
    "NetbirdPolicy",
    "DnsRelay",
    ":DaemonSet",
    ":ConfigMap",
    ":ConfigMapPatch",
)
"""Types of what stands or falls with a link that is read."""


def up(directory: Path, stack: str, config: dict[str, Any], stacks: dict[str, dict[str, Any]]) -> Run:
    """An `up` by this program, with what the stacks' last updates left."""
    values = engine_config_of(config, {"isthmus:kubeconfig": GIVEN_KUBECONFIG, **SECRET_VALUES})
    return run_program(directory, stack, values, preview=False, stacks=stacks)


def outputs_of(found: Run) -> dict[str, Any]:
    return {name: "[secret]" if output.secret else output.value for name, output in found.outputs.items()}


def without_cluster_ips(links: dict[str, Any], peer: str) -> dict[str, Any]:
    """The output ``links`` of the first program as this one writes it while the peer is at the first one."""
    said = f"; without ClusterIPs: {peer} was raised by an earlier program; `pulumi up -s {peer}` with this one"
    return {peer: {**links[peer], "message": links[peer]["message"] + said}}


def of_the_link(found: Run) -> dict[str, dict[str, Any]]:
    """The inputs of what stands or falls with the link, by type and name."""
    made = {
        f"{type_} {registration.name}": registration.inputs
        for type_ in OF_THE_LINK
        for registration in found.some(type_)
    }
    assert len(made) > len(OF_THE_LINK)
    return made


def told_of_the_peer(link: dict[str, dict[str, Any]], peer: str) -> tuple[int | None, list[str]]:
    """What the keepers are told of the peer's keepers and of its ranges; it is taken out of what they are told."""
    data = link[":ConfigMap isthmus-keeper"]["data"]
    told = data["keeper.json"] if isinstance(data["keeper.json"], dict) else json.loads(data["keeper.json"])
    data["keeper.json"] = told
    return told["peers"][peer].pop("port"), told["peers"][peer].pop("ranges")


def refused_by_the_first_program(link: Any) -> list[str]:
    """What its reader would say against a link."""
    validator = Draft202012Validator(data.link_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(link)]


@pytest.mark.parametrize("first", ["de", "mn"])
def test_one_after_the_other_with_the_link_in_between(tmp_path: Path, first: str) -> None:
    second = {"de": "mn", "mn": "de"}[first]
    config = {name: data.stack_config(name) for name in ("de", "mn")}
    write_stack_files(tmp_path, **config)
    before = {name: data.outputs(name) for name in config}

    raised = up(tmp_path, first, config[first], before)
    assert outputs_of(raised)["links"] == without_cluster_ips(before[first]["links"], second)
    assert refused_by_the_first_program(outputs_of(raised)["link"]) == []
    between = {**before, first: outputs_of(raised)}

    other = up(tmp_path, second, config[second], between)
    services = data.outputs(first)["link"]["service_cidr"]
    assert f", services {services} and zone" in outputs_of(other)["links"][first]["message"]
    after = {**between, second: outputs_of(other)}

    # Nothing of the link was other in between than it is with both at this version, but for ClusterIPs and keepers.
    last = of_the_link(up(tmp_path, first, config[first], after))
    policy = last.pop(f"NetbirdPolicy isthmus-{first}-to-{second}-services")
    assert policy["destination"] == f"isthmus-{second}-services"
    keepers = last.pop(f"NetbirdPolicy isthmus-{first}-to-{second}-keeper")
    assert keepers["destination"] == f"isthmus-{second}-routers"
    theirs = data.outputs(second)["link"]
    both, pods = [theirs["pod_cidr"], theirs["service_cidr"]], [theirs["pod_cidr"]]
    egress = f"CiliumEgressGatewayPolicy isthmus-to-{second}"
    assert last[egress]["spec"].pop("destinationCIDRs") == both
    assert told_of_the_peer(last, second) == (51823, both)
    in_between = of_the_link(raised)
    assert in_between[egress]["spec"].pop("destinationCIDRs") == pods
    assert told_of_the_peer(in_between, second) == (None, pods)
    assert last == in_between
    assert of_the_link(up(tmp_path, second, config[second], after)) == of_the_link(other)


@pytest.mark.parametrize(("kind", "stack"), KINDS.items())
def test_what_it_wrote_is_written_again(tmp_path: Path, kind: str, stack: str) -> None:
    """Byte for byte, so that a peer of the first version sees no difference; what is new stands beside it, or in what
    no peer reads.
    """
    other = {"de": "mn", "mn": "de"}[stack]
    config = data.stack_config(kind)
    write_stack_files(tmp_path, **{stack: config, other: data.stack_config(other)})
    before = data.outputs(kind)
    found = outputs_of(up(tmp_path, stack, config, {stack: before, other: data.outputs(other)}))
    noted = {name: found[RAISED_WITH][name] for name in before[RAISED_WITH]}
    links = without_cluster_ips(before["links"], other)
    assert {**{name: found[name] for name in before}, RAISED_WITH: noted} == {**before, "links": links}
    assert found[PROGRAM] == {"version": VERSION}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "1 was expected"),
        ({"new": True}, "Additional properties are not allowed ('new' was unexpected)"),
        ({"routers": []}, "[] should be non-empty"),
    ],
)
def test_the_first_programs_reader_refuses(change: dict[str, Any], says: str) -> None:
    assert refused_by_the_first_program({**data.outputs("de")["link"], **change}) == [says]
