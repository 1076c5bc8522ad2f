"""Every secret of a lab, in the forms in which it would show, and the places where it must not."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from domain.keys import ClusterKeys
from lab import netbird_server, project
from lab import up as lab_up
from lab.kubernetes import Cluster
from lab.pulumi_command import Pulumi
from lab.topology import DEFAULT, HetznerSite

SAMPLE_SECONDS = 0.1
LOOKS = 3
"""A process is looked at that often: it begins as a copy of its parent, and becomes its own program a moment later."""


def marks(text: str) -> Iterator[str]:
    """What would give the secret away: itself or, of a key file, each long line; as it is and within base64."""
    lines = [line.strip() for line in text.strip().splitlines()]
    long = [line for line in lines if len(line) >= 32 and not line.startswith("-----")]
    # The first line of an OpenSSH key is nearly the same in all of them.
    for line in long[2:] if len(lines) > 3 else long:
        yield line
        for offset in range(3):
            # What stands before it shifts its base64; the ends depend on their neighbours.
            encoded = base64.b64encode(b"\0" * offset + line.encode()).decode()
            yield encoded[4:-4]


def lab_secrets(pulumi: Pulumi, clusters: Mapping[str, Cluster]) -> dict[str, list[str]]:
    """The marks of every secret of the lab's clusters, by a name for it."""
    found = {
        "NetBird API token": netbird_server.api().token,
        "Hetzner API token": lab_up.hetzner_token_file().read_text(),
        "person's SSH key": lab_up.ssh_key("user").read_text(),
        "Pulumi passphrase": project.passphrase_file().read_text(),
    }
    for site in DEFAULT.sites:
        name = site.name
        config = json.loads(pulumi.run("config", "--show-secrets", "--json", "-s", name).stdout)
        cluster_secret = config["isthmus:clusterSecret"]["value"]
        keys = ClusterKeys.derive(cluster_secret, name)
        found[f"{name}: clusterSecret"] = cluster_secret
        found[f"{name}: k3s token"] = keys.k3s_token
        if isinstance(site, HetznerSite):
            found[f"{name}: SSH key"] = keys.ssh_private_key
            for node in clusters[name].get("nodes"):
                machine = node["metadata"]["name"]
                found[f"{name}: host key of {machine}"] = keys.host_key(machine).private
        for secret in clusters[name].get("secrets", namespace="netbird"):
            if secret["metadata"]["name"].startswith("setup-key-"):
                key = base64.b64decode(secret["data"]["setup-key"]).decode()
                found[f"{name}: {secret['metadata']['name']}"] = key
        for secret in clusters[name].get("secrets", namespace="kube-system"):
            if secret["metadata"]["name"] == "isthmus-keeper-key":
                found[f"{name}: keepers' key"] = base64.b64decode(secret["data"]["key"]).decode()
        kubeconfig = yaml.safe_load(pulumi.outputs(name, show_secrets=True)["kubeconfig"])
        found[f"{name}: kubeconfig"] = kubeconfig["users"][0]["user"]["client-key-data"]
    result = {name: list(marks(text)) for name, text in found.items()}
    assert [name for name, texts in result.items() if not texts] == []
    assert sum("setup-key" in name for name in result) >= len(DEFAULT.sites)
    assert sum("keepers' key" in name for name in result) == len(DEFAULT.sites)
    return result


def shown(secrets: Mapping[str, list[str]], text: str) -> list[str]:
    """The names of the secrets that the text holds."""
    return [name for name, texts in secrets.items() if any(secret in text for secret in texts)]


def without_operator(command_lines: Iterable[str]) -> list[str]:
    """The command lines without that of NetBird's operator, to which its chart gives the token as an argument."""
    return [line for line in command_lines if "--netbird-api-key=" not in line]


class ProcessLists:
    """The command lines of all processes that run while it is entered, those of the machines among them."""

    def __init__(self) -> None:
        self.command_lines: set[str] = set()
        self._looks: dict[int, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessLists:
        """Begins to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            present = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
            self._looks = {pid: looks for pid, looks in self._looks.items() if pid in present}
            for pid in present:
                if self._looks.get(pid, 0) < LOOKS:
                    self._looks[pid] = self._looks.get(pid, 0) + 1
                    with contextlib.suppress(OSError):
                        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                        self.command_lines.add(line.decode(errors="replace"))
