"""containerd's hosts files, from registries.yaml."""

from __future__ import annotations

import pytest

from lab.standins.k3s.containerd import hosts_toml
from lab.standins.k3s.errors import StandInError


class TestRegistries:
    def test_a_mirror_becomes_containerds_hosts_file(self) -> None:
        mirrors = {
            "docker.io": {"endpoint": ["http://198.51.100.30"]},
            "quay.io": {"endpoint": ["http://198.51.100.30/cache/", "https://other.example.com"]},
            "*": {"endpoint": ["http://198.51.100.30"]},
        }
        files = hosts_toml({"mirrors": mirrors})
        assert files["docker.io"] == (
            'server = "https://registry-1.docker.io"\n\n'
            '[host."http://198.51.100.30"]\n  capabilities = ["pull", "resolve"]\n'
        )
        assert files["quay.io"] == (
            'server = "https://quay.io"\n\n'
            '[host."http://198.51.100.30/cache"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n\n'
            '[host."https://other.example.com"]\n  capabilities = ["pull", "resolve"]\n'
        )
        assert files["_default"] == '[host."http://198.51.100.30"]\n  capabilities = ["pull", "resolve"]\n'

    def test_what_the_stand_in_does_not_do_is_refused(self) -> None:
        with pytest.raises(StandInError, match="configs is not in this stand-in, only mirrors"):
            hosts_toml({"configs": {}})
        with pytest.raises(StandInError, match=r"mirrors\.docker\.io: only endpoint is in this stand-in"):
            hosts_toml({"mirrors": {"docker.io": {"rewrite": {}}}})
        with pytest.raises(StandInError, match=r"mirrors\.a: endpoint 198\.51\.100\.30 is not an http\(s\) URL"):
            hosts_toml({"mirrors": {"a": {"endpoint": ["198.51.100.30"]}}})
