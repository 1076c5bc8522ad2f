"""A machine sends to pods and services from the first moment of its network on, boot after boot till it is told to end.

What would be a pod's packet later is the machine's own here: no pod lives before k3s does, and a way that the machine's
own packets have is one that a pod's may take.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lab import machines
from lab.commands import wait_until
from lab.topology import DEFAULT

UNIT: Final = "isthmus-test-sender.service"
COUNT: Final = "/run/isthmus-test-sender"
GUARD_RUNS: Final = "/run/netns/isthmus-refuse"
"""What the guard makes first of all, in a folder that a boot empties."""
ROUNDS_BEFORE_GUARD: Final = 20
"""At 50 a second; the guard is a pod, so seconds go by until it runs."""
GUARD_SECONDS: Final = 300.0

SENDER: Final = f"""
import os, socket, sys, time
rounds = 0
said = False
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
    while True:
        guarded = os.path.exists("{GUARD_RUNS}")
        for address in sys.argv[1:]:
            try:
                sending.sendto(b"x", (address, 9))
            except OSError:
                pass
        if not guarded:
            rounds += 1
        elif not said:
            with open("{COUNT}", "w") as file:
                file.write(str(rounds))
            said = True
        time.sleep(0.02)
"""


@dataclass(frozen=True)
class Sender:
    """On ``node``."""

    node: str

    def rounds_before_guard(self) -> int:
        """How often it has sent, in this boot, before the guard ran; waits for the guard."""
        text = wait_until(
            lambda: machines.exec(self.node, ["cat", COUNT]).stdout,
            what=f"the guard of {self.node} runs",
            deadline_seconds=GUARD_SECONDS,
        )
        return int(text)


@contextlib.contextmanager
def sending(cluster: str, node: str) -> Iterator[Sender]:
    """From the next boot of a cluster's node on it sends, as long as the block runs: to a pod of the peer, and to a pod
    and a service of its own cluster that nobody has.
    """
    own, peer = DEFAULT.site(cluster), next(site for site in DEFAULT.sites if site.name != cluster)
    targets = (peer.ranges.pods[9], own.ranges.pods[-2], own.ranges.services[-2])
    unit = f"""
[Unit]
DefaultDependencies=no
After=local-fs.target network-pre.target

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/isthmus-test-sender.py {" ".join(map(str, targets))}
Restart=always
"""
    place = "cat >/usr/local/lib/isthmus-test-sender.py"
    machines.exec(node, ["sh", "-c", place], text=SENDER, check=True)
    place = f"cd /etc/systemd/system && cat >{UNIT} && ln -sf ../{UNIT} multi-user.target.wants/{UNIT}"
    machines.exec(node, ["sh", "-c", place], text=unit, check=True)
    try:
        yield Sender(node)
    finally:
        remove = (
            f"systemctl stop {UNIT}; rm -f /usr/local/lib/isthmus-test-sender.py /etc/systemd/system/{UNIT}"
            f" /etc/systemd/system/multi-user.target.wants/{UNIT}; systemctl daemon-reload"
        )
        machines.exec(node, ["sh", "-c", remove], check=True)
