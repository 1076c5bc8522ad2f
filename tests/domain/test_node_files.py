from __future__ import annotations

import base64
import io
import shlex
import subprocess
import tarfile
from typing import Any

import pytest
import yaml

from domain.bundle import tar_bundle
from domain.cloud_init import USER_DATA_LIMIT, UserDataError, user_data, without_comments
from domain.keys import SshKey
from domain.node_files import NodeFile, environment, k3s_config, node_files, script, systemd_unit
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, golden, plan_of, settings_of

TOKEN = "the-token"
PASSWORD = "the-password"
HOST_KEY = SshKey(private="PRIVATE\nKEY\n", public="ssh-ed25519 AAAA root@de-agent-1")
MIRRORS = {
    "mirrors": {"k3s": "http://198.51.100.30/k3s", "registries": {"quay.io": "http://m", "docker.io": "http://m"}}
}


def files_of(
    stack: str, config: dict[str, Any], node: int, changes: dict[str, Any] | None = None
) -> tuple[NodeFile, ...]:
    plan = plan_of(stack, config, changes)
    return node_files(plan, plan.nodes[node], settings_of(stack, config, changes), TOKEN, PASSWORD)


def content(files: tuple[NodeFile, ...], path: str) -> str:
    (found,) = [file.content for file in files if file.path == path]
    return found


def test_paths_and_modes() -> None:
    assert [(file.path, f"{file.mode:o}") for file in files_of("de", DE, 1)] == [
        ("/etc/rancher/k3s/config.yaml", "600"),
        ("/etc/systemd/system/k3s-agent.service", "644"),
        ("/usr/local/lib/isthmus/install-k3s", "755"),
        ("/usr/local/lib/isthmus/k3s.env", "600"),
        ("/usr/local/lib/isthmus/node-password", "600"),
        ("/usr/local/lib/isthmus/uninstall-k3s", "755"),
    ]


def test_server_config() -> None:
    assert yaml.safe_load(content(files_of("de", DE, 0), "/etc/rancher/k3s/config.yaml")) == {
        "token": TOKEN,
        "node-name": "de-server-1",
        "node-ip": "10.0.1.11",
        "cluster-cidr": "10.42.0.0/16",
        "service-cidr": "10.43.0.0/16",
        "cluster-dns": "10.43.0.10",
        "flannel-backend": "none",
        "disable-network-policy": True,
        "disable-kube-proxy": True,
        "disable": ["servicelb", "traefik"],
        "write-kubeconfig-mode": "0600",
    }


def test_agent_config_has_agent_keys_only() -> None:
    assert yaml.safe_load(content(files_of("mn", MN, 1), "/etc/rancher/k3s/config.yaml")) == {
        "token": TOKEN,
        "node-name": "mn-2",
        "node-ip": "192.168.7.12",
        "node-label": ["isthmus.dev/router=true"],
        "server": "https://192.168.7.11:6443",
    }


THREE = {"hetzner.control_plane.count": 3}


def test_with_several_servers_no_node_depends_on_the_first() -> None:
    """What is rendered names no server to join, and none that makes a cluster: a node that is made anew would boot with
    the same, and begin a second one.
    """
    plan = plan_of("de", DE, THREE)
    configs = [k3s_config(plan, node, TOKEN) for node in plan.nodes]
    assert len(configs) == 4
    for config in configs:
        assert {"cluster-init", "server"}.isdisjoint(config)
    assert [config.get("cluster-cidr") for config in configs] == [*["10.42.0.0/16"] * 3, None]
    for index, node in enumerate(plan.nodes):
        files = files_of("de", DE, index, THREE)
        assert "ISTHMUS_SERVERS='10.0.1.11 10.0.1.12 10.0.1.13'\n" in content(files, "/usr/local/lib/isthmus/k3s.env")
        unit = content(files, f"/etc/systemd/system/{'k3s' if node.role == 'server' else 'k3s-agent'}.service")
        assert "\nExecStartPre=/usr/local/lib/isthmus/join-k3s\nExecStart=" in unit
        assert [f"{file.mode:o}" for file in files if file.path == "/usr/local/lib/isthmus/join-k3s"] == ["755"]


def test_one_server_starts_as_it_always_has() -> None:
    """Nothing of the list: what runs is not restarted for it."""
    for node in (0, 1):
        for file in files_of("de", DE, node):
            if file.path != "/usr/local/lib/isthmus/install-k3s":
                assert "join" not in file.path + file.content
                assert "ISTHMUS_SERVERS" not in file.content


def test_the_password_is_where_k3s_does_not_look_by_itself() -> None:
    """A node that runs has one of its own, and k3s would refuse it with another."""
    files = files_of("de", DE, 1)
    assert [file.path for file in files if PASSWORD in file.content] == ["/usr/local/lib/isthmus/node-password"]
    assert PASSWORD not in repr(files)


def test_environment() -> None:
    environment = content(files_of("de", DE, 0), "/usr/local/lib/isthmus/k3s.env")
    assert environment.splitlines() == [
        "ISTHMUS_K3S_ROLE=server",
        f"ISTHMUS_K3S_SHA256={'5f' * 32}",
        "ISTHMUS_K3S_UNIT=k3s.service",
        "ISTHMUS_K3S_URL=https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/k3s",
        "ISTHMUS_K3S_VERSION=v1.34.9+k3s1",
        "ISTHMUS_NODE_ADDRESS=10.0.1.11",
        "ISTHMUS_NODE_NAME=de-server-1",
        "ISTHMUS_REGISTRIES=no",
    ]
    assert [shlex.split(line)[0] for line in environment.splitlines()] == environment.splitlines()


