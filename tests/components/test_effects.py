"""A setting without effect is a lie: each one, changed, changes what the whole program registers, in the place and to
the value that it says, for every kind of cluster that accepts it. A kind that has no use for it refuses it.

The table has to name every setting of the models; one that is missing fails the test.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_origin

import pytest
import yaml

from domain.fleet import check_files
from domain.places.hetzner.model import HcloudSettings
from domain.places.registry import StackSettings, sections
from domain.settings.forms import item_model_of, model_of
from domain.settings.section import Section
from tests.components.recording import (
    GIVEN_KUBECONFIG,
    LINKS,
    OFFERS,
    SECRET_VALUES,
    Registration,
    Run,
    engine_config_of,
    run_program,
    write_stack_files,
)
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, changed, said, text

# Two sources that differ, else nobody would see which of them goes where.
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "de": ("de", changed(DE, {"hetzner.ssh_allowed_cidrs": ["192.0.2.0/24"]})),
    "mn": ("mn", MN),
    "given": ("mn", GIVEN),
}

GONE: Final = object()


@dataclass(frozen=True)
class Effect:
    """A change of a stack file (under ``peer`` what the other stack changes with it), the end of the type and the name
    of a resource, and what that has in it afterwards and had not before: an object with at least these parts, a text
    with this in it, a list or a number. Or that it is :data:`GONE`. ``output NAME`` is an output of the program.
    """

    changes: dict[str, Any]
    resource: str
    has: Any


def everywhere(changes: dict[str, Any], resource: str, has: Any) -> dict[str, Effect]:
    """The same for every kind of cluster; in the name of the resource, ``<me>`` is the stack and ``<peer>`` the other
    one.
    """
    names = {"de": ("de", "mn"), "mn": ("mn", "de"), "given": ("mn", "de")}
    return {
        base: Effect(changes, resource.replace("<me>", me).replace("<peer>", peer), has)
        for base, (me, peer) in names.items()
    }


def on_nodes(changes: dict[str, Any], role: str, has: Any) -> dict[str, Effect]:
    """The same on a node of this role, wherever the program makes nodes."""
    number = 1 if role == "server" else 2
    return {
        "de": Effect(changes, f":Server de-{role}-1", has),
        "mn": Effect(changes, f":Command machines-mn-{number}", has),
    }


def at_hetzner(changes: dict[str, Any], resource: str, has: Any) -> dict[str, Effect]:
    """Only there."""
    return {"de": Effect({f"hetzner.{name}": value for name, value in changes.items()}, resource, has)}


POOL = {"server_type": "ccx23", "count": 1}
TWO_GIVEN = [
    {"name": "worker-a", "address": "192.168.7.11", "router": True},
    {"name": "worker-b", "address": "192.168.7.12"},
]
EFFECTS: dict[str, dict[str, Effect]] = {
    "network.pod_cidr": everywhere(
        {"network.pod_cidr": "10.44.0.0/16"}, ":NetbirdNetworkResource isthmus-<me>-pods-resource",
        {"address": "10.44.0.0/16"},
    ),
    "network.service_cidr": everywhere(
        {"network.service_cidr": "10.45.0.0/16"}, ":Service isthmus-dns-relay", {"clusterIP": "10.45.0.53"}
    ),
    "network.node_cidr": {
        "de": Effect({"network.node_cidr": "10.0.2.0/24"}, ":NetworkSubnet isthmus-de", {"ipRange": "10.0.2.0/24"}),
        **dict.fromkeys(
            ("mn", "given"),
            Effect(
                {"network.node_cidr": "192.168.0.0/21"}, ":ConfigMap isthmus-dns-relay",
                {"Corefile": "allow net 10.52.0.0/16 192.168.0.0/21\n"},
            ),
        ),
    },
    "network.dns_zone": everywhere(
        {"network.dns_zone": "other.internal"}, ":ConfigMapPatch dns-zones",
        {"other.internal.server": "kubernetes other.internal in-addr.arpa {"},
    ),
    "network.cluster_dns": {
        "de": Effect({"network.cluster_dns": "10.43.0.11"}, ":Server de-server-1", {"cluster-dns": "10.43.0.11"}),
        "mn": Effect({"network.cluster_dns": "10.53.0.11"}, ":Command machines-mn-1", {"cluster-dns": "10.53.0.11"}),
        "given": Effect(
            {"network.cluster_dns": "10.53.0.11"}, ":ConfigMap isthmus-dns-relay",
            {"Corefile": "forward . 10.53.0.11 {"},
        ),
    },
    "link.cluster_ips": everywhere(
        {"link.cluster_ips": False}, ":CiliumEgressGatewayPolicy isthmus-to-<peer>",
        {"destinationCIDRs": [""]},
    ),
    "peers": everywhere({"peers": [], "peer": {"peers": []}}, ":CiliumEgressGatewayPolicy isthmus-to-<peer>", GONE),
    "hetzner.location": at_hetzner({"location": "nbg1"}, ":Server de-agent-1", {"location": "nbg1"}),
    "hetzner.network_zone": at_hetzner(
        {"network_zone": "eu-new", "location": "new1", "unlisted": ["new1"]}, ":NetworkSubnet isthmus-de",
        {"networkZone": "eu-new"}
    ),
    "hetzner.unlisted": at_hetzner(
        {"location": "new1", "network_zone": "eu-new", "unlisted": ["new1"]}, ":Server de-agent-1",
        {"location": "new1"}
    ),
    "hetzner.network_cidr": at_hetzner(
        {"network_cidr": "10.0.0.0/20"}, ":Network isthmus-de", {"ipRange": "10.0.0.0/20"}
    ),
    "hetzner.image": at_hetzner({"image": 161547269}, ":Server de-agent-1", {"image": "161547269"}),
    "hetzner.control_plane.server_type": at_hetzner(
        {"control_plane.server_type": "cx33"}, ":Server de-server-1", {"serverType": "cx33"}
    ),
    "hetzner.control_plane.count": at_hetzner(
        {"control_plane.count": 3}, ":Server de-server-3", {"ip": "10.0.1.13"}
    ),
    "hetzner.workers.server_type": at_hetzner(
        {"workers.server_type": "cx33"}, ":Server de-agent-1", {"serverType": "cx33"}
    ),
    "hetzner.workers.count": at_hetzner({"workers.count": 2}, ":Server de-agent-2", {"ip": "10.0.1.32"}),
    **{
        f"hetzner.pools.NAME.{name}": at_hetzner(
            {"pools": {pool: {**POOL, "addresses": f"10.0.1.{first}/28", **own}}}, f":Server de-{pool}-{number}", has
        )
        for first, pool, name, own, number, has in (
            (64, "a", "server_type", {"server_type": "ccx33"}, 1, {"serverType": "ccx33"}),
            (80, "b", "addresses", {"addresses": "10.0.1.208/28"}, 1, {"ip": "10.0.1.209"}),
            (96, "c", "count", {"count": 2}, 2, {"ip": "10.0.1.98"}),
            (112, "d", "members", {"count": None, "members": [4]}, 4, {"ip": "10.0.1.116"}),
            (128, "e", "location", {"location": "nbg1"}, 1, {"location": "nbg1"}),
            (144, "f", "image", {"image": "debian-13"}, 1, {"image": "debian-13"}),
            (160, "g", "taints", {"taints": ["a=b:NoSchedule"]}, 1, {"node-taint": ["a=b:NoSchedule"]}),
            (176, "h", "routers", {"routers": 1}, 1, {"node-label": ["isthmus.dev/router=true"]}),
        )
    },
    "hetzner.generations": at_hetzner(
        {"generations": {"de-agent-1": 2}}, ":NodeGeneration machines-de-agent-1-generation", {"generation": 2}
    ),
    "hetzner.api_allowed_cidrs": at_hetzner(
        {"api_allowed_cidrs": ["198.51.100.0/24"]}, ":Firewall isthmus-de",
        {"port": "6443", "sourceIps": ["198.51.100.0/24"]},
    ),
    "hetzner.ssh_allowed_cidrs": at_hetzner(
        {"ssh_allowed_cidrs": ["198.51.100.0/24"]}, ":Firewall isthmus-de",
        {"port": "22", "sourceIps": ["198.51.100.0/24"]},
    ),
    "hetzner.labels": at_hetzner(
        {"labels": {"team": "platform"}}, ":Server de-agent-1", {"labels": {"team": "platform"}}
    ),
    "hetzner.delete_protection": at_hetzner(
        {"delete_protection": True}, ":Server de-agent-1", {"deleteProtection": True, "rebuildProtection": True}
    ),
    "on_premise.machines.N.name": {
        "mn": Effect({"on_premise.machines.0.name": "mn-7"}, ":Command machines-mn-7", {"node-name": "mn-7"}),
        "given": Effect(
            {"on_premise.machines.0.name": "worker-c"}, ":NodePatch node-labels-worker-c", {"name": "worker-c"}
        ),
    },
    "on_premise.machines.N.address": {
        "mn": Effect(
            {"on_premise.machines.0.address": "192.168.7.17"},
            ":Command machines-mn-1", {"host": "192.168.7.17"}
        ),
        "given": Effect(
            {"on_premise.machines.0.address": "192.168.7.17"}, "output node_ips", {"worker-b": "192.168.7.17"}
        ),
    },
    "on_premise.machines.N.role": {
        "mn": Effect(
            {"on_premise.machines.0.role": "agent", "on_premise.machines.1.role": "server"}, ":Command machines-mn-1",
            "ISTHMUS_K3S_ROLE=agent\n",
        ),
    },
    "hetzner.routers": at_hetzner(
        {"routers": 2}, ":NetbirdRouterPeers isthmus-de-peers",
        {
            "hostnames": {
                "de-server-1": "isthmus-de-router-de-server-1", "de-agent-1": "isthmus-de-router-de-agent-1"
            },
        },
    ),
    "on_premise.machines.N.router": {
        "mn": Effect(
            {"on_premise.machines.0.router": True, "on_premise.machines.1.router": False},
            ":NetbirdRouterPeers isthmus-mn-peers", {"hostnames": {"mn-1": "isthmus-mn-router-mn-1"}},
        ),
        "given": Effect(
            {"on_premise.machines": TWO_GIVEN}, ":NodePatch node-labels-worker-a",
            {"labels": {"isthmus.dev/router": "true"}}
        ),
    },
    "on_premise.machines.N.host_key": {
        "mn": Effect(
            {"on_premise.machines.0.host_key": HOST_KEYS[1]}, ":Command machines-mn-1", {"hostKey": HOST_KEYS[1]}
        ),
    },
    "on_premise.machines.N.generation": {
        "mn": Effect(
            {"on_premise.machines.0.generation": 2}, ":NodeGeneration machines-mn-1-generation", {"generation": 2}
        ),
    },
    "on_premise.ssh.user": {
        "mn": Effect({"on_premise.ssh.user": "debian"}, ":Command machines-mn-1", {"connection": {"user": "debian"}}),
    },
    "on_premise.ssh.port": {
        "mn": Effect({"on_premise.ssh.port": 2222}, ":Command machines-mn-1", {"connection": {"port": 2222}}),
    },
    "on_premise.kubeconfig.context": {
        "given": Effect(
            {"on_premise.kubeconfig.context": "default"}, "pulumi:providers:kubernetes mn", {"context": "default"}
        ),
    },
    "k3s.version": on_nodes({"k3s.version": "v1.35.0+k3s1"}, "agent", "ISTHMUS_K3S_VERSION=v1.35.0+k3s1\n"),
    "k3s.sha256": on_nodes(
        {"k3s.sha256": "6a" * 32, "peer": {"k3s.sha256": "6a" * 32}}, "agent", f"ISTHMUS_K3S_SHA256={'6a' * 32}\n"
    ),
    "k3s.sha256_arm64": {
        "de": Effect(
            {"k3s.sha256_arm64": "a6" * 32, "hetzner.workers.server_type": "cax11"}, ":Server de-agent-1",
            f"ISTHMUS_K3S_SHA256={'a6' * 32}\n",
        ),
    },
    "k3s.server_config": on_nodes(
        {"k3s.server_config": {"etcd-expose-metrics": True}}, "server", {"etcd-expose-metrics": True}
    ),
    "k3s.agent_config": on_nodes(
        {"k3s.agent_config": {"kubelet-arg": ["max-pods=200"]}}, "agent", {"kubelet-arg": ["max-pods=200"]}
    ),
    "k3s.drain_seconds": {
        "de": Effect({"k3s.drain_seconds": 900}, ":NodeMember machines-de-agent-1-member", {"drain_seconds": 900}),
        "mn": Effect({"k3s.drain_seconds": 900}, ":NodeMember machines-mn-2-member", {"drain_seconds": 900}),
    },
    "cilium.version": everywhere({"cilium": {"version": "1.19.5"}}, ":Release isthmus-cilium", {"version": "1.19.5"}),
    "cilium.mtu": everywhere(
        {"cilium": {"mtu": 1270}, "peer": {"cilium": {"mtu": 1270}}}, ":Release isthmus-cilium",
        {"values": {"MTU": 1270}},
    ),
    "cilium.tunnel_port": everywhere(
        {"cilium": {"tunnel_port": 8223}}, ":Release isthmus-cilium", {"values": {"tunnelPort": 8223}}
    ),
    "cilium.values": everywhere(
        {"cilium": {"values": {"hubble": {"enabled": True}}}}, ":Release isthmus-cilium",
        {"values": {"hubble": {"enabled": True}}},
    ),
    "netbird.management_url": everywhere(
        {"netbird": {"management_url": "https://nb.example.net"},
         "peer": {"netbird": {"management_url": "https://nb.example.net"}}}, ":Release isthmus-netbird-operator",
        {"managementURL": "https://nb.example.net"},
    ),
    "netbird.operator_version": everywhere(
        {"netbird": {"operator_version": "0.8.1"}}, ":Release isthmus-netbird-operator", {"version": "0.8.1"}
    ),
    "netbird.agent_image": everywhere(
        {"netbird": {"agent_image": "netbirdio/netbird:0.77.2"}}, ":NetworkRouter networkrouter-isthmus-<me>",
        {"image": "netbirdio/netbird:0.77.2"},
    ),
    "netbird.underlay_mtu": everywhere(
        {"netbird": {"underlay_mtu": 1380}, "peer": {"netbird": {"underlay_mtu": 1380}}}, ":Release isthmus-cilium",
        {"values": {"MTU": 1360}},
    ),
    "netbird.wireguard_port": {
        "de": Effect(
            {"netbird": {"wireguard_port": 51821}}, ":Firewall isthmus-de", {"port": "51821", "protocol": "udp"}
        ),
    },
    "keeper.enabled": everywhere({"keeper": {"enabled": False}}, ":DaemonSet isthmus-keeper", GONE),
    "keeper.image": everywhere(
        {"keeper": {"image": "registry.example.net/python:3.12.1"}}, ":DaemonSet isthmus-keeper",
        {"image": "registry.example.net/python:3.12.1"},
    ),
    "keeper.metrics": everywhere(
        {"keeper": {"metrics": True}}, ":ConfigMap isthmus-keeper", '"metrics": true'
    ),
    "keeper.port": everywhere({"keeper": {"port": 51900}}, "output keeper", {"port": 51900}),
    "dns.relay_image": everywhere(
        {"dns": {"relay_image": "coredns/coredns:1.14.8"}}, ":DaemonSet isthmus-dns-relay",
        {"image": "coredns/coredns:1.14.8"},
    ),
    "dns.record_ttl_seconds": everywhere(
        {"dns": {"record_ttl_seconds": 6}}, ":ConfigMapPatch dns-zones", "    ttl 6\n"
    ),
    "dns.cache_seconds": everywhere(
        {"dns": {"cache_seconds": 31}}, ":ConfigMapPatch dns-zones", "    cache 31 {\n"
    ),
    "dns.stale_seconds": everywhere(
        {"dns": {"stale_seconds": 299}}, ":ConfigMapPatch dns-zones", "    serve_stale 299s verify\n"
    ),
    "dns.forward_zones": everywhere(
        {"dns": {"forward_zones": {"corp.example.com": ["192.168.9.53"]}}}, ":ConfigMapPatch dns-zones",
        {"corp.example.com.server": "forward . 192.168.9.53 {"},
    ),
    "dns.fallback.zone": everywhere(
        {"dns": {"fallback": {"zone": "any.internal"}}}, ":ConfigMapPatch dns-zones",
        {"any.internal.server": "any.internal:53 {"},
    ),
    "dns.fallback.peers": {
        base: Effect(
            {"dns": {"fallback": {"zone": "any.internal", "peers": [peer]}}}, ":ConfigMapPatch dns-zones",
            {"any.internal.server": f"rewrite name suffix .any.internal .astring-{peer}.internal answer auto"},
        )
        for base, peer in (("de", "mn"), ("mn", "de"), ("given", "de"))
    },
    "mirrors.k3s": on_nodes(
        {"mirrors": {"k3s": "https://mirror.example.net/k3s"}}, "agent",
        "ISTHMUS_K3S_URL=https://mirror.example.net/k3s/v1.34.9+k3s1/k3s\n",
    ),
    "mirrors.charts": everywhere(
        {"mirrors": {"charts": "https://mirror.example.net/charts"}}, ":Release isthmus-cilium",
        {"chart": "https://mirror.example.net/charts/cilium-1.19.6.tgz"},
    ),
    "mirrors.registries": on_nodes(
        {"mirrors": {"registries": {"docker.io": "https://m.example.net"}}}, "agent",
        {"docker.io": {"endpoint": ["https://m.example.net"]}},
    ),
    "hcloud:endpoint": {
        "de": Effect(
            {"hcloud:endpoint": "https://api.example.net/v1"}, "pulumi:providers:hcloud hcloud",
            {"endpoint": "https://api.example.net/v1"},
        ),
    },
    "hcloud:pollInterval": {
        "de": Effect(
            {"hcloud:pollInterval": "100ms"}, "pulumi:providers:hcloud hcloud", {"pollInterval": "100ms"}
        ),
    },
    "hcloud:pollFunction": {
        "de": Effect(
            {"hcloud:pollFunction": "constant"}, "pulumi:providers:hcloud hcloud", {"pollFunction": "constant"}
        ),
    },
}  # fmt: skip
"""For each setting what a change of it does, by kind of cluster."""

OVERRIDE: Final = "in the pod template override, which a transform adds and mocks can't run (test_netbird.py)"
ELSEWHERE: dict[str, tuple[tuple[str, ...], str]] = {
    "netbird.mtu": (("de", "mn", "given"), OVERRIDE),
    "netbird.agent_env": (("de", "mn", "given"), OVERRIDE),
    "netbird.wireguard_port": (("mn", "given"), OVERRIDE),
    "hetzner.pools.NAME.labels": (("de",), "the Nodes themselves, in tests/components/test_node_watch.py"),
}
"""Settings whose effect is not in what is registered under mocks: for which kinds of clusters, and where it shows."""


def all_settings() -> set[str]:
    """Every setting of the models that is no section by itself."""
    found: set[str] = set()

    def walk(path: str, model: type[Section]) -> None:
        for name, field in model.model_fields.items():
            inner, item = model_of(field.annotation), item_model_of(field.annotation)
            if inner is not None:
                walk(f"{path}{name}.", inner)
            elif item is not None:
                walk(f"{path}{name}.{'NAME' if get_origin(field.annotation) is dict else 'N'}.", item)
            else:
                found.add(f"{path}{name}")

    for section in sections():
        model = model_of(StackSettings.model_fields[section].annotation)
        if model is None:
            found.add(section)
        else:
            walk(f"{section}.", model)
    return found | {f"hcloud:{name}" for name in HcloudSettings.model_fields}


def test_every_setting_is_in_the_table() -> None:
    assert set(EFFECTS) | set(ELSEWHERE) == all_settings()
    for setting, (bases, _) in ELSEWHERE.items():
        assert not set(bases) & set(EFFECTS.get(setting, {}))


def configs(base: str, changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    name, config = BASES[base]
    other, other_config = ("mn", MN) if name == "de" else ("de", DE)
    own = {setting: value for setting, value in changes.items() if setting != "peer"}
    return {name: changed(config, own), other: changed(other_config, changes.get("peer", {}))}


def registered(directory: Path, base: str, changes: dict[str, Any]) -> Run:
    name = BASES[base][0]
    stacks = configs(base, changes)
    assert said(check_files({stack: text(config) for stack, config in stacks.items()})) == []
    write_stack_files(directory, **stacks)
    config = engine_config_of(stacks[name], {**SECRET_VALUES, "isthmus:kubeconfig": GIVEN_KUBECONFIG})
    others = {other: {"link": link, "offers": OFFERS} for other, link in LINKS.items() if other != name}
    return run_program(directory, name, config, preview=True, stacks=others)


def registrations(found: Run) -> dict[str, Any]:
    """Everything by type and name, as a reader would see it: files of nodes are unpacked. And the outputs."""
    seen: dict[str, Any] = {f"{item.type} {item.name}": readable(item) for item in found.registrations}
    seen |= {f"output {name}": output.value for name, output in found.outputs.items() if output.known}
    plain: dict[str, Any] = json.loads(json.dumps(seen, default=lambda _: "unknown"))
    return plain


def readable(item: Registration) -> dict[str, Any]:
    files: dict[str, str] = {}
    if item.type.endswith(":Server"):
        for file in load(item.inputs["userData"])["write_files"]:
            files[file["path"]] = base64.b64decode(file["content"]).decode()
    elif "stdin" in item.inputs and not item.name.endswith("-kubeconfig"):
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(item.inputs["stdin"]))) as archive:
            for name in archive.getnames():
                member = archive.extractfile(name)
                assert member is not None
                files[f"/{name}"] = member.read().decode()
    parsed = {path: load(text) if path.endswith(".yaml") else text for path, text in files.items()}
    return {**item.inputs, "protect": item.protect, "files": parsed}


@functools.cache
def load(text: str) -> Any:
    """YAML as data, not to be changed: most settings leave most files as they are."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def resource_in(seen: Mapping[str, Any], resource: str) -> Any:
    """The resource, None where there is none."""
    found = [value for name, value in seen.items() if name.endswith(resource)]
    assert len(found) <= 1, resource
    return found[0] if found else None


