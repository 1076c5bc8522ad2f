"""What a running cluster can't follow is refused, with what to do instead; all else may change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from domain.changes import changes_refused, machines_that_leave, raised_with
from domain.places.outputs import RAISED_WITH
from domain.places.registry import StackSettings
from domain.plan import address_plan
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, REMOVE, SECRET, SHA256, changed, settings_of

OLD = ("raised_with", "access and servers")
"""What earlier versions did not note: the whole output ``raised_with``, or these two parts of it."""


def outputs_of(settings: StackSettings, *, old: str = "") -> dict[str, Any]:
    """What the stack's last update left; ``old`` as a version left it that did not note one of :data:`OLD`."""
    plan = address_plan(settings)
    outputs: dict[str, Any] = {
        "link": {"pod_cidr": str(plan.pod_cidr), "service_cidr": str(plan.service_cidr), "cluster": plan.cluster},
        "node_ips": {node.name: str(node.address) for node in plan.nodes},
        "kubeconfig": "[secret]",
    }
    if old != "raised_with":
        noted = raised_with(settings)
        outputs[RAISED_WITH] = {
            name: value for name, value in noted.items() if not old or name not in ("access", "servers")
        }
    return outputs


def with_router(outputs: dict[str, Any], settings: StackSettings, noted: str) -> dict[str, Any]:
    """The outputs of a version that noted its routers in this place alone."""
    outputs = copy.deepcopy(outputs)
    routers = address_plan(settings).routers
    if noted == "router_peers":
        outputs["router_peers"] = {node.name: "100.92.0.8" for node in routers}
    elif noted == "link":
        outputs["link"]["routers"] = [
            {"node": node.name, "node_ip": str(node.address), "peer_ip": "100.92.0.8"} for node in routers
        ]
    return outputs


BASES: dict[str, tuple[str, dict[str, Any]]] = {"de": ("de", DE), "mn": ("mn", MN), "given": ("mn", GIVEN)}


def refused(base: str, changes: dict[str, Any], *, before: dict[str, Any] | None = None, old: str = "") -> list[str]:
    name, config = BASES[base]
    outputs = outputs_of(settings_of(name, changed(config, before or {})), old=old)
    return [str(problem) for problem in changes_refused(outputs, settings_of(name, changed(config, changes)))]


ANEW = {
    name: f"or raise the cluster anew: `pulumi destroy -s {name}`, then `pulumi up -s {name}`." for name in ("de", "mn")
}


@pytest.mark.parametrize("old", ["", *OLD])
def test_pod_and_service_cidr(old: str) -> None:
    changes = {"network.pod_cidr": "10.60.0.0/16", "network.service_cidr": "10.61.0.0/16"}
    assert refused("mn", changes, old=old) == [
        (
            "mn: network.pod_cidr 10.60.0.0/16 is not 10.52.0.0/16, with which the cluster runs; every node holds a "
            f"part of it, and the peers route it; write 10.52.0.0/16 again, {ANEW['mn']}"
        ),
        (
            "mn: network.service_cidr 10.61.0.0/16 is not 10.53.0.0/16, with which the cluster runs; the addresses of "
            f"all services and the API's certificate come from it; write 10.53.0.0/16 again, {ANEW['mn']}"
        ),
    ]


ENCRYPTED = {"k3s.server_config": {"secrets-encryption": True}}


@pytest.mark.parametrize("base", ["de", "mn"])
def test_secrets_are_encrypted_from_the_first_start_or_never(base: str) -> None:
    rule = "with which the cluster runs; k3s takes it at a cluster's first start alone"
    setting = f"{base}: k3s.server_config.secrets-encryption"
    assert refused(base, ENCRYPTED) == [f"{setting} true is not false, {rule}; write false again, {ANEW[base]}"]
    assert refused(base, {}, before=ENCRYPTED) == [
        f"{setting} false is not true, {rule}; write true again, {ANEW[base]}"
    ]


@pytest.mark.parametrize("value", [False, "false", "f", 0])
def test_a_no_to_encryption_is_the_same_as_nothing(value: object) -> None:
    said = {"k3s.server_config": {"secrets-encryption": value, "kube-apiserver-arg": ["v=2"]}}
    assert refused("mn", said) == []
    assert refused("mn", {}, before=said) == []


def test_encryption_that_was_not_noted_is_not_compared() -> None:
    assert refused("mn", ENCRYPTED, old="raised_with") == []


NEW1 = {"hetzner.unlisted": ["new1"]}
"""A location that no list has."""


