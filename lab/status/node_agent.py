"""What runs on a machine for `lab status`: finds the pods' networks, sends probes from them, reads what the node has.

It is sent to the machine as text behind `node_kernel.py` and `node_filter.py`, gets one JSON request on stdin and
writes one JSON answer. It needs Python's standard library, iproute2 and nft only, makes and changes nothing. Each
question has a deadline.

    {"scan": true}                      {"pods": [{"netns", "address", "serves_dns"}], "own": {"wt0": "100.77.1.2"}}
    {"look": true, "relay_port"}        {"node": {...}}, see :func:`look`
    {"probes": [{"id", "netns", "do", "address", "port", "name", "seconds"}, ...]}
                                        {"probes": {id: {"ok", "ms", "said"}}}; an empty netns is the node's own
    {"maps": true}                      {"egress": [...]}, the node's egress map as `cilium-dbg` gives it
"""

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from lab.status.node_filter import COMMAND_SECONDS, Answer, firewall, parsed
from lab.status.node_kernel import number_of, programs

T = TypeVar("T")

NETWORKS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
SIOCGIFADDR = 0x8915
LISTEN = "0A"
OWN = ("wt0", "cilium_host")
KEEPER = "http://127.0.0.1:8055/status"
EVERY_SECONDS = 0.4
"""Between two echo requests or questions of one probe: a packet may get lost in a link that is well."""
NXDOMAIN, NOERROR, SERVFAIL, REFUSED = 3, 0, 2, 5
CODES = {NOERROR: "NOERROR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", REFUSED: "REFUSED"}


def inside(netns: str, function: Callable[[], T]) -> T:
    """Runs the function in a thread with the sockets of that network; returns or raises what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            if netns:
                enter(netns)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(netns: str) -> None:
    """Moves the calling thread into a network for good."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(netns, os.O_RDONLY)
    try:
        if library.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"can't enter {netns}")
    finally:
        os.close(descriptor)


# --- pods -------------------------------------------------------------------------------------------------------------


def scan() -> list[Answer]:
    """The networks of the pods on this node, by what is there and not by what any API says."""
    pods = []
    for path in sorted(NETWORKS.glob("cni-*")) if NETWORKS.is_dir() else []:
        try:
            address, serves = inside(str(path), lambda: (address_of("eth0"), bool(listening(53))))
        except OSError:
            continue
        pods.append({"netns": str(path), "address": address, "serves_dns": serves})
    return pods


def address_of(interface: str) -> str:
    """The interface's IPv4 address; OSError without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        packed = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", interface.encode()))
    return socket.inet_ntoa(packed[20:24])


def own_address(interface: str) -> str:
    """The same of the node; empty without one."""
    try:
        return address_of(interface)
    except OSError:
        return ""


def listening(port: int, protocol: str = "tcp") -> list[str]:
    """The IPv4 addresses on which something listens on the port, in the calling thread's network; ``*`` for all."""
    found = []
    for name in (protocol, f"{protocol}6"):
        for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, text = fields[1].partition(":")
            if int(text, 16) != port or (protocol == "tcp" and fields[3] != LISTEN):
                continue
            if len(address) == 8:
                number = struct.pack("<I", int(address, 16))
                found.append("*" if number == bytes(4) else socket.inet_ntoa(number))
            elif int(address, 16) == 0:
                found.append("*")
    return found


# --- probes -----------------------------------------------------------------------------------------------------------


