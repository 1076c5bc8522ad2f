"""What a project file says of the stack files: another name, shared settings, another directory; and environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.fleet import Fleet, check_fleet, parse_fleet
from domain.plan_report import LinkReport, fleet_report
from domain.stack_directory import read_project, read_stack_files
from tests.domain.samples import DE, MN, REMOVE, changed, said, text


def fleet_of(directory: Path, project: str, **files: str) -> Fleet:
    (directory / "Pulumi.yaml").write_text(project, encoding="utf-8")
    for name, content in files.items():
        (directory / f"Pulumi.{name}.yaml").write_text(content, encoding="utf-8")
    return parse_fleet(read_stack_files(directory), read_project(directory))


PROJECT = "name: isthmus\nruntime: python\n"
SHARED = """
config:
  isthmus:netbird: {default: {management_url: "https://netbird.example.net"}}
  cilium:
    type: object
    default: {mtu: 1270}
  isthmus:dns: {type: object, description: more}
  aws:region: eu-central-1
"""


def renamed(content: str, name: str) -> str:
    return content.replace("isthmus:", f"{name}:")


@pytest.mark.parametrize("name", ["other", "my-clusters", "isthmus2"])
def test_a_project_of_another_name(tmp_path: Path, name: str) -> None:
    project = PROJECT.replace("isthmus", name)
    fleet = fleet_of(tmp_path, project, de=renamed(text(DE), name), mn=renamed(text(MN), name))
    assert check_fleet(fleet) == []
    assert fleet.stacks["de"].network == parse_fleet({"de": text(DE)}).stacks["de"].network
    wrong = renamed(text(changed(DE, {"hetzner.locatoin": "fsn1"})), name)
    (problem,) = check_fleet(fleet_of(tmp_path, project, de=wrong))
    assert str(problem) == (
        "de: hetzner.locatoin is not a setting of this program; did you mean location? [Pulumi.de.yaml:25]"
    )


def test_our_namespace_in_a_project_of_another_name(tmp_path: Path) -> None:
    assert check_fleet(fleet_of(tmp_path, "name: other\n", de=text(DE), mn=text(MN))) == []


def test_settings_of_a_project_that_this_one_is_not(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, PROJECT, de=renamed(text(DE), "other"), mn=text(MN))
    assert [str(problem) for problem in check_fleet(fleet)] == [
        (
            "de: other:network is of a project other, and this one is called isthmus; write isthmus: before each, or "
            "write name: other in Pulumi.yaml. [Pulumi.de.yaml:2]"
        )
    ]


def test_settings_that_all_stacks_share(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, PROJECT + SHARED, de=text(DE), mn=text(changed(MN, {"cilium": {"mtu": 1260}})))
    assert {name: stack.netbird.management_url for name, stack in fleet.stacks.items()} == {
        "de": "https://netbird.example.net",
        "mn": "https://netbird.example.net",
    }
    assert {name: stack.cilium.mtu for name, stack in fleet.stacks.items()} == {"de": 1270, "mn": 1260}


def test_a_section_that_only_the_project_file_has(tmp_path: Path) -> None:
    without = text(changed(DE, {"isthmus:k3s": REMOVE})), text(changed(MN, {"isthmus:k3s": REMOVE}))
    k3s = f"config:\n  k3s:\n    default: {{version: v1.34.9+k3s1, sha256: {'5f' * 32}}}\n"
    assert check_fleet(fleet_of(tmp_path, PROJECT + k3s, de=without[0], mn=without[1])) == []
    found = said(check_fleet(fleet_of(tmp_path, PROJECT, de=without[0], mn=without[1])))
    assert [sentence.partition(";")[0] for sentence in found] == ["de: k3s is missing", "mn: k3s is missing"]


@pytest.mark.parametrize("key", ["stackConfigDir", "config"])
def test_stack_files_in_another_directory(tmp_path: Path, key: str) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.de.yaml").write_text(text(changed(DE, {"peers": []})), encoding="utf-8")
    (tmp_path / "Pulumi.mn.yaml").write_text("[", encoding="utf-8")
    fleet = fleet_of(tmp_path, f"{PROJECT}{key}: stacks\n")
    assert set(fleet.files) == {"de"}
    assert check_fleet(fleet) == []


def test_a_project_file_with_the_other_ending(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "Pulumi.de.yml").write_text(text(changed(DE, {"peers": []})), encoding="utf-8")
    fleet = parse_fleet(read_stack_files(tmp_path), read_project(tmp_path))
    assert set(fleet.files) == {"de"}
    assert check_fleet(fleet) == []


@pytest.mark.parametrize("project", ["", "[", "- a\n", "name: 1\n", "name:\nconfig: {a: }\n", "config: [x]\n", "&a x"])
def test_a_project_file_that_says_nothing(tmp_path: Path, project: str) -> None:
    assert check_fleet(fleet_of(tmp_path, project, de=text(DE), mn=text(MN))) == []


@pytest.mark.parametrize("environment", ["environment: [team/isthmus]\n", "environment:\n  imports: [team/isthmus]\n"])
def test_what_an_environment_may_bring_is_not_missing(tmp_path: Path, environment: str) -> None:
    secrets = {key: REMOVE for key in DE if key.endswith(("Secret", "Token", "token"))}
    fleet = fleet_of(tmp_path, PROJECT, de=environment + text(changed(DE, secrets)), mn=text(MN))
    assert check_fleet(fleet) == []
    assert fleet.partial == frozenset()
    assert [link.source for link in _links(fleet)] == ["de", "mn"]

    fleet = fleet_of(tmp_path, PROJECT, de=environment + text(changed(DE, {"isthmus:network": REMOVE})), mn=text(MN))
    assert check_fleet(fleet) == []
    assert fleet.partial == {"de"}
    assert set(fleet.stacks) == {"mn"}
    assert _links(fleet) == ()

    wrong = environment + text(changed(DE, {"isthmus:network": REMOVE, "hetzner.routers": 0}))
    assert said(check_fleet(fleet_of(tmp_path, PROJECT, de=wrong, mn=text(MN)))) == [
        "de: hetzner.routers 0 gives nothing that would carry the link; write 1, or leave it out."
    ]
    missing = said(check_fleet(fleet_of(tmp_path, PROJECT, de=text(changed(DE, {"isthmus:network": REMOVE})))))
    assert [sentence.partition(";")[0] for sentence in missing] == ["de: network is missing"]


def test_secrets_in_the_project_file_are_plain_text(tmp_path: Path) -> None:
    without = {"isthmus:netbirdApiToken": REMOVE}
    token = "nbp_" + "a1" * 18
    project = (
        f"{PROJECT}config:\n  isthmus:netbirdApiToken: {{value: {token}, secret: true}}\n  sshPrivateKey: A2C8E62B\n"
    )
    fleet = fleet_of(tmp_path, project, de=text(changed(DE, without)), mn=text(MN))
    rule = "stands in plain text in the project file, where Pulumi encrypts nothing"
    command = "`pulumi config set --secret netbirdApiToken -s de`"
    assert said(check_fleet(fleet)) == [
        f"de: netbirdApiToken {rule}; take it out there, make a new one and set it: {command}.",
        f"de: sshPrivateKey {rule}; take it out there, and make a new one.",
    ]


ENVIRONMENT = "environment: [team/isthmus]\n"


def test_what_an_environment_may_say_is_held_against_nobody(tmp_path: Path) -> None:
    """Of de its peers, then its NetBird server, stand in an environment: mn is not refused for the defaults."""
    without_peers = ENVIRONMENT + text(changed(DE, {"peers": REMOVE}))
    assert check_fleet(fleet_of(tmp_path, PROJECT, de=without_peers, mn=text(MN))) == []
    own = {"netbird": {"management_url": "https://nb.example.net", "mtu": 1340}, "cilium": {"mtu": 1340}}
    assert check_fleet(fleet_of(tmp_path, PROJECT, de=ENVIRONMENT + text(DE), mn=text(changed(MN, own)))) == []

    # What a file says counts there as well, and so does all that nothing else can say.
    wrong = ENVIRONMENT + text(changed(DE, {"peers": []}))
    (sentence,) = said(check_fleet(fleet_of(tmp_path, PROJECT, de=wrong, mn=text(MN))))
    assert sentence.startswith("mn: peers.0 de does not list mn in turn; ")
    both = said(check_fleet(fleet_of(tmp_path, PROJECT, de=text(DE), mn=text(changed(MN, own)))))
    assert sorted(sentence.split()[1] for sentence in both) == ["cilium.mtu", "netbird.management_url"]


def _links(fleet: Fleet) -> tuple[LinkReport, ...]:
    return fleet_report(fleet.stacks).links
