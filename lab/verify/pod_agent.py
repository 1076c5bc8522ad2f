"""What runs inside a probe pod: answers requests, one JSON object a line on stdin, one answer a line on stdout.

It is sent to the pod as text and needs Python's standard library, ping and iperf3 only. Requests are worked on at the
same time, so each carries an "id", which its answer repeats. Every request has a deadline of its own; an answer is
always given, {"ok": false, "error": ..., "ms": how long it took} at the least.

    {"do": "ping", "address", "count", "size", "df", "seconds"}   {"received": 3, "text": ...}
    {"do": "tcp", "address", "port", "seconds"}                   {"ok": true, "ms": 1.2}
    {"do": "http", "host", "port", "path", "seconds"}             {"status": 200, "body": ..., "address": ...}
    {"do": "udp", "host", "port", "seconds"}                      {"body": "probe-other", "address": ..., "ms": 1.2}
    {"do": "dns", "name", "type", "tcp", "size", "seconds"}       {"rcode", "records", "truncated", "bytes", "ms"}
    {"do": "dns_watch", ... as dns, "every", "lasts"}             {"answers": [{"at", "ms", "rcode", "records"}]}
    {"do": "dns_load", "names", "rate", "lasts", "seconds"}       {"sent", "answered", "refused", "worst_ms", ...}
    {"do": "resolve", "name"}                                     {"addresses": [...], "ms": ...}
    {"do": "iperf", "address", "port", "seconds"}                 {"bits_per_second": ...}
    {"do": "serve_iperf", "port"}                                 {"pid": ...}; one test, then it ends by itself
"""

import contextlib
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]
Answer = dict[str, Any]


def ping(request: Request) -> Answer:
    """ICMP echo by the ping command, which can also forbid fragmenting."""
    command = ["ping", "-n", "-c", str(request["count"]), "-i", "0.2", "-w", str(request["seconds"])]
    if request.get("size") is not None:
        command += ["-s", str(request["size"])]
    if request.get("df"):
        command += ["-M", "do"]
    done = subprocess.run([*command, request["address"]], capture_output=True, text=True)
    text = done.stdout + done.stderr
    received = 0
    for line in text.splitlines():
        if " packets transmitted" in line:
            # With -w it sends until so many are answered: one more than asked for where an answer is late (ping(8)).
            received = min(int(line.split(", ")[1].split()[0]), request["count"])
    return {"ok": received > 0, "received": received, "text": text.strip()[-400:]}


def tcp(request: Request) -> Answer:
    """A TCP connection, opened and closed."""
    start = time.monotonic()
    with socket.create_connection((request["address"], request["port"]), timeout=request["seconds"]):
        return {"ok": True, "ms": (time.monotonic() - start) * 1000}


def http_get(request: Request) -> Answer:
    """An HTTP request to a name or an address; a name is resolved by the C library."""
    connection = http.client.HTTPConnection(request["host"], request["port"], timeout=request["seconds"])
    try:
        connection.request("GET", request["path"])
        address = connection.sock.getpeername()[0] if connection.sock else ""
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return {"ok": response.status == 200, "status": response.status, "body": body[:2000], "address": address}
    finally:
        connection.close()


def udp(request: Request) -> Answer:
    """What a UDP server says of itself: asked anew every half second, since a datagram may be lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        # Connected, so that a refusal is told.
        client.connect((request["host"], request["port"]))
        client.settimeout(0.5)
        start = time.monotonic()
        end = start + request["seconds"]
        while True:
            client.send(b"who")
            try:
                body = client.recv(512).decode()
                milliseconds = (time.monotonic() - start) * 1000
                return {"ok": True, "body": body, "address": client.getpeername()[0], "ms": milliseconds}
            except TimeoutError:
                if time.monotonic() >= end:
                    raise


DNS_PORT = 53
TYPES = {"A": 1, "PTR": 12, "AAAA": 28, "SRV": 33}


def dns(request: Request) -> Answer:
    """A question to the pod's DNS server, the name as it is; over UDP once, with EDNS where a ``size`` is given."""
    kind, size, server = TYPES[request["type"]], request.get("size", 0), _server()
    question = _question(request["name"], kind, size)
    start = time.monotonic()
    if request.get("tcp"):
        with socket.create_connection((server, DNS_PORT), timeout=request["seconds"]) as connection:
            connection.sendall(struct.pack("!H", len(question)) + question)
            with connection.makefile("rb") as stream:
                message = stream.read(struct.unpack("!H", stream.read(2))[0])
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((server, DNS_PORT))
            client.settimeout(request["seconds"])
            client.send(question)
            message = client.recv(65535)
    milliseconds = (time.monotonic() - start) * 1000
    flags, questions, answers = struct.unpack("!HHH", message[2:8])
    if message[:2] != question[:2] or questions != 1:
        return {"ok": False, "error": "an answer to another question"}
    place, records = len(question) - (11 if size else 0), []
    for _ in range(answers):
        _, place = _name(message, place)
        found, _, _, length = struct.unpack("!HHIH", message[place : place + 10])
        place += 10
        if found == kind:
            records.append(_record(message, place, kind, length))
        place += length
    return {
        "ok": True,
        "rcode": flags & 15,
        "records": records,
        "truncated": bool(flags & 0x0200),
        "bytes": len(message),
        "ms": milliseconds,
    }


