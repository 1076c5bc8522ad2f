"""Twelve kinds of broken machines: every rule has one that breaks it and one that passes, and all are told at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from domain.node_files import script
from domain.places.on_premise.machine_facts import MachineFacts, machine_facts
from domain.places.on_premise.model import Machine
from domain.places.on_premise.preflight import RULES, Look, faults, firewall_is_off, remarks, tried
from tests.domain.samples import HOST_KEYS

SERVER, AGENT = (
    Machine.model_validate(
        {"name": name, "address": address, "role": role, "router": role == "agent", "host_key": HOST_KEYS[0]}
    )
    for name, address, role in (("mn-1", "192.168.7.11", "server"), ("mn-2", "192.168.7.12", "agent"))
)
SAID: Final = """\
user root
root yes
architecture x86_64
kernel 6.1.0-28-amd64
systemd yes
hostname {name}
machine_id id-of-{name}
time 1795988890
memory_kib 4000000
disk_kib 20000000
memory_cgroup yes
vxlan yes
tun yes
ours no
address 127.0.0.1
address {address}
link lo
link eth0
listens 0016
foreign_routes no
end yes
"""
MANY: Final = ("link", "listens", "unit", "there", "missing", "address", "silent", "hears", "unheard")
"""Facts that a machine may have several of."""
MN_1: Final = "mn: on_premise.machines.0 mn-1 "


def said(machine: Machine, *changes: str) -> str:
    """What a machine in order says, with these lines in the place of those of their name, or in addition."""
    lines = SAID.format(name=machine.name, address=machine.address).splitlines()
    for change in changes:
        name = change.split(" ", 1)[0]
        same = [index for index, line in enumerate(lines) if line.split(" ", 1)[0] == name]
        if same and name not in MANY:
            lines[same[0]] = change
        else:
            lines.insert(0, change)
    return "\n".join(lines) + "\n"


def facts(machine: Machine, *changes: str) -> MachineFacts:
    found = machine_facts(said(machine, *changes))
    assert found is not None
    return found


def look(*changes: str, agent: tuple[str, ...] = (), **unasked: tuple[str, str]) -> Look:
    asked = {"mn-1": facts(SERVER, *changes), "mn-2": facts(AGENT, *agent)}
    there = {name: answer for name, answer in asked.items() if name.replace("-", "_") not in unasked}
    return Look("mn", (SERVER, AGENT), there, {name.replace("_", "-"): why for name, why in unasked.items()})


def told(seen: Look) -> list[str]:
    return [str(fault) for fault in faults(seen, node_cidr="192.168.7.0/24", pod_cidr="10.52.0.0/16")]


def noted(seen: Look) -> list[str]:
    return remarks(seen, tunnel_port=8472)


def test_machines_in_order_pass() -> None:
    assert told(look()) == []
    assert noted(look()) == []


BROKEN: Final[dict[str, dict[str, list[str]]]] = yaml.safe_load(
    Path(__file__).with_name("preflight.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_a_machine_that_breaks_the_rule(rule: str) -> None:
    changes, sentences = BROKEN[rule]["says_of_itself"], BROKEN[rule]["told"]
    whose = {"told_apart": "mn: on_premise.machines.1 mn-2 "}.get(rule, MN_1)
    assert told(look(*changes)) == [f"{whose}{sentence}" for sentence in sentences]


def test_an_address_that_the_machine_has_not_got() -> None:
    assert told(look(agent=("address 192.168.7.99",))) == []  # as well as its own
    other = machine_facts(said(SERVER).replace("192.168.7.11", "192.168.7.99"))
    assert other is not None
    seen = Look("mn", (SERVER, AGENT), {"mn-1": other, "mn-2": facts(AGENT)}, {})
    assert told(seen) == [
        (
            "mn: on_premise.machines.0.address mn-1 has not got the address 192.168.7.11, by which the other nodes are "
            "to reach it; it has 192.168.7.99; write the one of the nodes' network."
        )
    ]


@pytest.mark.parametrize(("seconds", "off"), [(60, True), (59, False)])
def test_a_clock_that_is_off(seconds: int, off: bool) -> None:
    # The median of two is between them.
    sentences = told(look(f"time {1795988890 + seconds + 2 * off}"))
    assert len(sentences) == 2 * off
    if off:
        assert sentences[0] == (
            f"{MN_1}has a clock 31 s ahead of the median of all machines, and up to 30 s are allowed: certificates "
            "would not be valid yet; let it follow a time server: `timedatectl set-ntp true`."
        )


def test_machines_that_could_not_be_asked_stand_beside_the_faults_of_the_others() -> None:
    seen = look("root no", mn_2=("can't be reached over SSH at 192.168.7.12, port 22: refused", "start it"))
    assert told(seen) == [
        (
            f"{MN_1}does not let root become root by `sudo -n`, and what is installed is the system's; allow it there: "
            "`root ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or log in as root."
        ),
        "mn: on_premise.machines.1 mn-2 can't be reached over SSH at 192.168.7.12, port 22: refused; start it.",
    ]


def test_silence_of_a_machine_that_could_not_be_asked_is_told_once() -> None:
    seen = look("silent 192.168.7.12:10250", mn_2=("can't be reached", "start it"))
    assert told(seen) == ["mn: on_premise.machines.1 mn-2 can't be reached; start it."]


def test_all_faults_of_all_machines_come_at_once() -> None:
    of_one = [case for rule, case in BROKEN.items() if rule != "told_apart"]
    changes = [change for case in of_one for change in case["says_of_itself"]]
    count = sum(len(case["told"]) for case in of_one)
    assert len(told(look(*changes, agent=("tun no",)))) == count + 1 >= 20


def test_a_router_needs_a_tun_and_others_do_not() -> None:
    assert told(look("tun no")) == []
    assert told(look(agent=("tun no",))) == [
        (
            "mn: on_premise.machines.1 mn-2 has no /dev/net/tun and no module for it, and is a router, which needs one "
            "for wt0; load the module tun, or let another machine be the router."
        )
    ]


OF_NEW: Final = (
    "memory_and_disk",
    "firewall_is_off",
    "nothing_else_runs",
    "nothing_is_left",
    "ports_are_free",
)


@pytest.mark.parametrize("rule", OF_NEW)
def test_on_a_node_its_own_traces_are_no_fault(rule: str) -> None:
    changes = BROKEN[rule]["says_of_itself"]
    assert told(look(*changes, "ours yes")) == []


def test_every_rule_is_broken_by_some_machine() -> None:
    elsewhere = {"could_be_asked", "has_its_address", "clocks_agree"}
    assert {rule.__name__ for rule in (*RULES, firewall_is_off)} == BROKEN.keys() | elsewhere


def test_remarks() -> None:
    (networkd,) = noted(look("unit systemd-networkd"))
    assert networkd.startswith("mn-1: systemd-networkd removes routes and rules that it did not make")
    assert noted(look("unit systemd-networkd", "foreign_routes yes")) == []
    (manager,) = noted(look(agent=("unit NetworkManager",)))
    assert manager.startswith("mn-2: NetworkManager takes over interfaces")


def test_a_port_of_udp_that_refuses_nothing_may_be_closed_to_the_tunnel() -> None:
    (remark,) = noted(look("unheard 192.168.7.12:8472"))
    assert remark == (
        "mn-1: mn-2 did not refuse what it sent to UDP port 8472, where nobody listens yet; if the network or a "
        "firewall between them drops it, as VMware's NSX does with 8472, pods of the two do not reach each other: let "
        "it through, or take another port with cilium.tunnel_port"
    )
    # Where somebody listens, a node already or not, there is no refusal; nor of another port, nor behind a filter.
    assert noted(look("unheard 192.168.7.12:8472", agent=("hears 2118",))) == []
    assert noted(look("unheard 192.168.7.12:8472", agent=("ours yes",))) == []
    assert noted(look("unheard 192.168.7.12:8472", "silent 192.168.7.12:10250")) == []
    assert noted(look("unheard 192.168.7.12:51820")) == []
    assert noted(look("unheard 192.168.7.12:8472", mn_2=("can't be reached", "start it"))) == []


def test_a_firewall_that_is_switched_off_is_none() -> None:
    assert told(look("unit ufw", "ufw off")) == []


@pytest.mark.parametrize("broken", ["", "user root\n", said(SERVER).replace("end yes\n", ""), "\x00\xff\n" * 3])
def test_what_does_not_come_to_its_end_is_no_answer(broken: str) -> None:
    assert machine_facts(broken) is None


@pytest.mark.parametrize(
    "line", ["time yesterday", "memory_kib -1", "listens zz", "address 1.2.3", "link ", "disk_kib"]
)
def test_odd_facts_are_not_known(line: str) -> None:
    changed: dict[str, Any] = vars(facts(SERVER, line))
    usual = vars(facts(SERVER))
    assert {name for name in usual if changed[name] != usual[name]} <= {
        "seconds", "memory_kib", "disk_kib", "links", "addresses",
    }  # fmt: skip
    assert None in changed.values() or line.startswith(("listens", "link", "address"))


def test_what_a_machine_tries_of_the_others() -> None:
    both = (SERVER, AGENT)
    assert tried(both, SERVER, tunnel_port=8472) == ["192.168.7.12:10250", "udp:192.168.7.12:8472"]
    assert tried(both, AGENT, tunnel_port=8473) == ["192.168.7.11:6443", "192.168.7.11:10250", "udp:192.168.7.11:8473"]
    assert tried((SERVER,), SERVER, tunnel_port=8472) == []


def test_the_script_changes_nothing() -> None:
    lines = [line.strip() for line in script("look-at-machine.sh").splitlines() if not line.lstrip().startswith("#")]
    assert lines
    changing = re.compile(r">>|> ?/(?!dev/)|\b(rm|mv|cp|mkdir|touch|tee|insmod|kill)\b|systemctl (?!is-active)|sysctl")
    assert [line for line in lines if changing.search(line)] == []
    assert [line for line in lines if "modprobe" in line] == [line for line in lines if "modprobe --dry-run" in line]
