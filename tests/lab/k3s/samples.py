"""Config files of a server and an agent."""

from __future__ import annotations

from lab.standins.k3s.settings import Settings, parse_settings

TOKEN = "0123456789abcdef0123456789abcdef"
SERVER = {
    "token": TOKEN,
    "node-ip": "10.0.1.10",
    "flannel-backend": "none",
    "disable-network-policy": True,
    "disable-kube-proxy": True,
}
AGENT = {"token": TOKEN, "node-ip": "10.0.1.11", "server": "https://10.0.1.10:6443"}


def server_settings(**changes: object) -> Settings:
    return parse_settings("server", SERVER | changes, "de-server-1")
