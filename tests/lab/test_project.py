"""The lab's stack files: good settings by the program's own rules, and nothing of a secret in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.fleet import check_fleet, parse_fleet
from domain.merging import merged
from domain.places.registry import StackSettings
from domain.plan import address_plan
from domain.stack_file import Unreadable
from domain.starter import Starter, starter
from lab import project, state
from lab.own_settings import Artifacts, own_settings
from lab.project import Tools, environment, filled, stack_settings
from lab.topology import DEFAULT, LEAST_SITES, MOST_SITES, HetznerSite, OnPremiseSite, of_sites
from tests.domain.one_stack import parse_stack

ARTIFACTS = Artifacts(
    k3s_version="v1.34.2+k3s1",
    k3s_sha256="ab" * 32,
    k3s_directory="http://198.51.100.30/k3s",
    charts_directory="http://198.51.100.30/charts",
    registries={"docker.io": "http://198.51.100.30", "quay.io": "http://198.51.100.30"},
    cilium_version="1.19.6",
    operator_version="0.8.0",
    agent_image="netbirdio/netbird:0.77.1",
)
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGWpLXLgHqbQFzLYoiwqJu5hkbfOkYOsaVW5bQwqVzQB"
HOST_KEYS = dict.fromkeys([f"{site}-{number}" for site in ("mn", "kz") for number in range(1, 6)], HOST_KEY)
TWO = of_sites(LEAST_SITES, 2)
ALL = of_sites(MOST_SITES)

FITTING = {
    "de": ["isthmus:clusterSecret", "isthmus:netbirdApiToken", "hcloud:token"],
    "mn": ["isthmus:clusterSecret", "isthmus:netbirdApiToken", "isthmus:sshPrivateKey"],
}
"""The secrets of each stack."""


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "STATE", tmp_path)
    project.directory().mkdir()
    return tmp_path


def settings_of(stack: str, *, privileged: bool = False) -> dict[str, Any]:
    return stack_settings(DEFAULT, DEFAULT.site(stack), ARTIFACTS, host_keys=HOST_KEYS, privileged=privileged)


@pytest.mark.parametrize("stack", ["de", "mn"])
@pytest.mark.parametrize("privileged", [False, True])
def test_settings_pass_the_programs_own_rules(stack: str, privileged: bool) -> None:
    config = settings_of(stack, privileged=privileged)
    parsed = parse_stack(stack, config, secrets=FITTING[stack])
    assert isinstance(parsed, StackSettings), [str(problem) for problem in parsed]
    assert parsed.peers == DEFAULT.peers(DEFAULT.site(stack))


def test_only_a_root_without_the_capability_makes_cilium_privileged() -> None:
    assert "values" not in settings_of("de")["isthmus:cilium"]
    assert settings_of("de", privileged=True)["isthmus:cilium"]["values"] == {"securityContext": {"privileged": True}}


def test_hetzner_settings_let_in_only_the_persons_site() -> None:
    hetzner = settings_of("de")["isthmus:hetzner"]
    assert hetzner["api_allowed_cidrs"] == hetzner["ssh_allowed_cidrs"] == ["198.51.100.50/32"]


def test_machines_come_with_their_host_keys() -> None:
    machines = settings_of("mn")["isthmus:on_premise"]["machines"]
    assert [(machine["name"], machine["role"], machine["router"], machine["host_key"]) for machine in machines] == [
        ("mn-1", "server", False, HOST_KEY),
        ("mn-2", "agent", True, HOST_KEY),
    ]


@pytest.mark.parametrize("privileged", [False, True])
def test_the_shipped_files_differ_from_the_labs_by_its_own_settings_alone(privileged: bool) -> None:
    """So the tutorial can be followed on the lab's machines with nothing else changed."""
    for site in DEFAULT.sites:
        text = (project.REPOSITORY / f"Pulumi.{site.name}.yaml").read_text()
        of_user, of_lab = yaml.safe_load(text)["config"], settings_of(site.name, privileged=privileged)
        both = merged(filled(of_user, of_lab), own_settings(site, ARTIFACTS, privileged=privileged))
        # The ranges of the shipped files are the user's choice, as are labels and the like that the lab leaves out.
        assert "<" not in str(both)
        assert filled({**of_lab, "isthmus:network": both["isthmus:network"]}, both) == both


