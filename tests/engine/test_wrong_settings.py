"""Wrong stack files: refused in the preview, with every message, before anything is made anywhere."""

from __future__ import annotations

from typing import Any, Final

import pytest

from domain.fleet import check_files
from domain.stack_directory import read_stack_files
from tests.domain.samples import DE, MN, REMOVE, changed
from tests.domain.test_settings_messages import BAD, BASES, bad_changes, configs
from tests.engine.conftest import is_empty
from tests.engine.project import Project, Result
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = pytest.mark.engine

PLACE: Final = " [Pulumi."
"""Where a message says its file and line, which the tests of the domain pin."""

OVERLAP: Final = (
    "mn: network.pod_cidr 10.52.0.0/16 overlaps de: network.pod_cidr 10.52.0.0/16; "
    "linked clusters need distinct pod CIDRs; 10.54.0.0/16 is free for the one of the two that does not run yet."
)
NO_CLUSTER_SECRET: Final = (
    "de: clusterSecret is missing; the k3s token and all SSH keys are derived from it; "
    "set it: `openssl rand -hex 32 | pulumi config set --secret clusterSecret -s de`."
)
UNKNOWN_KEY: Final = "de: hetzner.locatoin is not a setting of this program; did you mean location?"
NO_ROUTER: Final = "de: hetzner.routers 0 gives nothing that would carry the link; write 1, or leave it out."
SAME_ZONE: Final = (
    "mn: network.dns_zone astring-de.internal is the zone of de, too; "
    "a name has to say which cluster is meant; take another one, like mn.internal."
)
BROKEN_YAML: Final = "config:\n  isthmus:network: {pod_cidr: [\n"

CASES: Final = {
    "overlap with the other stack": ({"network.pod_cidr": "10.52.0.0/16"}, {}, [OVERLAP]),
    "missing secret": ({"isthmus:clusterSecret": REMOVE}, {}, [NO_CLUSTER_SECRET]),
    "unknown key": ({"hetzner.locatoin": "fsn1"}, {}, [UNKNOWN_KEY]),
    "no router": ({"hetzner.routers": 0}, {}, [NO_ROUTER]),
    "all of it in both files": (
        {
            "network.pod_cidr": "10.52.0.0/16",
            "hetzner.routers": 0,
            "isthmus:clusterSecret": REMOVE,
            "hetzner.locatoin": "fsn1",
        },
        {"network.dns_zone": "astring-de.internal", "cilium.mtu": 9000},
        [
            NO_CLUSTER_SECRET,
            UNKNOWN_KEY,
            NO_ROUTER,
            "mn: cilium.mtu 9000 is more than 8192; take 576 to 8192.",
            SAME_ZONE,
            OVERLAP,
        ],
    ),
}


@pytest.mark.parametrize(("in_de", "in_mn", "messages"), CASES.values(), ids=CASES)
def test_refused_with_all_messages(
    project: Project,
    hetzner: StandIn,
    de: dict[str, Any],
    in_de: dict[str, Any],
    in_mn: dict[str, Any],
    messages: list[str],
) -> None:
    project.write("de", changed(de, in_de))
    project.write("mn", changed(MN, in_mn))
    project.init("de")

    refused(project, hetzner, project.run("preview", "-s", "de"), messages)


def test_up_refuses_as_the_preview_does(project: Project, hetzner: StandIn, de: dict[str, Any]) -> None:
    project.write("de", changed(de, {"hetzner.routers": 0}))
    project.write("mn", MN)
    project.init("de")

    refused(project, hetzner, project.run("up", "-s", "de", "--yes", "--skip-preview"), [NO_ROUTER])


def test_a_peers_file_that_is_not_yaml(project: Project, hetzner: StandIn, de: dict[str, Any]) -> None:
    project.write("de", de)
    project.write_text("mn", BROKEN_YAML)
    project.init("de")

    refused(
        project,
        hetzner,
        project.run("preview", "-s", "de"),
        [
            (
                "mn: Pulumi.mn.yaml is not YAML: a [ or { that is opened here is not closed, or a comma is missing; "
                "close it with ] or }."
            )
        ],
    )


def test_ones_own_file_that_is_not_yaml(project: Project, hetzner: StandIn) -> None:
    project.write("de", DE)
    project.init("de")
    project.write_text("de", BROKEN_YAML)

    result = project.run("preview", "-s", "de").expect(1)

    # The engine reads this file before the program starts; the words are its own.
    result.says("error: getting stack configuration: invalid YAML file: yaml: line 2")
    nothing_was_made(project, hetzner, result)


AS_PLAN: Final = (
    "poll interval as a number",
    "retired server type that runs",
    "tokens in plain text",
    "entry of a list that is encrypted",
    "number with a zero before it as a text",
)
"""One for each way in which a value comes: a number, a list, a text instead of a secret, a decrypted text, an object.
The rest is compared without an engine, in tests/components/test_plan_and_preview.py."""


@pytest.mark.parametrize("id_", AS_PLAN)
def test_the_preview_says_what_plan_says(project: Project, hetzner: StandIn, id_: str) -> None:
    (case,) = (case for case in BAD if case["id"] == id_)
    for name, config in configs(case["stack"], bad_changes(case)).items():
        project.write(name, config)
    name = BASES[case["stack"]][0]
    project.init(name)
    planned = [str(problem).partition(PLACE)[0] for problem in check_files(read_stack_files(project.directory))]
    assert planned

    refused(project, hetzner, project.run("preview", "-s", name), planned)


def refused(project: Project, hetzner: StandIn, result: Result, messages: list[str]) -> None:
    """The command failed with exactly these messages about the stack files, in this order, and nothing was made."""
    result.expect(1)
    found = [line.strip().partition(PLACE)[0] for line in result.output.splitlines() if PLACE in line]
    assert found == messages
    count = "a problem" if len(messages) == 1 else f"{len(messages)} problems"
    result.says(f"error: {count} in the stack files; nothing was changed:")
    nothing_was_made(project, hetzner, result)


def nothing_was_made(project: Project, hetzner: StandIn, result: Result) -> None:
    assert "Traceback" not in result.output
    assert "unhandled exception" not in result.output
    # The engine's own provider is there as soon as the program asks what the stack was raised with.
    own = ("pulumi:pulumi:Stack", "pulumi:providers:pulumi")
    assert [resource for resource in project.resources("de") if resource["type"] not in own] == []
    assert is_empty(hetzner)
