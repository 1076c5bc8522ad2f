"""What a machine's packet filter does with what the peers send: a part of the script `node_agent.py`, with which it is
sent.

It reads nftables, and so what `iptables` lays there as well; `iptables-legacy` has rules that it does not see.
"""

import json
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

Answer = dict[str, Any]
Place = tuple[str, str, str]
"""A chain: family, table, name."""

NETBIRD_RANGE = IPv4Network("100.64.0.0/10")
COMMAND_SECONDS = 4.0
"""For a program that reads something of the node. An agent that is frozen is not asked."""
VERDICTS = {"drop", "reject"}
OURS = ("netbird", "isthmus")
"""In the names of tables and chains of NetBird and of the guard, which say with good reason who may come in."""


def parsed(command: list[str]) -> Any:
    """What a program writes as JSON; None when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        return json.loads(done.stdout or "[]") if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def firewall(relay_port: int) -> Any:
    """What is in nftables of NetBird: whether anything masquerades, and at which hooks what wt0 brings is dropped; and
    the rules of others that drop what routers of peers send, see :func:`drops_of_others`.
    """
    found = parsed(["nft", "--json", "list", "ruleset"])
    if found is None:
        return None
    ruleset = found.get("nftables", [])
    hooks = base_chains(ruleset)
    seen: Answer = {"masquerades": False, "drops": [], "others": list(drops_of_others(ruleset, relay_port))}
    for rule in rules(ruleset):
        if not is_netbirds(rule):
            continue
        text = json.dumps(rule["expr"]).lower()
        seen["masquerades"] |= "masquerade" in text
        hook = hooks.get(place_of(rule), "")
        if hook in ("input", "forward") and '"drop"' in text and '"wt0"' in text:
            seen["drops"].append(hook)
    return seen


def rules(ruleset: list[Answer]) -> Iterator[Answer]:
    """The rules of a ruleset, in their order."""
    return (item["rule"] for item in ruleset if "rule" in item)


def place_of(rule: Answer) -> Place:
    """The chain that a rule is in."""
    return rule["family"], rule["table"], rule["chain"]


def base_chains(ruleset: list[Answer]) -> dict[Place, str]:
    """The chains that the kernel itself calls, and at which hook."""
    chains = [item["chain"] for item in ruleset if "hook" in item.get("chain", {})]
    return {(chain["family"], chain["table"], chain["name"]): chain["hook"] for chain in chains}


def reached(ruleset: list[Answer]) -> dict[Place, set[str]]:
    """The hooks from which each chain is reached, by itself or by jumps; a chain that nothing leads to has none."""
    leads: dict[Place, set[str]] = {}
    for rule in rules(ruleset):
        for part in rule["expr"]:
            target = part.get("jump") or part.get("goto")
            if target is not None:
                leads.setdefault(place_of(rule), set()).add(target["target"])
    found: dict[Place, set[str]] = {}
    for base, hook in base_chains(ruleset).items():
        ahead = [base]
        while ahead:
            place = ahead.pop()
            if hook not in found.setdefault(place, set()):
                found[place].add(hook)
                ahead += [(place[0], place[1], target) for target in leads.get(place, ())]
    return found


def is_netbirds(rule: Answer) -> bool:
    """Whether a rule can be NetBird's: in its own table or chains, or in the ones that it shares by iptables."""
    names = f"{rule['table']} {rule['chain']}".lower()
    return "netbird" in names or names in ("filter input", "filter forward")


def drops_of_others(ruleset: list[Answer], relay_port: int) -> Iterator[Answer]:
    """Rules of neither NetBird nor the guard that drop or refuse what comes by wt0 from NetBird's addresses, or what
    goes to or comes from a DNS relay's port: each as nft writes it, with its chain and the hooks that lead there. One
    that has counted no packet has dropped none.
    """
    hooks = reached(ruleset)
    for rule in rules(ruleset):
        names = f"{rule['table']} {rule['chain']}".lower()
        leading = sorted(hooks.get(place_of(rule), ()))
        idle = any(part["counter"]["packets"] == 0 for part in rule["expr"] if isinstance(part.get("counter"), dict))
        if not leading or idle or any(name in names for name in OURS):
            continue
        if drops_peers(rule["expr"], relay_port):
            yield {"rule": as_written(rule), "chain": " ".join(place_of(rule)), "hooks": leading}


def drops_peers(expression: list[Answer], relay_port: int) -> bool:
    """Whether a rule that reads so drops such packets. Only what names addresses of NetBird's or that port counts:
    where all is dropped but exceptions, they may be one.
    """
    if not any(VERDICTS & part.keys() or part.get("xt", {}).get("name") in ("DROP", "REJECT") for part in expression):
        return False
    named = False
    for match in (part["match"] for part in expression if "match" in part):
        left, same, values = match["left"], match["op"] in ("==", "in"), listed(match["right"])
        if str(left.get("meta", {}).get("key", "")) in ("iifname", "oifname", "iif", "oif"):
            if any(str(value).rstrip("*") in ("wt0", "wt") for value in values) != same:
                return False
            continue
        field = left.get("payload", {}).get("field")
        if field in ("saddr", "daddr"):
            networks = [network for value in values if (network := network_of(value)) is not None]
            if any(network.overlaps(NETBIRD_RANGE) for network in networks) != same:
                return False
            named |= same and all(network.prefixlen > 0 for network in networks)
        elif field in ("sport", "dport"):
            if (relay_port in values) != same:
                return False
            named |= same
    return named


def listed(right: Any) -> list[Any]:
    """What a match compares with: one value, or those of a set."""
    values = right.get("set") if isinstance(right, dict) else None
    return [right] if values is None else list(values)


def network_of(value: Any) -> IPv4Network | None:
    """The address or range that a match names; None for what is neither, as a range with ends of its own."""
    try:
        if isinstance(value, dict):
            return IPv4Network(f"{value['prefix']['addr']}/{value['prefix']['len']}")
        return IPv4Network(str(value))
    except (KeyError, ValueError):
        return None


def as_written(rule: Answer) -> str:
    """A rule as nft lists it, with what it has counted."""
    command = ["nft", "--handle", "list", "chain", *place_of(rule)]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        text = ""
    ending = f"# handle {rule['handle']}"
    return next((line.removesuffix(ending).strip() for line in text.splitlines() if line.endswith(ending)), ending)
