"""The lab's Pulumi project: the program of this checkout with stack files whose settings point to the lab.

``<state>/project`` holds links to the program and real stack files. It owns those files, their secrets, and
the environment of a person at the workstation. The program does not know any of this; lab/pulumi_command.py runs it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from domain.merging import merged
from lab import private_files as files
from lab import state, topology
from lab.errors import LabError
from lab.own_settings import Artifacts, own_settings
from lab.topology import HetznerSite, OnPremiseSite, Site, Topology

REPOSITORY = Path(__file__).resolve().parent.parent
LINKED = ("Pulumi.yaml", "__main__.py", "components", "domain", "keeper", "preflight", ".venv", "requirements.txt")
NAME = "isthmus"

HETZNER_TOKEN_LENGTH = 64
"""The provider refuses tokens of any other length."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Directories and programs that a person at the workstation has."""

    pulumi_bin: Path
    kubectl: Path


def directory() -> Path:
    """The project's folder."""
    return state.STATE / "project"


def backend_directory() -> Path:
    """Where Pulumi keeps the state of the stacks."""
    return state.STATE / "pulumi" / "backend"


def backend_url(directory: Path) -> str:
    """The backend in this directory, as Pulumi is told of it.

    Without ``metadata=skip`` Pulumi writes a file ``STACK.json.attrs`` beside each state, and not at one stroke as it
    does the state: killed in between, it leaves an empty one, and each later command ends with "failed to load
    checkpoint: EOF" (https://pkg.go.dev/gocloud.dev/blob/fileblob#hdr-URLs).
    """
    return f"file://{directory}?metadata=skip"


def pulumi_home() -> Path:
    """PULUMI_HOME: plugins and workspaces."""
    return state.STATE / "pulumi" / "home"


def passphrase_file() -> Path:
    """The passphrase of the stacks' secrets, readable by root only."""
    return state.STATE / "pulumi" / "passphrase"


def kubeconfig_file() -> Path:
    """A kubeconfig with a context for each cluster."""
    return state.STATE / "kubeconfig"


def temporary_directory() -> Path:
    """TMPDIR of what the lab runs, so that a killed program leaves nothing elsewhere."""
    return state.STATE / "tmp"


def variables() -> dict[str, str]:
    """The environment variables, beside PATH, with which `pulumi` and `kubectl` work against the lab."""
    return {
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_BACKEND_URL": backend_url(backend_directory()),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file()),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "KUBECONFIG": str(kubeconfig_file()),
    }


def environment(tools: Tools, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment for a program of the lab's person: no proxies, no settings of another Pulumi or cluster."""
    dropped = ("PULUMI_", "KUBE", "HELM_", "HCLOUD_", "NB_", "VIRTUAL_ENV", "PYTHON")
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith(dropped) and not name.lower().endswith("_proxy") and name != "SSH_AUTH_SOCK"
    }
    path = os.pathsep.join([str(tools.pulumi_bin), str(tools.kubectl.parent), base.get("PATH", os.defpath)])
    return {**kept, **variables(), **directories(), "PATH": path}


def directories() -> dict[str, str]:
    """Variables that keep what these programs write inside the lab's state, so that it goes with the lab."""
    helm = state.STATE / "helm"
    return {
        "TMPDIR": str(temporary_directory()),
        "HELM_CACHE_HOME": str(helm / "cache"),
        "HELM_CONFIG_HOME": str(helm / "config"),
        "HELM_DATA_HOME": str(helm / "data"),
    }


def at_workstation(command: Sequence[str]) -> list[str]:
    """The command as it runs at the workstation: in its network, with this machine's files."""
    return ["nsenter", f"--net=/run/netns/{topology.WORKSTATION_NAMESPACE}", *command]


# --- settings ---------------------------------------------------------------------------------------------------------


