"""What k3s has where, and what the lab gives this stand-in: versions, images, paths and ports."""

from __future__ import annotations

from pathlib import Path

VERSION = "v1.34.2+k3s1"
COREDNS_IMAGE = "rancher/mirrored-coredns-coredns:1.14.7"
PAUSE_IMAGE = "rancher/mirrored-pause:3.6"

PROGRAMS = Path("/usr/libexec/isthmus-lab")
CONFIG_FILE = Path("/etc/rancher/k3s/config.yaml")
REGISTRIES_FILE = Path("/etc/rancher/k3s/registries.yaml")
ADMIN_KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
DATA_DIR = Path("/var/lib/rancher/k3s")
SERVER_TLS = DATA_DIR / "server/tls"
AGENT_DIR = DATA_DIR / "agent"
CONTAINERD_STATE = Path("/run/k3s/containerd")
CONTAINERD_SOCKET = CONTAINERD_STATE / "containerd.sock"

API_PORT = 6443
FORWARDER_PORT = 6444

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