def icmp(probe: Answer) -> Answer:
    """Echo requests until the first reply of that very address."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.connect((probe["address"], 0))
        identifier = int(probe["number"]) & 0xFFFF
        start = time.monotonic()
        sent: dict[int, float] = {}
        said = ""
        while (now := time.monotonic()) < start + probe["seconds"]:
            if not sent or now >= max(sent.values()) + EVERY_SECONDS:
                number = len(sent) + 1
                sent[number] = now
                try:
                    raw.send(echo(identifier, number))
                except OSError as error:
                    said = error.strerror or str(error)
            try:
                readable, _, _ = select.select([raw], [], [], EVERY_SECONDS / 4)
                packet = raw.recv(2048) if readable else b""
            except OSError as error:
                said = error.strerror or str(error)
                continue
            header = (packet[0] & 0x0F) * 4 if packet else 0
            if len(packet) < header + 8 or not packet:
                continue
            kind, _, _, theirs, number = struct.unpack("!BBHHH", packet[header : header + 8])
            if kind == 0 and theirs == identifier and number in sent:
                return {"ok": True, "ms": (time.monotonic() - sent[number]) * 1000, "said": ""}
        return {"ok": False, "ms": None, "said": said or f"no reply to {len(sent)} requests in {probe['seconds']:g} s"}


def echo(identifier: int, number: int) -> bytes:
    """An ICMP echo request."""
    body = b"isthmus lab status "
    body += bytes(len(body) % 2)
    head = struct.pack("!BBHHH", 8, 0, 0, identifier, number)
    total = sum(struct.unpack(f"!{len(head + body) // 2}H", head + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, identifier, number) + body


def tcp(probe: Answer) -> Answer:
    """A connection, opened and closed. A refusal is an answer as well, and is told apart."""
    start = time.monotonic()
    try:
        with socket.create_connection((probe["address"], probe["port"]), timeout=probe["seconds"]):
            return {"ok": True, "ms": (time.monotonic() - start) * 1000, "said": ""}
    except TimeoutError:
        return {"ok": False, "ms": None, "said": f"no answer in {probe['seconds']:g} s"}
    except ConnectionRefusedError:
        return {"ok": False, "ms": (time.monotonic() - start) * 1000, "said": "refused"}
    except OSError as error:
        return {"ok": False, "ms": None, "said": error.strerror or str(error)}


def dns(probe: Answer) -> Answer:
    """One question by UDP, repeated once; what the name server answers of it counts, not whether the name exists."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((probe["address"], probe["port"]))
        number = int(probe["number"]) & 0xFFFF
        labels = b"".join(bytes([len(label)]) + label.encode() for label in probe["name"].split("."))
        question = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
        start = time.monotonic()
        said = f"no answer in {probe['seconds']:g} s"
        for share in (0.5, 1.0):
            try:
                asking.send(question)
                asking.settimeout(max(0.05, start + probe["seconds"] * share - time.monotonic()))
                answer = asking.recv(4096)
            except TimeoutError:
                continue
            except OSError as error:
                said = error.strerror or str(error)
                time.sleep(0.1)
                continue
            if len(answer) >= 12 and answer[:2] == question[:2]:
                code = answer[3] & 0x0F
                took = (time.monotonic() - start) * 1000
                return {"ok": code in (NOERROR, NXDOMAIN), "ms": took, "said": CODES.get(code, f"code {code}")}
        return {"ok": False, "ms": None, "said": said}


KINDS: dict[str, Callable[[Answer], Answer]] = {"icmp": icmp, "tcp": tcp, "dns": dns}


