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

NODE_PASSWORD_FILE = Path("/etc/rancher/node/password")
ETCD_DIR = DATA_DIR / "server/db/etcd"
BALANCER_FILE = AGENT_DIR / "etc/k3s-agent-load-balancer.json"

API_PORT = 6443
FORWARDER_PORT = 6444
INTERNAL_API_PORT = 6445
"""Where kube-apiserver listens on a server of several; 6443 is that of :mod:`lab.standins.k3s.front`."""
ETCD_PORT = 2379
PEER_PORT = 2380
ETCD_REQUEST_SECONDS = 10.0

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
