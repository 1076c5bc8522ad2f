"""containerd's files: its config, and where it finds the registries that registries.yaml mirrors."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.layout import AGENT_DIR, CONTAINERD_SOCKET, CONTAINERD_STATE, PAUSE_IMAGE, REGISTRIES_FILE
from lab.standins.k3s.settings import as_list


def containerd_config() -> str:
    """The config.toml of containerd (version 2, containerd 1.6 and 1.7).

    No CNI directories: with flannel-backend none k3s leaves containerd's own, /etc/cni/net.d and /opt/cni/bin, where
    Cilium installs itself.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    snapshotters = ("aufs", "btrfs", "devmapper", "zfs")
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in snapshotters)
    return f"""version = 2
root = "{AGENT_DIR / "containerd"}"
state = "{CONTAINERD_STATE}"
oom_score = 0
disabled_plugins = [{disabled}]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[{cri}]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  max_concurrent_downloads = 6

[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
  disable_snapshot_annotations = true
  discard_unpacked_layers = false

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.registry]
  config_path = "{AGENT_DIR / "etc/containerd/certs.d"}"
"""


def hosts_toml(registries: Mapping[str, Any]) -> dict[str, str]:
    """The hosts.toml of each registry that registries.yaml mirrors, by directory name below certs.d.

    https://docs.k3s.io/installation/private-registry; containerd asks the endpoints in order, then the registry itself.
    """
    unknown = set(registries) - {"mirrors"}
    if unknown:
        raise StandInError(f"{REGISTRIES_FILE}: {', '.join(sorted(unknown))} is not in this stand-in, only mirrors")
    files = {}
    for host, mirror in (registries.get("mirrors") or {}).items():
        settings = mirror or {}
        if set(settings) - {"endpoint"}:
            raise StandInError(f"{REGISTRIES_FILE}: mirrors.{host}: only endpoint is in this stand-in")
        lines = []
        if host != "*":
            upstream = "registry-1.docker.io" if host == "docker.io" else host
            lines.append(f'server = "https://{upstream}"\n')
        for endpoint in as_list(settings.get("endpoint")):
            url = urllib.parse.urlsplit(str(endpoint))
            if url.scheme not in ("http", "https") or not url.netloc or '"' in str(endpoint):
                raise StandInError(f"{REGISTRIES_FILE}: mirrors.{host}: endpoint {endpoint} is not an http(s) URL")
            lines.append(f'[host."{str(endpoint).rstrip("/")}"]')
            lines.append('  capabilities = ["pull", "resolve"]')
            if url.path.strip("/"):
                lines.append("  override_path = true")
            lines.append("")
        files["_default" if host == "*" else str(host)] = "\n".join(lines)
    return files