def dns_watch(request: Request) -> Answer:
    """The same question over and over, ``every`` so many seconds, for as long as it ``lasts``. A question without an
    answer has the rcode -1. ``at`` is when it was asked, in seconds since 1970.
    """
    end, answers = time.monotonic() + request["lasts"], []
    while (begun := time.monotonic()) < end:
        at = time.time()
        try:
            found = dns(request)
        except OSError:
            found = {"rcode": -1, "records": [], "ms": (time.monotonic() - begun) * 1000}
        answers.append({"at": at, **{key: found[key] for key in ("ms", "rcode", "records")}})
        time.sleep(max(0.0, begun + request["every"] - time.monotonic()))
    return {"ok": True, "answers": answers}


LOAD_SOCKETS = 8
"""Of a load: each keeps what has come until it is read."""
RECEIVE_BYTES = 4 << 20
"""Of each; the kernel grants no more than net.core.rmem_max."""
AT_ONCE = 50
"""So many questions at most without a pause. CoreDNS's socket keeps some 270 (net.core.rmem_default), and what waits
behind them is lost, which would be this program's doing."""
CATCHING_UP = 1.25
"""How much faster it asks at most after it was kept waiting itself."""


class Pace:
    """How many questions are due: so many a second by the clock, and never many at once, also where this program did
    not run for a while. Seconds on any clock.
    """

    def __init__(self, rate: float, total: int, begun: float) -> None:
        self.rate, self.total, self.begun = rate, total, begun
        self.sent, self._allowed, self._last = 0, 1.0, begun

    def due(self, now: float) -> int:
        """The number to be sent now; whoever asks sends them."""
        self._allowed = min(AT_ONCE, self._allowed + (now - self._last) * self.rate * CATCHING_UP)
        self._last = now
        behind = min(self.total, int((now - self.begun) * self.rate)) - self.sent
        number = max(0, min(behind, int(self._allowed)))
        self._allowed -= number
        self.sent += number
        return number


