"""Stack files that pass every check, as data to be changed by tests, and what is made from them."""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from domain import fleet
from domain.consistency import stack_problems
from domain.fleet import check_files
from domain.names import PROJECT
from domain.places.registry import StackSettings
from domain.plan import AddressPlan, address_plan
from domain.problems import Problem
from domain.reading import read_stack
from domain.settings.draft import StackDraft
from domain.stack_file import StackFile, parse_stack_file
from tests.domain.one_stack import parse_stack

HOST_KEYS: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd2gTWYGdEwEzvYjHAyO3XX9Cj4Z3wbqGPcBJ1HMGx7",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPkQ3ChYVLm8IOuUJ9IDc+3Q4hTGg3yMGb1qOJ2V0h1c",
)
SHA256: Final = "5f" * 32
SECRET: Final = {"secure": "v1:bm9uY2U=:Y2lwaGVy"}
CLUSTER_SECRET: Final = "00112233445566778899aabbccddeeff" * 2

SSH_PRIVATE_KEY: Final = (
    Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
)
"""A real one, another in each run; nothing lets it in."""

REMOVE: Final = object()
"""As the new value of a setting: take it out."""

_COMMON: Final[dict[str, Any]] = {
    "isthmus:k3s": {"version": "v1.34.9+k3s1", "sha256": SHA256},
    "isthmus:clusterSecret": SECRET,
    "isthmus:netbirdApiToken": SECRET,
}

DE: Final[dict[str, Any]] = {
    "isthmus:network": {
        "pod_cidr": "10.42.0.0/16",
        "service_cidr": "10.43.0.0/16",
        "node_cidr": "10.0.1.0/24",
        "dns_zone": "astring-de.internal",
    },
    "isthmus:peers": ["mn"],
    "isthmus:hetzner": {
        "location": "fsn1",
        "network_zone": "eu-central",
        "network_cidr": "10.0.0.0/16",
        "image": "debian-12",
        "control_plane": {"server_type": "cx23", "count": 1},
        "workers": {"server_type": "cx23", "count": 1},
        "routers": 1,
        "api_allowed_cidrs": ["203.0.113.0/24"],
        "ssh_allowed_cidrs": ["203.0.113.0/24"],
    },
    **_COMMON,
    "hcloud:token": SECRET,
}

MN: Final[dict[str, Any]] = {
    "isthmus:network": {
        "pod_cidr": "10.52.0.0/16",
        "service_cidr": "10.53.0.0/16",
        "node_cidr": "192.168.7.0/24",
        "dns_zone": "astring-mn.internal",
    },
    "isthmus:peers": ["de"],
    "isthmus:on_premise": {
        "machines": [
            {"name": "mn-1", "address": "192.168.7.11", "role": "server", "host_key": HOST_KEYS[0]},
            {"name": "mn-2", "address": "192.168.7.12", "role": "agent", "router": True, "host_key": HOST_KEYS[1]},
        ],
        "ssh": {"user": "root", "port": 22},
    },
    **_COMMON,
    "isthmus:sshPrivateKey": SECRET,
}


def link_of_mn(peer_ip: str) -> dict[str, Any]:
    """The output ``link`` of mn, whose router has that NetBird address."""
    return {
        "schema_version": 1,
        "cluster": "mn",
        "pod_cidr": "10.52.0.0/16",
        "service_cidr": "10.53.0.0/16",
        "dns_zone": "astring-mn.internal",
        "node_ips": ["192.168.7.11", "192.168.7.12"],
        "routers": [{"node": "mn-2", "node_ip": "192.168.7.12", "peer_ip": peer_ip}],
    }