def stack_settings(
    lab: Topology, site: Site, artifacts: Artifacts, *, host_keys: Mapping[str, str], privileged: bool
) -> dict[str, Any]:
    """The plain settings of a stack file, without secrets.

    ``host_keys`` are the public SSH host keys of the on-premise machines by name. ``privileged`` and what only the lab
    needs: lab/own_settings.py.
    """
    config: dict[str, Any] = {
        "isthmus:network": {
            "pod_cidr": str(site.ranges.pods),
            "service_cidr": str(site.ranges.services),
            "node_cidr": str(site.ranges.nodes),
            "dns_zone": site.ranges.dns_zone,
        },
        "isthmus:peers": list(lab.peers(site)),
        "isthmus:cilium": {"version": artifacts.cilium_version},
        "isthmus:netbird": {
            "operator_version": artifacts.operator_version,
            "agent_image": artifacts.agent_image,
        },
    }
    if isinstance(site, HetznerSite):
        config |= _hetzner_settings(lab, site)
    else:
        config["isthmus:on_premise"] = _on_premise_settings(site, host_keys)
    return merged(config, own_settings(site, artifacts, privileged=privileged))


def _hetzner_settings(lab: Topology, site: HetznerSite) -> dict[str, Any]:
    # The person reaches the cluster through the NAT of the site they sit in.
    allowed = [f"{lab.workstation_site.public_address}/32"]
    return {
        "isthmus:hetzner": {
            "location": "fsn1",
            "network_zone": "eu-central",
            "network_cidr": str(site.network),
            "image": "debian-12",
            "control_plane": {"server_type": "cx23", "count": site.control_planes},
            "workers": {"server_type": "cx23", "count": site.workers},
            "routers": site.routers,
            "api_allowed_cidrs": [*allowed],
            "ssh_allowed_cidrs": [*allowed],
        },
    }


def _on_premise_settings(site: OnPremiseSite, host_keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        "machines": [
            {
                "name": machine.name,
                "address": str(machine.address),
                "role": machine.role,
                "router": machine.router,
                "host_key": host_keys[machine.name],
            }
            for machine in site.machines
        ],
        "ssh": {"user": "root", "port": 22},
    }


# --- files ------------------------------------------------------------------------------------------------------------


def link_program() -> None:
    """Makes the project's folder with links to this checkout's program; a lab of another checkout is not touched."""
    directory().mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        source, link = REPOSITORY / name, directory() / name
        if not source.exists():
            if name == ".venv":
                raise LabError(f"{source} is missing; start the lab with ./isthmus, which makes it.")
            continue
        if link.is_symlink() and link.readlink() == source:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(source)


def stack_file(stack: str) -> Path:
    """The stack's settings file in the lab's project."""
    return directory() / f"Pulumi.{stack}.yaml"


def server_addresses(stack: str) -> list[str]:
    """Where the servers of an on-premise stack are, by its file; nothing for another stack, or without a file."""
    try:
        config = yaml.safe_load(stack_file(stack).read_text(encoding="utf-8"))["config"]
    except FileNotFoundError:
        return []
    machines = config.get("isthmus:on_premise", {}).get("machines", [])
    return [str(machine["address"]) for machine in machines if machine.get("role") == "server"]


def starter_command(site: Site) -> list[str]:
    """What a person types for a new stack file, in the checkout; the project's folder is added by the caller."""
    if isinstance(site, HetznerSite):
        return ["./isthmus", "new", site.name, "--hetzner"]
    return ["./isthmus", "new", site.name, "--on-premise", "--node-cidr", str(site.ranges.nodes)]


def complete_stack_file(stack: str, settings: Mapping[str, Any]) -> bool:
    """Fills in what `./isthmus new` has left blank and adds what only the lab needs; returns whether the file changed.

    What is there otherwise stays (the ranges, secrets, the salt). A setting of the lab's own that was changed by hand
    stays as well: a person who tries something in the lab is right.
    """
    path = stack_file(stack)
    present = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    completed = {**present, "config": filled(present.get("config") or {}, settings)}
    if completed == present:
        return False
    _write(path, completed)
    return True


