"""What a new stack file says of machines on-premise."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Final

EXAMPLE_LAN: Final = IPv4Network("192.168.7.0/24")
HOST_KEY: Final = "<its line of /etc/ssh/ssh_host_ed25519_key.pub>"


def secret_line(name: str) -> str:
    """The command that sets the key."""
    return f"#   pulumi config set --secret sshPrivateKey -s {name} < KEYFILE   # key without a passphrase\n"


def section_text(name: str, ranges: Mapping[str, IPv4Network], location: str) -> str:
    """The section ``on_premise``."""
    lan = ranges.get("network.node_cidr", EXAMPLE_LAN)

    def machine(number: int, role: str, router: str, comment: str) -> str:
        first = min(10, lan.num_addresses - 4)
        example = lan[first + number]
        return f"""\
      - name: {name}-{number}
        address: "<its address, like {example}>"
        role: {role} # {comment}
        router: {router}
        host_key: "{HOST_KEY}"
"""

    return f"""\
  isthmus:on_premise:
    # host_key is the line of /etc/ssh/ssh_host_ed25519_key.pub on the machine. A router carries the link and needs
    # no open port, only a way out to the Internet. One does; with `router: true` on two the link outlives one of them.
    machines:
{machine(1, "server", "false", "runs the API: 1, 3 or 5 machines")}\
{machine(2, "agent", "true", "runs workloads only")}\
    ssh: {{ user: root, port: 22 }} # root, or a user who may `sudo -n`
    # Instead of ssh, for a cluster that runs there already (then without isthmus:k3s, role, host_key and the secrets
    # clusterSecret and sshPrivateKey, but with `pulumi config set --secret kubeconfig -s {name} < KUBECONFIG`):
    # kubeconfig: {{context: NAME}}
"""
