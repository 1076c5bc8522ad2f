"""What etcd on a server of the lab says of its members."""

from __future__ import annotations

import json
from typing import Final

from lab import machines

_TLS: Final = "/var/lib/rancher/k3s/server/tls"
_ASK: Final = (
    *("curl", "-fsS", "--data", "{}", "--cacert", f"{_TLS}/etcd-server-ca.crt"),
    *("--cert", f"{_TLS}/etcd-client.crt", "--key", f"{_TLS}/etcd-client.key"),
    "https://127.0.0.1:2379/v3/cluster/member/list",
)


def members(server: str) -> dict[str, str]:
    """Address of a member -> voter, learner or new, as etcd on that machine lists them. LabError when it does not."""
    said = machines.exec(server, _ASK, check=True, deadline_seconds=120).stdout
    return {
        member["peerURLs"][0].removeprefix("https://").removesuffix(":2380"): "new"
        if not member.get("name")
        else "learner"
        if member.get("isLearner")
        else "voter"
        for member in json.loads(said)["members"]
    }