def test_a_node_called_by_its_full_name() -> None:
    changes = {"on_premise.machines.0.name": "mn-1.k8s.example.net"}
    plan, settings = plan_of("mn", MN, changes), settings_of("mn", MN, changes)
    assert k3s_config(plan, plan.servers[0], "token")["node-name"] == "mn-1.k8s.example.net"
    assert k3s_config(plan, plan.agents[0], "token")["node-name"] == "mn-2"
    assert "ISTHMUS_NODE_NAME=mn-1.k8s.example.net\n" in environment(plan, plan.servers[0], settings)


def test_mirrors() -> None:
    files = files_of("de", DE, 0, MIRRORS)
    environment = content(files, "/usr/local/lib/isthmus/k3s.env")
    assert "ISTHMUS_K3S_URL=http://198.51.100.30/k3s/v1.34.9+k3s1/k3s\n" in environment
    assert "ISTHMUS_REGISTRIES=yes\n" in environment
    assert yaml.safe_load(content(files, "/etc/rancher/k3s/registries.yaml")) == {
        "mirrors": {"docker.io": {"endpoint": ["http://m"]}, "quay.io": {"endpoint": ["http://m"]}}
    }


def test_the_token_is_in_one_file_and_never_in_a_repr() -> None:
    files = files_of("de", DE, 0)
    assert [file.path for file in files if TOKEN in file.content] == ["/etc/rancher/k3s/config.yaml"]
    assert TOKEN not in repr(files)


def test_nothing_to_install_on_a_given_cluster() -> None:
    plan = plan_of("mn", GIVEN)
    with pytest.raises(ValueError, match=r"^mn: nothing is installed on the nodes of a given cluster$"):
        node_files(plan, plan.nodes[0], settings_of("mn", GIVEN), TOKEN, PASSWORD)


def test_units() -> None:
    plan = plan_of("de", DE)
    server, agent = plan.nodes
    golden("k3s.service", systemd_unit(plan, server))
    assert systemd_unit(plan, agent) == systemd_unit(plan, server).replace("/k3s server", "/k3s agent")


# --- user data --------------------------------------------------------------------------------------------------------


def test_user_data_text() -> None:
    files = (NodeFile("/etc/b", 0o644, "b\n"), NodeFile("/etc/a", 0o600, "ä\n"))
    golden("user-data.yaml", user_data(files, hostname="de-agent-1", host_key=HOST_KEY))


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("servers", [{}, {"hetzner.control_plane.count": 5}], ids=["one server", "five servers"])
def test_user_data_carries_every_file_and_fits(node: int, servers: dict[str, Any]) -> None:
    files = files_of("de", DE, node, MIRRORS | servers)
    text = user_data(files, hostname="de", host_key=HOST_KEY)
    document = yaml.safe_load(text)
    assert text.startswith("#cloud-config\n")
    assert {file["path"]: base64.b64decode(file["content"]).decode() for file in document["write_files"]} == {
        file.path: without_comments(file.content) for file in files
    }
    assert len(text.encode()) < USER_DATA_LIMIT * 0.75, "leave room for settings of users"


def test_scripts_go_without_their_comments_and_are_the_same_to_a_shell() -> None:
    assert without_comments("#!/bin/sh\n# why\nset -eu\n    # why\n    echo '#'  # not a line of its own\n") == (
        "#!/bin/sh\nset -eu\n    echo '#'  # not a line of its own\n"
    )
    assert without_comments("# a config file\n") == "# a config file\n"
    for name in ("install-k3s.sh", "join-k3s.sh", "uninstall-k3s.sh"):
        short = without_comments(script(name))
        assert len(short) < len(script(name))
        subprocess.run(["sh", "-n"], input=short, text=True, check=True)


def test_user_data_does_not_depend_on_the_order_of_files() -> None:
    files = files_of("de", DE, 0)
    assert user_data(files, hostname="de", host_key=HOST_KEY) == user_data(
        tuple(reversed(files)), hostname="de", host_key=HOST_KEY
    )


def test_user_data_over_the_limit() -> None:
    files = (NodeFile("/etc/large", 0o600, "x" * 30000), NodeFile("/etc/small", 0o600, "hunter2"))
    with pytest.raises(UserDataError) as raised:
        user_data(files, hostname="de-server-1", host_key=HOST_KEY)
    assert str(raised.value) == (
        "user data of de-server-1 has 40518 bytes, Hetzner takes 32768; "
        "largest files, in bytes: /etc/large 30000, /etc/small 7"
    )


# --- bundle -----------------------------------------------------------------------------------------------------------


def test_bundle() -> None:
    files = files_of("mn", MN, 0)
    bundle = tar_bundle(files)
    assert bundle == tar_bundle(tuple(reversed(files)))
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        members = archive.getmembers()
        assert [f"/{member.name}" for member in members] == [file.path for file in files]
        assert [member.mode for member in members] == [file.mode for file in files]
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
        for member, file in zip(members, files, strict=True):
            source = archive.extractfile(member)
            assert source is not None
            assert source.read().decode() == file.content


def test_host_keys_are_not_on_the_machines_of_others() -> None:
    for node in (0, 1):
        assert not any(key in file.content for file in files_of("mn", MN, node) for key in HOST_KEYS)