GIVEN: Final[dict[str, Any]] = {
    **{key: value for key, value in MN.items() if key not in ("isthmus:k3s", "isthmus:clusterSecret")},
    "isthmus:on_premise": {
        "machines": [{"name": "worker-b", "address": "192.168.7.12", "router": True}],
        "kubeconfig": {"context": "mn"},
    },
    "isthmus:kubeconfig": SECRET,
}
"""mn as an existing cluster."""
del GIVEN["isthmus:sshPrivateKey"]


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with settings put to other values; a path is ``network.pod_cidr``, ``peers.0`` or ``hcloud:endpoint``."""
    result = copy.deepcopy(dict(config))
    for path, value in changes.items():
        parts: list[Any] = [int(part) if part.isdigit() else part for part in path.split(".")]
        if ":" not in str(parts[0]):
            parts[0] = f"isthmus:{parts[0]}"
        place: Any = result
        for part in parts[:-1]:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        if value is REMOVE:
            del place[parts[-1]]
        else:
            place[parts[-1]] = copy.deepcopy(value)
    return result


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The fast one: thousands of stack files are written in a run of the tests."""
Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""As fast."""


def text(config: Mapping[str, Any]) -> str:
    """The stack file that holds the config."""
    return _text(json.dumps({"config": config}))


@functools.lru_cache(maxsize=64)
def _text(without_shared_parts: str) -> str:
    """As JSON, since YAML makes aliases of shared parts. Of two stacks mostly one is as it was before."""
    written: str = yaml.dump(json.loads(without_shared_parts), Dumper=_Dumper, sort_keys=False)
    return written


def data_of(written: str) -> Any:
    """What a YAML text holds."""
    return yaml.load(written, Loader)


def problems_of(**stacks: Mapping[str, Any]) -> list[Problem]:
    """What the fleet check says of these stacks; de and mn stand in where they are not given."""
    with (
        mock.patch.object(fleet, "parse_stack_file", _parse_stack_file),
        mock.patch.object(fleet, "read_stack", _read_stack),
        mock.patch.object(fleet, "stack_problems", _stack_problems),
    ):
        return check_files({name: text(config) for name, config in {"de": DE, "mn": MN, **stacks}.items()})


# Of two stacks mostly one is as it is here, and to read it alone is a third of a check. What the fleet makes of both is
# made each time.


@functools.cache
def _as_here() -> dict[str, tuple[str, StackFile, StackDraft, list[Problem]]]:
    """Text, file, draft and problems of de and mn, as the domain has them."""
    found = {}
    for name, config in {"de": DE, "mn": MN}.items():
        file = parse_stack_file(name, text(config))
        draft = read_stack(name, file.config)
        found[name] = (text(config), file, draft, stack_problems(draft))
    return found


def _parse_stack_file(stack: str, written: str, namespace: str) -> StackFile:
    if stack in _as_here() and namespace == PROJECT:
        here, file, _, _ = _as_here()[stack]
        if written == here:
            return file
    return parse_stack_file(stack, written, namespace)


def _read_stack(stack: str, config: Mapping[str, Any]) -> StackDraft:
    if stack in _as_here():
        _, file, draft, _ = _as_here()[stack]
        # The very same values: True is equal to 1.
        if config.keys() == file.config.keys() and all(config[key] is value for key, value in file.config.items()):
            return draft
    return read_stack(stack, config)


def _stack_problems(draft: StackDraft) -> list[Problem]:
    if draft.stack in _as_here():
        _, _, here, problems = _as_here()[draft.stack]
        if draft is here:
            return problems
    return stack_problems(draft)


def said(problems: list[Problem]) -> list[str]:
    """The messages without the line numbers, which only some tests are about."""
    return [str(problem).partition(" [Pulumi.")[0] for problem in problems]


def settings_of(stack: str, config: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> StackSettings:
    """The settings of a config that must be right."""
    parsed = parse_stack(stack, changed(config, changes or {}))
    assert isinstance(parsed, StackSettings), [str(problem) for problem in parsed]
    return parsed


def plan_of(stack: str, config: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> AddressPlan:
    """The plan of a config that must be right."""
    return address_plan(settings_of(stack, config, changes))


def golden(name: str, found: str) -> None:
    """Compares with the text kept beside the tests; ISTHMUS_UPDATE_GOLDEN=1 writes it anew, for git to show."""
    path = Path(__file__).parent / "golden" / name
    if os.environ.get("ISTHMUS_UPDATE_GOLDEN") == "1":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