@pytest.mark.parametrize(
    ("base", "changes", "setting"),
    [
        ("de", {"network.node_cidr": "10.0.2.0/24"}, "network.node_cidr"),
        ("de", {"hetzner.network_cidr": "10.0.0.0/20"}, "hetzner.network_cidr"),
        ("de", {"network.cluster_dns": "10.43.0.11"}, "network.cluster_dns"),
        ("de", {"hetzner.location": "nbg1"}, "hetzner.location"),
        (
            "de",
            {"hetzner.location": "new1", "hetzner.network_zone": "eu-new", **NEW1},
            "hetzner.location",
        ),
        ("mn", {"on_premise.machines.1.address": "192.168.7.13"}, "on_premise.machines.1.address"),
        ("given", {"on_premise.machines.0.address": "192.168.7.13"}, "on_premise.machines.0.address"),
    ],
)
def test_addresses(base: str, changes: dict[str, Any], setting: str) -> None:
    said = refused(base, changes)
    assert said[0].split()[1] == setting
    assert len(said) == len(changes.keys() - NEW1.keys())
    assert all("again" in line for line in said)


def test_a_cluster_does_not_move() -> None:
    on_premise, hetzner = changed(MN, {"peers": ["us"]}), changed(DE, {"peers": ["us"]})
    found = changes_refused(outputs_of(settings_of("de", hetzner)), settings_of("de", on_premise))
    assert [str(problem) for problem in found] == [
        (
            "de: on_premise stands in the place of hetzner, where the cluster runs; a cluster does not move; write "
            f"hetzner again, {ANEW['de']}"
        )
    ]
    back = changes_refused(outputs_of(settings_of("mn", on_premise)), settings_of("mn", hetzner))
    assert [problem.setting for problem in back] == ["hetzner"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1, 3, "is more than the 1 with which the cluster was raised"),
        (3, 1, "leaves no majority of the 3 servers that run"),
        (5, 1, "leaves no majority of the 5 servers that run"),
        (3, 5, None),
        (5, 3, None),
        (3, 3, None),
    ],
)
def test_hetzner_servers(before: int, after: int, said: str | None) -> None:
    count = "hetzner.control_plane.count"
    found = refused("de", {count: after}, before={count: before})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


OVER_SSH = {
    "on_premise.ssh": {},
    "on_premise.kubeconfig": REMOVE,
    "on_premise.machines": MN["isthmus:on_premise"]["machines"],
    "k3s": MN["isthmus:k3s"],
    "clusterSecret": SECRET,
    "sshPrivateKey": SECRET,
    "kubeconfig": REMOVE,
}
BY_KUBECONFIG = {
    "on_premise": GIVEN["isthmus:on_premise"],
    "k3s": REMOVE,
    "clusterSecret": REMOVE,
    "sshPrivateKey": REMOVE,
    "kubeconfig": SECRET,
}


@pytest.mark.parametrize("old", ["", *OLD])
def test_machines_stay_with_ssh_and_a_given_cluster_stays_its_owners(old: str) -> None:
    said = [refused("mn", BY_KUBECONFIG, old=old), refused("given", OVER_SSH, old=old)]
    if old:
        assert said[0] == []
        return
    assert said == [
        [
            (
                "mn: on_premise.kubeconfig stands in the place of ssh, by which k3s was put on the machines; it would "
                "be taken off all of them; write ssh again; what runs there ends with `pulumi destroy -s mn` only."
            )
        ],
        [
            (
                "mn: on_premise.ssh stands in the place of kubeconfig, which leads to a cluster that runs; k3s would "
                "be installed over it; write kubeconfig again, or let go of the cluster with `pulumi destroy -s mn` "
                "and take it off the machines first."
            )
        ],
    ]


def machines(servers: list[int], agents: list[int] | None = None) -> dict[str, Any]:
    """Machines by their last number; the last of all is the router."""
    roles = [(number, "server") for number in servers] + [(number, "agent") for number in agents or ()]
    return {
        "on_premise.machines": [
            {"name": f"m-{number}", "address": f"192.168.7.{number}", "role": role, "host_key": HOST_KEYS[0]}
            | ({"router": True} if number == roles[-1][0] else {})
            for number, role in roles
        ]
    }