def holds(value: Any, wanted: Any) -> bool:
    """Whether it is in there at any depth."""
    if matches(value, wanted):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(holds(part, wanted) for part in inner)


def matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            name in value and matches(value[name], part) for name, part in wanted.items()
        )
    if isinstance(wanted, str):
        return isinstance(value, str) and wanted in value
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(matches, value, wanted))
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


@functools.cache
def before(base: str) -> dict[str, Any]:
    """What a base registers."""
    with tempfile.TemporaryDirectory() as directory:
        return registrations(registered(Path(directory), base, {}))


@pytest.mark.parametrize("base", BASES)
def test_a_second_run_registers_the_same(base: str, tmp_path: Path) -> None:
    assert registrations(registered(tmp_path, base, {})) == before(base)


def cases() -> Iterator[tuple[str, str, bool]]:
    """Every effect. What a setting does in the same words to the same kind of resource of several kinds of clusters is
    looked at in the first of them, and with ``thorough`` in all: whether it is such another one comes with it.
    """
    for setting, effects in EFFECTS.items():
        seen: list[tuple[Any, ...]] = []
        for base, effect in effects.items():
            kind = (effect.changes, effect.resource.partition(" ")[0], effect.has)
            yield setting, base, kind in seen
            seen.append(kind)


FIRST: Final = [(setting, base) for setting, base, again in cases() if not again]
BY_ITSELF: Final = ("peers", "keeper.enabled")
"""They take away what others show in."""
APART: Final = {
    "network.service_cidr": ("network.cluster_dns",),
    "network.node_cidr": ("hetzner.pools", "hetzner.control_plane.count", "hetzner.workers.count"),
    "cilium.mtu": ("netbird.underlay_mtu",),
    "cilium.version": ("mirrors.charts",),
    "mirrors.k3s": ("k3s.version", "k3s.sha256_arm64"),
    "on_premise.machines.N.name": ("network", "on_premise", "k3s"),
    "on_premise.machines.N.role": ("network", "on_premise", "k3s"),
}
"""Settings, or all of a section, whose changes would be refused together, or of which one shows in what another is."""