def new_files() -> dict[str, str | Unreadable]:
    """What `./isthmus new` writes for all sites in their order, each beside those before it."""
    files: dict[str, str | Unreadable] = {}
    for site in ALL.sites:
        place = "hetzner" if isinstance(site, HetznerSite) else "on_premise"
        lan = site.ranges.nodes if isinstance(site, OnPremiseSite) else None
        made = starter(site.name, place, parse_fleet(files), node_cidr=lan)
        assert isinstance(made, Starter), made
        files[site.name] = made.text
    return files


def test_the_map_has_the_ranges_that_new_takes() -> None:
    for site in ALL.sites:
        config = yaml.safe_load(str(new_files()[site.name]))["config"]
        assert config["isthmus:network"] == {
            "pod_cidr": str(site.ranges.pods),
            "service_cidr": str(site.ranges.services),
            "node_cidr": str(site.ranges.nodes),
            "dns_zone": site.ranges.dns_zone,
        }
        if isinstance(site, HetznerSite):
            assert config["isthmus:hetzner"]["network_cidr"] == str(site.network)


def test_what_new_leaves_blank_is_filled_in_and_the_fleet_is_good(state_directory: Path) -> None:
    for site in ALL.sites:
        path = project.stack_file(site.name)
        path.write_text(str(new_files()[site.name]))
        settings = stack_settings(ALL, site, ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
        assert project.complete_stack_file(site.name, settings) is True
        project.renew_settings(site.name, ["isthmus:k3s", "isthmus:mirrors"], settings)
        project.add_peers(site.name, ALL.peers(site))
        config = yaml.safe_load(path.read_text())
        assert "<" not in path.read_text()
        assert {**settings, **config["config"]} == config["config"]
        secrets = ["clusterSecret", "netbirdApiToken", "sshPrivateKey" if isinstance(site, OnPremiseSite) else ""]
        config["config"] |= {f"isthmus:{name}": {"secure": "v1:x"} for name in secrets if name}
        if isinstance(site, HetznerSite):
            config["config"]["hcloud:token"] = {"secure": "v1:x"}
        path.write_text(yaml.safe_dump(config))
    fleet = parse_fleet({site.name: project.stack_file(site.name).read_text() for site in ALL.sites})
    assert [str(problem) for problem in check_fleet(fleet)] == []
    assert {name: set(stack.peers) for name, stack in fleet.stacks.items()} == {
        site.name: set(ALL.peers(site)) for site in ALL.sites
    }


def test_a_stack_file_keeps_what_a_person_or_pulumi_wrote(state_directory: Path) -> None:
    path = project.stack_file("de")
    written = {
        "encryptionsalt": "v1:abc",
        "config": {
            "isthmus:clusterSecret": {"secure": "v1:x"},
            "isthmus:dns": {"stale_seconds": 0},
            "isthmus:network": {"pod_cidr": "10.99.0.0/16"},
            "isthmus:peers": ["us"],
            "hcloud:pollInterval": "1s",
        },
    }
    path.write_text(yaml.safe_dump(written))
    assert project.complete_stack_file("de", settings_of("de")) is True
    project.add_peers("de", ["mn"])
    after = yaml.safe_load(path.read_text())
    assert after["encryptionsalt"] == "v1:abc"
    assert after["config"]["isthmus:clusterSecret"] == {"secure": "v1:x"}
    assert after["config"]["isthmus:dns"] == {"stale_seconds": 0}
    assert after["config"]["hcloud:pollInterval"] == "1s"
    assert after["config"]["isthmus:network"]["pod_cidr"] == "10.99.0.0/16"
    assert after["config"]["isthmus:network"]["service_cidr"] == "10.43.0.0/16"
    assert after["config"]["isthmus:peers"] == ["us", "mn"]
    assert project.complete_stack_file("de", settings_of("de")) is False


@pytest.mark.parametrize(
    ("present", "wanted", "result"),
    [
        ("<its address>", "192.168.7.11", "192.168.7.11"),
        ("192.168.7.9", "192.168.7.11", "192.168.7.9"),
        (["<yours>"], ["10.0.0.1/32"], ["10.0.0.1/32"]),
        (["10.0.0.9/32", "10.0.0.8/32"], ["10.0.0.1/32"], ["10.0.0.9/32", "10.0.0.8/32"]),
        ({"a": {"b": "<x>", "c": 1}}, {"a": {"b": 2, "c": 3, "d": 4}, "e": 5}, {"a": {"b": 2, "c": 1, "d": 4}, "e": 5}),
        ({"a": "<x>"}, {}, {"a": "<x>"}),
        (None, {"a": 1}, None),
    ],
)
def test_blanks_and_gaps_are_filled_and_nothing_else(present: object, wanted: object, result: object) -> None:
    assert project.filled(present, wanted) == result


def test_a_changed_checksum_reaches_the_stack_file(state_directory: Path) -> None:
    project.stack_file("de").write_text("config: {}\n")
    project.complete_stack_file("de", settings_of("de"))
    newer = {**settings_of("de"), "isthmus:k3s": {"version": "v1.34.2+k3s1", "sha256": "cd" * 32}}
    project.renew_settings("de", ["isthmus:k3s"], newer)
    assert yaml.safe_load(project.stack_file("de").read_text())["config"]["isthmus:k3s"]["sha256"] == "cd" * 32


def test_a_stack_file_is_never_half_written(state_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed `lab up` would lose the cluster's secret otherwise."""
    before = "encryptionsalt: v1:salt\nconfig:\n  isthmus:clusterSecret:\n    secure: v1:abc\n"
    project.stack_file("mn").write_text(before)
    project.stack_file("mn").chmod(0o640)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            project.complete_stack_file("mn", settings_of("mn"))
    assert project.stack_file("mn").read_text() == before

    assert project.complete_stack_file("mn", settings_of("mn"))
    assert "secure: v1:abc" in project.stack_file("mn").read_text()
    assert project.stack_file("mn").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in project.directory().iterdir()] == ["Pulumi.mn.yaml"]


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_a_second_router_is_added_to_a_file_of_one_and_all_else_stays(state_directory: Path, stack: str) -> None:
    path = project.stack_file(stack)
    path.write_text(str(new_files()[stack]))
    project.complete_stack_file(stack, settings_of(stack))
    before = yaml.safe_load(path.read_text())
    settings = stack_settings(TWO, TWO.site(stack), ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
    project.complete_stack_file(stack, settings)
    assert yaml.safe_load(path.read_text()) == before
    project.add_routers(stack, settings)
    after = yaml.safe_load(path.read_text())
    place = f"isthmus:{'hetzner' if stack == 'de' else 'on_premise'}"
    own, new = before["config"].pop(place), after["config"].pop(place)
    assert before == after
    if stack == "de":
        assert (new.pop("routers"), new["workers"].pop("count")) == (2, 2)
        assert (own.pop("routers"), own["workers"].pop("count")) == (1, 1)
    else:
        assert new["machines"].pop() == {
            "name": "mn-3",
            "address": "192.168.7.13",
            "role": "agent",
            "router": True,
            "host_key": HOST_KEY,
        }
    assert own == new


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_a_new_file_of_two_routers_is_filled_in_and_passes_the_rules(state_directory: Path, stack: str) -> None:
    path = project.stack_file(stack)
    path.write_text(str(new_files()[stack]))
    settings = stack_settings(TWO, TWO.site(stack), ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
    project.complete_stack_file(stack, settings)
    project.add_routers(stack, settings)
    assert "<" not in path.read_text()
    config = yaml.safe_load(path.read_text())["config"]
    assert {**settings, **config} == config


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_a_new_file_of_three_servers(state_directory: Path, stack: str) -> None:
    path = project.stack_file(stack)
    path.write_text(str(new_files()[stack]))
    lab = of_sites(LEAST_SITES, 1, 3)
    settings = stack_settings(lab, lab.site(stack), ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
    project.complete_stack_file(stack, settings)
    before = yaml.safe_load(path.read_text())["config"]
    project.set_servers(stack, settings)
    config = yaml.safe_load(path.read_text())["config"]
    assert {**settings, **config} == config
    parsed = parse_stack(stack, config, secrets=FITTING[stack])
    assert isinstance(parsed, StackSettings), [str(problem) for problem in parsed]
    assert [node.role for node in address_plan(parsed).nodes].count("server") == 3
    if stack == "mn":
        machines = config["isthmus:on_premise"].pop("machines")
        assert machines[:2] == before["isthmus:on_premise"].pop("machines")
        assert [
            (machine["name"], machine["role"], machine["router"], machine["host_key"]) for machine in machines[2:]
        ] == [
            ("mn-3", "server", False, HOST_KEY),
            ("mn-4", "server", False, HOST_KEY),
        ]
        assert config == before
        assert project.server_addresses("mn") == ["192.168.7.11", "192.168.7.13", "192.168.7.14"]
        return
    assert project.server_addresses("de") == []
    assert (before["isthmus:hetzner"]["control_plane"]["count"], before["isthmus:hetzner"]["workers"]["count"]) == (
        1,
        1,
    )
    assert config["isthmus:hetzner"]["control_plane"] == {**before["isthmus:hetzner"]["control_plane"], "count": 3}


def test_there_are_no_servers_without_a_stack_file(state_directory: Path) -> None:
    assert project.server_addresses("mn") == []


def test_routers_that_somebody_chose_stay_and_more_than_the_labs_are_kept(state_directory: Path) -> None:
    settings = stack_settings(TWO, TWO.site("de"), ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
    config = {"isthmus:hetzner": {**settings["isthmus:hetzner"], "routers": 3, "workers": {"count": 4}}}
    assert project.with_routers(config, settings) == config
    settings = stack_settings(TWO, TWO.site("mn"), ARTIFACTS, host_keys=HOST_KEYS, privileged=False)
    moved = [{**machine, "router": machine["name"] == "mn-1"} for machine in settings["isthmus:on_premise"]["machines"]]
    config = {"isthmus:on_premise": {"machines": moved, "ssh": {}}}
    assert project.with_routers(config, settings) == config


def test_the_persons_environment_has_no_proxy_and_no_other_pulumi(state_directory: Path) -> None:
    tools = Tools(pulumi_bin=Path("/tools/pulumi"), kubectl=Path("/tools/kubernetes/kubectl"))
    base = {
        "PATH": "/usr/bin",
        "HOME": "/root",
        "https_proxy": "http://proxy",
        "NO_PROXY": "*",
        "PULUMI_ACCESS_TOKEN": "secret",
        "KUBECONFIG": "/root/.kube/config",
        "HCLOUD_TOKEN": "secret",
        "PYTHONPATH": "/elsewhere",
        "SSH_AUTH_SOCK": "/run/agent",
    }
    made = environment(tools, base)
    assert made["PATH"] == "/tools/pulumi:/tools/kubernetes:/usr/bin"
    assert made["KUBECONFIG"] == str(state_directory / "kubeconfig")
    assert made["PULUMI_BACKEND_URL"] == f"file://{state_directory}/pulumi/backend?metadata=skip"
    for name in ("https_proxy", "NO_PROXY", "PULUMI_ACCESS_TOKEN", "HCLOUD_TOKEN", "PYTHONPATH", "SSH_AUTH_SOCK"):
        assert name not in made


def test_new_secrets_have_the_forms_that_are_asked_for() -> None:
    assert len(project.new_hetzner_token()) == 64
    assert len(bytes.fromhex(project.new_cluster_secret())) == 32
    assert project.new_cluster_secret() != project.new_cluster_secret()