MORE = machines([1], [2, 3])
"""With one more, which is the router."""
ADDED = copy.deepcopy(MORE)
"""With one more, which is not."""
ADDED["on_premise.machines"][1]["router"] = True
del ADDED["on_premise.machines"][2]["router"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            machines([1], [2]),
            machines([3], [2]),
            [
                (
                    "mn: on_premise.machines lacks m-1, the only server that runs; the cluster's data is on it; add "
                    f"m-1 again, {ANEW['mn']}"
                )
            ],
        ),
        (
            machines([1], [2]),
            machines([2], [1]),
            [
                (
                    "mn: on_premise.machines.1.role agent is not server, as which m-1 runs; etcd has its data there "
                    f"and would go on counting on it; write server again, {ANEW['mn']}"
                ),
            ],
        ),
        (
            machines([1, 2, 3]),
            machines([1]),
            [
                (
                    "mn: on_premise.machines keeps 1 of the 3 servers that run; etcd would lose its majority, and the "
                    "API would stop; keep 2 of m-1, m-2, m-3, and replace the others in later runs of `pulumi up -s "
                    "mn`."
                )
            ],
        ),
        (
            machines([1, 2, 3]),
            machines([1, 2, 5], [3]),
            [
                (
                    "mn: on_premise.machines.3.role agent is not server, as which m-3 runs; etcd has its data there "
                    "and would go on counting on it; write server again, or take the machine out, `pulumi up -s mn`, "
                    "and add it anew."
                )
            ],
        ),
        (machines([1, 2, 3]), machines([4, 2, 3]), []),
        (machines([1, 2, 3]), machines([4, 5, 3]), ["mn: on_premise.machines keeps 1 of the 3 servers that run; "]),
        (machines([1, 2, 3, 4, 5]), machines([1, 2, 6]), ["mn: on_premise.machines keeps 2 of the 5 servers "]),
        (machines([1, 2, 3]), machines([2, 3, 4]), []),
        (machines([1, 2, 3]), machines([3, 2, 1]), []),
        (machines([1, 2, 3, 4, 5]), machines([3, 4, 5]), []),
        (machines([1], [2]), machines([1, 3, 4], [2]), []),
        (machines([1], [2, 3, 4]), machines([1, 3, 4], [2]), []),
        (machines([1], [2]), machines([1], [3]), []),
    ],
)
def test_servers_over_ssh(before: dict[str, Any], after: dict[str, Any], said: list[str]) -> None:
    found = refused("mn", after, before=before)
    assert len(found) == len(said)
    for refusal, expected in zip(found, said, strict=True):
        assert refusal.startswith(expected)
    for old in OLD:
        assert refused("mn", after, before=before, old=old) == []


def test_nodes_of_a_given_cluster_are_its_owners() -> None:
    other = {"on_premise.machines.0.name": "worker-c", "on_premise.machines.0.address": "192.168.7.12"}
    assert refused("given", other) == []


def test_the_address_of_the_only_server() -> None:
    """It can't leave and join anew."""
    (said,) = refused("mn", {"on_premise.machines.0.address": "192.168.7.21"})
    assert said.endswith(f"write 192.168.7.11 again, {ANEW['mn']}")


@pytest.mark.parametrize("old", ["", *OLD])
def test_a_machine_keeps_its_name(old: str) -> None:
    assert refused("mn", {"on_premise.machines.1.name": "mn-3"}, old=old) == [
        (
            "mn: on_premise.machines.1.name mn-3 is another name for mn-2 at 192.168.7.12; with mn-2, k3s would be "
            "taken off that machine; write mn-2 again, or take the machine out, `pulumi up -s mn`, and add it anew."
        )
    ]


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("de", {}),
        ("mn", {}),
        ("given", {}),
        ("de", {"hetzner.labels": {"team": "platform"}, "hetzner.workers.count": 3}),
        ("de", {"hetzner.api_allowed_cidrs": ["198.51.100.0/24"], "dns": {"record_ttl_seconds": 10}}),
        ("de", {"cilium": {"values": {"hubble": {"enabled": True}}}, "k3s.version": "v1.35.0+k3s1"}),
        ("de", {"network.dns_zone": "other.internal", "peers": []}),
        ("mn", {"network.node_cidr": "192.168.0.0/21"}),
        ("mn", {"on_premise.machines.1.host_key": HOST_KEYS[0], "k3s.sha256": SHA256}),
        ("mn", {"on_premise.machines.1.name": "mn-3", "on_premise.machines.1.address": "192.168.7.13"}),
    ],
)
def test_all_else_may_change(base: str, changes: dict[str, Any]) -> None:
    assert refused(base, changes) == []