def merged(changes: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both changes in one."""
    both = {**changes, **other}
    for name in changes.keys() & other.keys():
        if isinstance(changes[name], dict) and isinstance(other[name], dict):
            both[name] = merged(changes[name], other[name])
    return both


def places(changes: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Where in the stack files it writes."""
    for name, value in changes.items():
        if isinstance(value, dict) and value:
            yield from places(value, f"{above}{name}.")
        else:
            yield f"{above}{name}."


def apart(setting: str, other: str) -> bool:
    return any(other == name or other.startswith(f"{name}.") for name in APART.get(setting, ()))


def together(setting: str, other: str, base: str) -> bool:
    """Whether they can be changed in one run, so that each shows what it does and nothing else does it."""
    if {setting, other} & set(BY_ITSELF) or apart(setting, other) or apart(other, setting):
        return False
    first, second = EFFECTS[setting][base], EFFECTS[other][base]
    if (first.resource, first.has) == (second.resource, second.has):
        return False
    written = [(mine, theirs) for mine in places(first.changes) for theirs in places(second.changes)]
    return not any(mine.startswith(theirs) or theirs.startswith(mine) for mine, theirs in written)


def runs() -> list[tuple[str, list[str]]]:
    """The settings of :data:`FIRST` whose changes make one run, by base."""
    found: list[tuple[str, list[str]]] = []
    for setting, base in FIRST:
        room = next(
            (run for at, run in found if at == base and all(together(setting, other, at) for other in run)), None
        )
        if room is None:
            found.append((base, [setting]))
        else:
            room.append(setting)
    return found


RUNS: Final = runs()


def after_all(base: str, settings: Iterable[str]) -> dict[str, Any]:
    """What is registered with all their changes: a run of the program takes a tenth of a second."""
    changes: dict[str, Any] = functools.reduce(merged, (EFFECTS[setting][base].changes for setting in settings), {})
    with tempfile.TemporaryDirectory() as directory:
        return registrations(registered(Path(directory), base, changes))


@functools.lru_cache(maxsize=1)
def after_run(number: int) -> dict[str, Any]:
    """What one of :data:`RUNS` registers. Its effects are looked at one after the other."""
    return after_all(*RUNS[number])


def assert_shown(effect: Effect, base: str, after: Mapping[str, Any]) -> None:
    found, was = resource_in(after, effect.resource), resource_in(before(base), effect.resource)
    if effect.has is GONE:
        assert was is not None
        assert found is None
        return
    assert holds(found, effect.has), found
    assert not holds(was, effect.has)


def test_every_effect_is_looked_at() -> None:
    looked_at = sorted((setting, base) for base, run in RUNS for setting in run)
    assert looked_at == sorted(FIRST)
    assert {setting for setting, _ in looked_at} == set(EFFECTS)


IN_RUNS: Final = [
    pytest.param(setting, number, id=f"{setting}-{base}") for number, (base, run) in enumerate(RUNS) for setting in run
]


@pytest.mark.parametrize(("setting", "number"), IN_RUNS)
def test_effect(setting: str, number: int) -> None:
    """Beside changes of other settings."""
    base, _ = RUNS[number]
    assert_shown(EFFECTS[setting][base], base, after_run(number))


@pytest.mark.thorough
@pytest.mark.parametrize(("setting", "number"), IN_RUNS)
def test_nothing_else_of_its_run_has_that_effect(setting: str, number: int) -> None:
    """Else that setting might do nothing, and nobody would see it."""
    base, run = RUNS[number]
    effect = EFFECTS[setting][base]
    found = resource_in(after_all(base, [other for other in run if other != setting]), effect.resource)
    assert found is not None if effect.has is GONE else not holds(found, effect.has)


@pytest.mark.thorough
@pytest.mark.parametrize(("setting", "base"), [(setting, base) for setting, base, _ in cases()])
def test_effect_by_itself(setting: str, base: str) -> None:
    """Nothing else has changed."""
    assert_shown(EFFECTS[setting][base], base, after_all(base, [setting]))


@pytest.mark.parametrize(
    ("setting", "base"),
    [
        (setting, base)
        for setting in EFFECTS
        for base in BASES
        if base not in EFFECTS[setting] and base not in ELSEWHERE.get(setting, ((), ""))[0]
    ],
)
def test_without_an_effect_it_is_refused(setting: str, base: str) -> None:
    path, value = next(iter(next(iter(EFFECTS[setting].values())).changes.items()))
    changes = {path: value}
    if setting.startswith("on_premise.") and base == "de":
        changes = {"on_premise": (GIVEN if "kubeconfig" in setting else MN)["isthmus:on_premise"]}
    stacks = configs(base, changes)
    problems = check_files({stack: text(config) for stack, config in stacks.items()})
    section = path.partition(".")[0]
    assert [problem.setting for problem in problems if problem.setting.startswith((section, "on_premise"))]
