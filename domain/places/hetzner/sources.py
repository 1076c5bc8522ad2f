"""Who may come in from the Internet: ranges that can be the source of a packet at a public address.

It owns the list of those that never are. A server at Hetzner has its firewall on its public address only, so a packet
that it sees comes from a public address too: behind a NAT it is the NAT's, whatever the machine's own is.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Final

from pydantic import AfterValidator

from domain.overlay import NETBIRD_RANGE
from domain.values.addresses import Cidr
from domain.values.rule_error import RuleError

_AT_HOME: Final = "behind a NAT; packets from there come with the NAT's public address"
_NOBODY: Final = "from which no packet of the Internet comes"
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
NEVER_PUBLIC: Final = {
    _THIS_NETWORK: f"the range of 'this network', {_NOBODY}",
    IPv4Network("10.0.0.0/8"): f"a private range {_AT_HOME}",
    NETBIRD_RANGE: f"the range of carriers' NATs and of NetBird, {_NOBODY}",
    IPv4Network("127.0.0.0/8"): f"the loopback range, {_NOBODY}",
    IPv4Network("169.254.0.0/16"): f"the link-local range, {_NOBODY}",
    IPv4Network("172.16.0.0/12"): f"a private range {_AT_HOME}",
    IPv4Network("192.0.0.0/24"): f"the range of protocols, {_NOBODY}",
    IPv4Network("192.168.0.0/16"): f"a private range {_AT_HOME}",
    IPv4Network("198.18.0.0/15"): f"the range of benchmarks, {_NOBODY}",
    IPv4Network("224.0.0.0/4"): f"the multicast range, {_NOBODY}",
    IPv4Network("240.0.0.0/4"): f"a reserved range, {_NOBODY}",
    IPv4Network("224.0.0.0/3"): f"the multicast and the reserved range, {_NOBODY}",
}
"""Of IANA's special ranges (https://www.iana.org/assignments/iana-ipv4-special-registry) those that are no source. The
ones for documentation are not here: they stand for public addresses wherever nothing real is meant, in labs as in
texts. A range that holds more than one of these, like 0.0.0.0/0, is nobody's mistake."""


def public_source(network: IPv4Network) -> IPv4Network:
    """A range from which packets of the Internet come: not private, of a carrier's NAT, loopback, link-local, multicast
    or reserved.
    """
    for never, meaning in NEVER_PUBLIC.items():
        if network.subnet_of(never):
            fix = "write the public address from which you come, like 203.0.113.7/32"
            if never == _THIS_NETWORK:
                fix += ", or 0.0.0.0/0 for everybody"
            raise RuleError(f"is {meaning}" if network == never else f"is in {never}, {meaning}", fix)
    return network


def shut_out(
    stack: str, own: IPv4Address, api_allowed: Sequence[IPv4Network], ssh_allowed: Sequence[IPv4Network]
) -> str | None:
    """What to tell somebody whose public address the firewall of his servers does not let in. None when it does, and
    for an address that is not public: the NAT's counts then, which nobody here knows.
    """
    allowed = {"hetzner.api_allowed_cidrs": api_allowed, "hetzner.ssh_allowed_cidrs": ssh_allowed}
    without = [setting for setting, networks in allowed.items() if not any(own in network for network in networks)]
    if not own.is_global or not without:
        return None
    return (
        f"{stack}: this machine goes out as {own}, which is not in {' and not in '.join(without)}; "
        "`pulumi up` from here would not reach the servers"
    )


PublicSource = Annotated[Cidr, AfterValidator(public_source)]
