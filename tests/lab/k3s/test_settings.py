"""The settings of a k3s node: config files in, checked settings or every error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.standins.k3s.arguments import parse_taint
from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.settings import Settings, parse_settings, read_config
from tests.lab.k3s.samples import AGENT, SERVER, TOKEN, server_settings


class TestConfigFiles:
    def test_later_files_replace_and_a_plus_appends(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text("token: a\nnode-label: [one=1]\ndisable: traefik\n")
        folder = tmp_path / "config.yaml.d"
        folder.mkdir()
        (folder / "20.yaml").write_text("node-label+: [three=3]\ntoken: c\n")
        (folder / "10.yaml").write_text("node-label+: two=2\ndisable+:\n- servicelb\ntoken: b\n")
        (folder / "ignored.txt").write_text("token: d\n")
        assert read_config(config) == {
            "token": "c",
            "node-label": ["one=1", "two=2", "three=3"],
            "disable": ["traefik", "servicelb"],
        }

    def test_no_file_is_an_empty_config(self, tmp_path: Path) -> None:
        assert read_config(tmp_path / "config.yaml") == {}

    def test_an_error_names_the_line_and_not_its_text(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(f"node-ip: 10.0.0.1\ntoken: '{TOKEN}\n")
        with pytest.raises(StandInError) as caught:
            read_config(config)
        assert str(caught.value).startswith(f"{config}: not YAML (line ")
        assert TOKEN not in str(caught.value)


class TestSettings:
    def test_a_server_with_defaults_derived_from_its_service_range(self) -> None:
        settings = server_settings(**{"service-cidr": "10.53.0.0/16", "disable": "traefik,servicelb"})
        assert settings == Settings(
            role="server",
            token=TOKEN,
            node_name="de-server-1",
            node_ip="10.0.1.10",
            service_cidr="10.53.0.0/16",
            cluster_dns="10.53.0.10",
            disable=("traefik", "servicelb"),
        )
        assert TOKEN not in repr(settings)

    def test_an_agent_forwards_to_its_server_and_a_server_to_itself(self) -> None:
        assert parse_settings("agent", AGENT, "a").api_server == ("10.0.1.10", 6443)
        assert server_settings().api_server == ("127.0.0.1", 6443)

    @pytest.mark.parametrize(
        ("role", "config", "message"),
        [
            (
                "server",
                SERVER | {"node-lable": "x"},
                "unknown setting node-lable: k3s server has no such flag, or this stand-in does not do it",
            ),
            (
                "agent",
                AGENT | {"cluster-cidr": "10.42.0.0/16"},
                "unknown setting cluster-cidr: k3s agent has no such flag, or this stand-in does not do it",
            ),
            (
                "server",
                SERVER | {"server": "10.0.1.9"},
                "server: is not https://HOST:6443",
            ),
            ("server", SERVER | {"token": ""}, "token: required; it is what the certificates are derived from"),
            ("server", SERVER | {"node-ip": "fd00::1"}, "node-ip: fd00::1 is not one IPv4 address"),
            (
                "server",
                SERVER | {"flannel-backend": "vxlan"},
                "flannel-backend: must be none, flannel is not in this stand-in",
            ),
            (
                "server",
                SERVER | {"disable-kube-proxy": False},
                "disable-kube-proxy: must be true, what it switches off is not in this stand-in",
            ),
            (
                "server",
                SERVER | {"disable": ["treafik"]},
                "disable: treafik is none of coredns, servicelb, traefik, local-storage, metrics-server, runtimes",
            ),
            ("server", SERVER | {"cluster-cidr": "10.42.0.1/16"}, "cluster-cidr: 10.42.0.1/16 has host bits set"),
            ("server", SERVER | {"write-kubeconfig-mode": "rw"}, "write-kubeconfig-mode: rw is not an octal mode"),
            ("server", SERVER | {"cluster-init": "yes please"}, "cluster-init: expected true or false"),
            ("agent", AGENT | {"server": "10.0.1.10"}, "server: required on an agent, as https://HOST:6443"),
            ("agent", AGENT | {"node-name": ["a"]}, "node-name: expected one value"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, role: str, config: dict[str, object], message: str) -> None:
        with pytest.raises(StandInError) as caught:
            parse_settings(role, config, "name")
        assert str(caught.value) == message

    def test_all_errors_come_at_once(self) -> None:
        with pytest.raises(StandInError) as caught:
            parse_settings("agent", {"x": 1}, "name")
        assert len(str(caught.value).split("; ")) == 5  # One message has a semicolon of its own.

    def test_taints(self) -> None:
        assert parse_taint("a/b=c:NoSchedule") == {"key": "a/b", "value": "c", "effect": "NoSchedule"}
        assert parse_taint("a:NoExecute") == {"key": "a", "effect": "NoExecute"}
        with pytest.raises(StandInError, match="node-taint: a=b is not KEY=VALUE:EFFECT"):
            parse_taint("a=b")