@pytest.mark.parametrize(
    ("base", "before", "after", "leave"),
    [
        ("mn", machines([1], [2, 3]), machines([1], [3]), {"m-2": "192.168.7.2"}),
        ("de", {"hetzner.workers.count": 2}, {"hetzner.workers.count": 1}, {"de-agent-2": "10.0.1.32"}),
        ("mn", {}, {}, {}),
        ("mn", machines([1], [2]), machines([1], [2, 3]), {}),
        ("given", {}, {"on_premise.machines.0.name": "worker-c"}, {}),
    ],
)  # fmt: skip
def test_machines_that_leave(base: str, before: dict[str, Any], after: dict[str, Any], leave: dict[str, str]) -> None:
    name, config = BASES[base]
    outputs = outputs_of(settings_of(name, changed(config, before)))
    assert machines_that_leave(outputs, settings_of(name, changed(config, after))) == leave


WORKERS = "hetzner.workers.count"
NOTED = ("router_peers", "link")


def moved(base: str, changes: dict[str, Any], before: dict[str, Any], noted: str) -> list[str]:
    """What is said of these changes, where the last update noted its routers in this place alone."""
    name, config = BASES[base]
    raised = settings_of(name, changed(config, before))
    outputs = with_router(outputs_of(raised), raised, noted)
    return [str(problem) for problem in changes_refused(outputs, settings_of(name, changed(config, changes)))]


@pytest.mark.parametrize("noted", NOTED)
@pytest.mark.parametrize(
    ("base", "before", "after"),
    [
        ("de", {WORKERS: 0}, {WORKERS: 1}),
        ("de", {WORKERS: 2}, {WORKERS: 0}),
        ("de", {WORKERS: 2}, {WORKERS: 2, "hetzner.routers": 2}),
        ("de", {WORKERS: 2, "hetzner.routers": 2}, {WORKERS: 1}),
        ("mn", {}, {"on_premise.machines.0.router": True}),
        ("mn", {}, {"on_premise.machines.0.router": True, "on_premise.machines.1.router": False}),
        ("given", {}, {"on_premise.machines.0.name": "worker-c", "on_premise.machines.0.address": "192.168.7.12"}),
        ("mn", machines([1], [2]), MORE),
        ("mn", machines([1], [2, 3]), machines([1], [2])),
        ("mn", machines([1], [2]), machines([1], [3])),
        ("mn", machines([1], [2]), ADDED),
    ],
)
def test_routers_come_go_and_move(base: str, before: dict[str, Any], after: dict[str, Any], noted: str) -> None:
    assert moved(base, after, before, noted) == []


NOTHING: list[Any] = [
    {"router_peers": {"mn-1\n": "100.92.0.8"}, "link": {"routers": [{"node": 3}, "x"]}},
    {"router_peers": [], "link": {"routers": {"node": "mn-1"}}},
    {},
    {"link": None},
    {"raised_with": {"pod_cidr": "10.1.0.0/16\nx"}},
    {"link": "[secret]", "raised_with": [], "node_ips": 3},
    {
        "link": {"pod_cidr": 10, "service_cidr": "<x>"},
        "raised_with": {"pod_cidr": None},
        "node_ips": {1: 2, "mn-1": None},
    },
    {"raised_with": {"access": 3, "servers": "m-9"}, "node_ips": {"m-9\n": "192.168.7.11"}},
    {"raised_with": {"access": "by hand", "servers": ["m-9", 1]}},
    {"raised_with": {"servers": [""]}},
]


@pytest.mark.parametrize("outputs", NOTHING)
def test_outputs_of_another_form_refuse_nothing(outputs: Any) -> None:
    assert changes_refused(copy.deepcopy(outputs), settings_of("mn", MN)) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hetzner.workers.count": 2}, "de-agent-2"),
        (
            {"hetzner.pools": {"db": {"server_type": "ccx23", "addresses": "10.0.1.64/28", "count": 1}}},
            "de-db-1",
        ),
    ],
)
def test_a_new_node_at_hetzner_is_not_newer_than_the_servers(changes: dict[str, Any], name: str) -> None:
    """Its first boot has the k3s of the settings, and the servers go on to it later in the same update."""
    minor = {"k3s.version": "v1.35.0+k3s1", "k3s.sha256": SHA256}
    (said,) = refused("de", {**changes, **minor})
    assert said == (
        "de: k3s.version v1.35.0+k3s1 is of a newer minor release than v1.34.9+k3s1, which the servers run, and "
        f"{name} would have it before them; write v1.34.9+k3s1 again until {name} is there, or add {name} after a "
        "`pulumi up -s de`."
    )
    assert refused("de", {**changes, "k3s.version": "v1.34.10+k3s1"}) == []
    assert refused("de", minor) == []
    assert refused("de", changes) == []