def send(probes: list[Answer]) -> dict[str, Answer]:
    """All probes at the same time; an answer for each."""
    answers: dict[str, Answer] = {}

    def ask(probe: Answer) -> None:
        try:
            answers[probe["id"]] = inside(probe["netns"], lambda: KINDS[probe["do"]](probe))
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked must hear of it
            said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            answers[probe["id"]] = {"ok": False, "ms": None, "said": said}

    threads = [
        threading.Thread(target=ask, args=({**probe, "number": os.getpid() * 64 + number},))
        for number, probe in enumerate(probes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# --- the node ---------------------------------------------------------------------------------------------------------


def look(request: Answer) -> Answer:
    """What the node has of NetBird's agent, of the DNS relay and of the kubelet; None for what can't be read."""
    found = list(processes())
    own = Path("/proc/self/ns/net").readlink()
    agents = [process for process in found if process["name"] == "netbird"]
    relays = [process for process in found if process["name"] == "coredns" and process["network"] == str(own)]
    looked: Answer = {
        "agent": agents[0] if agents else None,
        "relay": relays[0] if relays else None,
        "cilium": next((process for process in found if process["name"] == "cilium-agent"), None),
        "kubelet": next(
            (process for process in found if process["name"] in ("kubelet", "k3s-server", "k3s-agent")), None
        ),
        "relay_listens": listening(request["relay_port"], "udp"),
        "wt0": interface("wt0"),
        "programs": programs("wt0"),
        "forwarding": number_of("/proc/sys/net/ipv4/ip_forward"),
        "rp_filter": [number_of(f"/proc/sys/net/ipv4/conf/{name}/rp_filter") for name in ("all", "wt0")],
    }
    asked: dict[str, Callable[[], Any]] = {
        "rules": lambda: parsed(["ip", "-json", "-4", "rule", "show"]),
        "routes": lambda: routes(str(request["route_table"])),
        "firewall": lambda: firewall(request["relay_port"]),
        "status": lambda: agent_status(agents),
        "keeper": keeper,
    }
    threads = []
    for name, function in asked.items():
        threads.append(threading.Thread(target=lambda n=name, f=function: looked.__setitem__(n, f())))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return looked


def processes() -> Iterator[Answer]:
    """Every process with its network and whether it is stopped by a signal."""
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            text = (directory / "stat").read_text()
            name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
            if state == "Z":
                continue
            network = str((directory / "ns/net").readlink())
        except (OSError, ValueError):
            continue
        yield {"pid": int(directory.name), "name": name, "frozen": state in "Tt", "network": network}


def interface(name: str) -> Answer | None:
    """An interface's state and address; None when it is not there."""
    found = parsed(["ip", "-json", "-4", "address", "show", "dev", name])
    if not found or not found[0]:
        return None
    addresses = [address["local"] for address in found[0].get("addr_info", [])]
    return {"up": "UP" in found[0].get("flags", []), "address": addresses[0] if addresses else ""}


def routes(table: str) -> Any:
    """The routes of a table; one that nobody has laid a route in does not exist for iproute2."""
    command = ["ip", "-json", "-4", "route", "show", "table", table]
    found = parsed(command)
    if found is not None:
        return found
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return [] if "does not exist" in done.stderr else None


def agent_status(agents: list[Answer]) -> Any:
    """`netbird status` in the agent's own file system; None without an agent that answers."""
    awake = [agent for agent in agents if not agent["frozen"]]
    if not awake:
        return None
    enter_mounts = ["nsenter", f"--target={awake[0]['pid']}", "--mount"]
    return parsed([*enter_mounts, "netbird", "status", "--json"])


def keeper() -> Any:
    """What the keeper of this node says of itself, on the node's loopback; None without one that answers."""
    try:
        with urllib.request.urlopen(KEEPER, timeout=COMMAND_SECONDS / 2) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def egress_map(pid: int) -> Any:
    """The egress map of the node's Cilium agent, in the agent's own file system."""
    enter_mounts = ["nsenter", f"--target={pid}", "--mount"]
    return parsed([*enter_mounts, "cilium-dbg", "bpf", "egress", "list", "--output=json"])


def main() -> None:
    """One request, one answer."""
    request = json.loads(sys.stdin.read())
    answer: Answer = {}
    works: list[Callable[[], None]] = []
    if request.get("scan"):
        works.append(lambda: answer.update(pods=scan(), own={name: own_address(name) for name in OWN}))
    if request.get("look"):
        works.append(lambda: answer.update(node=look(request)))
    if request.get("probes"):
        works.append(lambda: answer.update(probes=send(request["probes"])))
    if request.get("maps"):
        agents = [
            process["pid"] for process in processes() if process["name"] == "cilium-agent" and not process["frozen"]
        ]
        works.append(lambda: answer.update(egress=egress_map(agents[0]) if agents else None))
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