def dns_load(request: Request) -> Answer:
    """So many questions a second for A records of existing names, whatever becomes of those before. ``seconds`` is how
    long the last are waited for; ``refused`` are answers without a record, ``lost_here`` those that came and found no
    room in this program's own sockets.
    """
    waiting: dict[tuple[int, bytes], float] = {}
    answered, refused, worst = 0, 0, 0.0
    questions = [_question(name, TYPES["A"], 0)[2:] for name in request["names"]]
    with contextlib.ExitStack() as stack, select.epoll() as arrived:
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(LOAD_SOCKETS)]
        by_number = {client.fileno(): client for client in clients}
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            client.connect((_server(), DNS_PORT))
            client.setblocking(False)
            arrived.register(client, select.EPOLLIN)
        pace = Pace(request["rate"], int(request["rate"] * request["lasts"]), time.monotonic())
        end = pace.begun + request["lasts"] + request["seconds"]
        while (now := time.monotonic()) < end and (pace.sent < pace.total or waiting):
            first = pace.sent
            for number in range(first, first + pace.due(now)):
                client = clients[number % len(clients)]
                mark = struct.pack("!H", number // len(clients) & 0xFFFF)
                waiting[client.fileno(), mark] = time.monotonic()
                client.send(mark + questions[number % len(questions)])
            for which, _ in arrived.poll(0.0005):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        message = by_number[which].recv(4096)
                        asked = waiting.pop((which, message[:2]), None)
                        if asked is not None:
                            answered += 1
                            refused += message[3] & 15 != 0 or message[6:8] == b"\0\0"
                            worst = max(worst, (time.monotonic() - asked) * 1000)
        lost = sum(map(_dropped, clients))
    return {
        "ok": True,
        "sent": pace.sent,
        "answered": answered,
        "refused": refused,
        "worst_ms": worst,
        "lost_here": lost,
    }


def _dropped(client: socket.socket) -> int:
    """How many datagrams found no room in a socket (SO_MEMINFO, include/uapi/linux/sock_diag.h: SK_MEMINFO_DROPS)."""
    counters: tuple[int, ...] = struct.unpack("9I", client.getsockopt(socket.SOL_SOCKET, 55, 36))
    return counters[8]


def _server() -> str:
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    return next(words[1] for words in lines if words[:1] == ["nameserver"])


def _question(name: str, kind: int, size: int) -> bytes:
    """A question with a random number (RFC 1035, 4.1); with EDNS (RFC 6891) where there is a size."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split("."))
    edns = b"\0" + struct.pack("!HHIH", 41, size, 0, 0) if size else b""
    header = os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 1 if edns else 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, 1) + edns


def _record(message: bytes, place: int, kind: int, length: int) -> str:
    if kind in (TYPES["A"], TYPES["AAAA"]):
        return socket.inet_ntop(socket.AF_INET if kind == TYPES["A"] else socket.AF_INET6, message[place:][:length])
    if kind == TYPES["SRV"]:
        port = struct.unpack("!H", message[place + 4 : place + 6])[0]
        return f"{_name(message, place + 6)[0]}:{port}"
    return _name(message, place)[0]


def _name(message: bytes, place: int) -> tuple[str, int]:
    """A name, and where what follows it begins (RFC 1035, 4.1.4)."""
    parts, after = [], 0
    while (length := message[place]) != 0:
        if length >= 0xC0:
            after = after or place + 2
            place = (length & 0x3F) << 8 | message[place + 1]
        else:
            parts.append(message[place + 1 : place + 1 + length].decode())
            place += 1 + length
    return ".".join(parts), after or place + 1


def resolve(request: Request) -> Answer:
    """A name by the C library's getaddrinfo, as every program does it."""
    start = time.monotonic()
    found = socket.getaddrinfo(request["name"], None, socket.AF_INET, socket.SOCK_STREAM)
    addresses = sorted({entry[4][0] for entry in found})
    return {"ok": True, "addresses": addresses, "ms": (time.monotonic() - start) * 1000}


def iperf(request: Request) -> Answer:
    """TCP throughput to an iperf3 server, as its receiver counts it."""
    command = ["iperf3", "--json", "-c", request["address"], "-p", str(request["port"]), "-t", str(request["seconds"])]
    done = subprocess.run(
        [*command, "--connect-timeout", "5000"],
        capture_output=True,
        text=True,
        timeout=request["seconds"] + 15,
    )
    answer = json.loads(done.stdout)
    if "error" in answer:
        return {"ok": False, "error": answer["error"]}
    return {"ok": True, "bits_per_second": answer["end"]["sum_received"]["bits_per_second"]}


def serve_iperf(request: Request) -> Answer:
    """An iperf3 server for one test."""
    server = subprocess.Popen(
        ["iperf3", "-s", "-1", "-p", str(request["port"])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if server.poll() is not None:
            return {"ok": False, "error": f"iperf3 -s ended with code {server.returncode}"}
        # State 0A is LISTEN.
        sockets = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        if any(f":{request['port']:04X} " in line and " 0A " in line for line in sockets.splitlines()):
            return {"ok": True, "pid": server.pid}
        time.sleep(0.02)
    return {"ok": False, "error": "iperf3 -s does not listen"}


ACTIONS: dict[str, Callable[[Request], Answer]] = {
    "ping": ping,
    "tcp": tcp,
    "http": http_get,
    "udp": udp,
    "dns": dns,
    "dns_watch": dns_watch,
    "dns_load": dns_load,
    "resolve": resolve,
    "iperf": iperf,
    "serve_iperf": serve_iperf,
}


def answer_to(request: Request) -> Answer:
    """What came of the request."""
    start = time.monotonic()
    try:
        return ACTIONS[request["do"]](request)
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked must hear of it
        milliseconds = (time.monotonic() - start) * 1000
        return {"ok": False, "error": f"{type(error).__name__}: {error}", "ms": milliseconds}


def main() -> None:
    """Answers until stdin ends."""
    writing = threading.Lock()

    def work(request: Request) -> None:
        line = json.dumps({**answer_to(request), "id": request["id"]})
        with writing:
            print(line, flush=True)

    for line in sys.stdin:
        threading.Thread(target=work, args=(json.loads(line),)).start()


if __name__ == "__main__":
    main()
