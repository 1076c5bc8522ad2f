"""Names of forwarded zones by the real CoreDNS, from what a pod asks to the answer of a server outside: at another
port, and over TLS, in a network of their own that has the addresses which the settings name.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest

from domain.corefile import forward_zone
from lab.verify import pod_agent
from tests.certificates import Certified, certified
from tests.domain.samples import DE, settings_of
from tests.domain.test_corefile_runs import ask, serving
from tests.engine.netbird_program import own_network
from toolchain import ensure

pytestmark = pytest.mark.engine

CLUSTER: Final = "127.0.1.1"
SERVER: Final = "192.168.9.53"
STRANGER: Final = "192.168.9.66"
NAME: Final = "dns.corp.example"
ANSWERS: Final = {
    f".:53 {SERVER}": "192.0.2.1",
    f".:5353 {SERVER}": "192.0.2.2",
    f"tls://.:853 {SERVER}": "192.0.2.3",
    f"tls://.:8853 {SERVER}": "192.0.2.4",
    f"tls://.:853 {STRANGER}": "192.0.2.6",
}
"""What the servers outside give for every name, by scheme, port and address."""
FORWARDED: Final = {
    "usual.example": [SERVER],
    "port.example": [f"{SERVER}:5353"],
    "tls.example": [f"tls://{SERVER}#{NAME}"],
    "tls-port.example": [f"tls://{SERVER}:8853#{NAME}"],
    "other-name.example": [f"tls://{SERVER}#dns.other.example"],
    "other-authority.example": [f"tls://{STRANGER}#{NAME}"],
    "plain-there.example": [f"tls://{SERVER}:5353#{NAME}"],
}


def servers(directory: Path) -> str:
    """The Corefile of the servers outside. The stranger's certificate is for the same name, of another authority."""
    text = ""
    for place, answer in ANSWERS.items():
        listens, address = place.split()
        tls = f"    tls {directory}/{address}.pem {directory}/{address}.key\n" if listens.startswith("tls") else ""
        text += f'{listens} {{\n    bind {address}\n{tls}    template IN A {{\n        answer "{{{{ .Name }}}} 5 IN A '
        text += f'{answer}"\n    }}\n}}\n'
    return text


OWN_AUTHORITY: Final = """own-authority.example:53 {{
    forward . tls://{server} {{
        tls {directory}/stranger.pem
        tls_servername {name}
    }}
}}
"""
"""What a user writes into coredns-custom for a server whose certificate is of an authority of one's own."""


def authority(directory: Path) -> Path:
    """Of the server's certificate; both servers have theirs in the directory then, and the stranger's authority is
    ``stranger.pem``.
    """
    ours, another = certified("authority.example"), certified("authority.example")
    for address, issuer in ((SERVER, ours), (STRANGER, another)):
        made: Certified = certified(NAME, issuer=issuer)
        (directory / f"{address}.pem").write_bytes(made.certificate)
        (directory / f"{address}.key").write_bytes(made.key)
    (directory / "stranger.pem").write_bytes(another.certificate)
    (directory / "authority.pem").write_bytes(ours.certificate)
    return directory / "authority.pem"


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[None]:
    """The cluster's CoreDNS with the forwarded zones, as the program writes them, and the servers outside. To trust
    one's own authority it gets it in place of those that its image brings.
    """
    dns = settings_of("de", DE, {"dns": {"forward_zones": FORWARDED}}).dns
    text = "".join(forward_zone(zone, dns) for zone in FORWARDED)
    text += OWN_AUTHORITY.format(server=STRANGER, directory=directory, name=NAME)
    trusted, coredns = authority(directory), ensure(["coredns"])["coredns"] / "coredns"
    with own_network(), contextlib.ExitStack() as stack:
        for address in (SERVER, STRANGER):
            subprocess.run(["ip", "address", "add", f"{IPv4Address(address)}/32", "dev", "lo"], check=True)
        # Who answers listens at all of his places.
        stack.enter_context(serving(coredns, servers(directory), directory / "outside", lambda: answers(SERVER)))
        text = text.replace(":53 {\n", f":53 {{\n    bind {CLUSTER}\n")
        environment = {"SSL_CERT_FILE": str(trusted), "SSL_CERT_DIR": str(directory / "nothing")}
        stack.enter_context(serving(coredns, text, directory / "de", lambda: answers(CLUSTER), environment))
        yield


def answers(address: str) -> bool:
    return ask(address, 53, "not.served.here", 0.2) is not None


def test_forwarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_agent, "_server", lambda: CLUSTER)

    def asked(zone: str, *, tcp: bool = False) -> tuple[int, list[str]]:
        answer = pod_agent.dns({"name": f"{'tcp' if tcp else 'udp'}.{zone}", "type": "A", "seconds": 10, "tcp": tcp})
        assert answer["ok"], answer
        return answer["rcode"], answer["records"]

    with cluster(tmp_path):
        for tcp in (False, True):
            assert asked("usual.example", tcp=tcp) == (0, ["192.0.2.1"])
            assert asked("port.example", tcp=tcp) == (0, ["192.0.2.2"])
            assert asked("tls.example", tcp=tcp) == (0, ["192.0.2.3"])
            assert asked("tls-port.example", tcp=tcp) == (0, ["192.0.2.4"])
        # Who has no certificate of a known authority for that name is told nothing, and believed nothing.
        assert asked("other-name.example") == (2, [])
        assert asked("other-authority.example") == (2, [])
        assert asked("plain-there.example") == (2, [])
        assert asked("own-authority.example") == (0, ["192.0.2.6"])