def filled(present: Any, wanted: Any) -> Any:
    """``present`` with ``wanted`` in the place of every blank (``<...>``) and of every key that it lacks."""
    if isinstance(present, str) and present.startswith("<") and present.endswith(">"):
        return wanted
    if isinstance(present, Mapping) and isinstance(wanted, Mapping):
        both = {key: filled(value, wanted[key]) if key in wanted else value for key, value in present.items()}
        return {**both, **{key: value for key, value in wanted.items() if key not in present}}
    if isinstance(present, list) and isinstance(wanted, list) and _named(present) and _named(wanted):
        by_name = {entry["name"]: entry for entry in wanted}
        return [filled(entry, by_name.get(entry["name"], entry)) for entry in present]
    if isinstance(present, list) and isinstance(wanted, list) and len(present) == len(wanted):
        return [filled(*pair) for pair in zip(present, wanted, strict=True)]
    return present


def _named(listed: Sequence[Any]) -> bool:
    return bool(listed) and all(isinstance(entry, Mapping) and "name" in entry for entry in listed)


def add_routers(stack: str, settings: Mapping[str, Any]) -> None:
    """Gives the stack the machines, or the counts, of the lab's routers that it lacks; what it has stays."""
    _change(stack, lambda config: with_routers(config, settings))


def with_routers(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stack's config with at least the routers of ``settings``. Pure."""
    if "isthmus:hetzner" in settings:
        own, wanted = config["isthmus:hetzner"], settings["isthmus:hetzner"]
        workers = {**own["workers"], "count": max(own["workers"]["count"], wanted["workers"]["count"])}
        routers = max(own.get("routers", 1), wanted["routers"])
        return {**config, "isthmus:hetzner": {**own, "workers": workers, "routers": routers}}
    return _with_machines(config, settings)


def set_servers(stack: str, settings: Mapping[str, Any]) -> None:
    """Gives the stack as many servers as the lab has, before it is raised: it keeps them."""
    _change(stack, lambda config: with_servers(config, settings))


def with_servers(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stack's config with the servers of ``settings``. Pure."""
    if "isthmus:hetzner" not in settings:
        return _with_machines(config, settings)
    own, count = config["isthmus:hetzner"], settings["isthmus:hetzner"]["control_plane"]["count"]
    return {**config, "isthmus:hetzner": {**own, "control_plane": {**own["control_plane"], "count": count}}}


def _with_machines(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The on-premise stack's config with the machines of ``settings`` that it lacks; what it has stays."""
    own, wanted = config["isthmus:on_premise"], settings["isthmus:on_premise"]
    there = {machine["name"] for machine in own["machines"]}
    missing = [machine for machine in wanted["machines"] if machine["name"] not in there]
    return {**config, "isthmus:on_premise": {**own, "machines": [*own["machines"], *missing]}}


def add_peers(stack: str, peers: Sequence[str]) -> None:
    """Lets the stack list these peers, too; those that it lists stay."""

    def listing(config: Mapping[str, Any]) -> dict[str, Any]:
        listed = config.get("isthmus:peers") or []
        missing = [peer for peer in peers if peer not in listed]
        return {**config, "isthmus:peers": [*listed, *missing]} if missing else dict(config)

    _change(stack, listing)


def renew_settings(stack: str, names: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Overwrites these settings of the stack file: facts of the lab, such as a checksum, that have changed."""
    wanted = {name: settings[name] for name in names if name in settings}
    _change(stack, lambda config: {**config, **wanted})


def _change(stack: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Writes the stack file where ``change`` makes another config of that which is there."""
    path = stack_file(stack)
    present = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = change(present["config"])
    if config != present["config"]:
        _write(path, {**present, "config": config})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=False, width=120)
    # It holds the cluster's secret and the salt of all others: half of it is a cluster that nobody can change any more.
    files.write_whole(path, text)


# --- secrets ---------------------------------------------------------------------------------------------------------


def prepare_passphrase() -> None:
    """Makes the passphrase of the stacks' secrets, once."""
    if not passphrase_file().is_file():
        passphrase_file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_secret(passphrase_file(), secrets.token_urlsafe(32))


def new_cluster_secret() -> str:
    """32 random bytes as the setting `clusterSecret` wants them."""
    return secrets.token_hex(32)


def new_hetzner_token() -> str:
    """A token in the form of Hetzner's."""
    return secrets.token_hex(HETZNER_TOKEN_LENGTH // 2)
