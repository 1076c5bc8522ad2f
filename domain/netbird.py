"""NetBird's objects of a cluster: their names, the operator's custom resources, and what is made through the REST
API.

It owns names and shapes (operator 0.8.0). Names carry the cluster's, because all clusters share one NetBird account.
The operator makes the Deployment of the router by itself, from a NetworkRouter; what that leaves open (hostNetwork,
identity that lasts) goes in through the pod template override.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.names import KEEPER_STATUS_PORT, ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.overlay import WIREGUARD_SOCKETS, router_group, router_hostname, router_hostnames, router_name

NAMESPACE: Final = "netbird"
API_VERSION: Final = "netbird.io/v1alpha1"
STATE_DIRECTORY: Final = "/var/lib/netbird-router"
"""On the router node: the agent's private key, thus its identity and its address."""
SETUP_KEY_ENTRY: Final = "setup-key"
"""Key in the Secret that the operator writes for a SetupKey."""
API_KEY_SECRET: Final = "netbird-mgmt-api-key"
API_KEY_ENTRY: Final = "NB_API_KEY"
"""Secret that the operator's chart expects by default."""

OPERATOR_ENVIRONMENT: Final = (
    "NB_SETUP_KEY",
    "NB_MANAGEMENT_URL",
    "NB_LOG_LEVEL",
    "NB_LOG_FILE",
    "NB_DISABLE_PROFILES",
    "NB_DISABLE_UPDATE_SETTINGS",
    "NB_DAEMON_ADDR",
    "NB_ENTRYPOINT_SERVICE_TIMEOUT",
)
"""What operator 0.8.0 sets on the container ``netbird``, in its order. The override has to repeat every entry: the
operator merges it into a filled object, and without the names fields of one entry end up in another."""
OPERATOR_VOLUMES: Final = ("netbird-run", "netbird-lib", "ssh-etc", "resolv-conf")
"""Volumes of operator 0.8.0's pod, in its order, repeated for the same reason."""
OPERATOR_MOUNTS: Final = {
    "/var/run/netbird": "netbird-run",
    "/var/lib/netbird": "netbird-lib",
    "/etc/ssh": "ssh-etc",
    "/etc/resolv.conf": "resolv-conf",
    "/etc/resolv.conf.original.netbird": "resolv-conf",
}
"""Where operator 0.8.0 mounts them, in its order, likewise. It reads the override as a PodTemplateSpec
(api/v1alpha1/networkrouter_types.go), whose mounts have a volume's name always: one that is left out is empty, and the
API server refuses the router's Deployment.
"""
AGENT_STATE: Final = "/var/lib/netbird"
"""The one of these that is ours."""
DRAIN_WAIT_SECONDS: Final = 60
"""As long as the keeper lets a new interface wait for Cilium."""
GRACE_SECONDS: Final = 90
"""Of the agent's pod, from the word to end until it is killed: the wait, and NetBird's own farewell."""
DRAIN_SECONDS: Final = 3
"""From the keeper's word that another router takes over to the end of the agent: an egress policy is followed within
100 ms, what waits for an answer has it by then."""


def router_deployment(cluster: str) -> str:
    """The Deployment that the operator makes."""
    return f"networkrouter-{router_name(cluster)}"


def operator_group(cluster: str) -> str:
    """The Group resource that the operator makes for the routers. The NetBird group behind it has ids in its name."""
    return f"networkrouter-{router_name(cluster)}"


def setup_key_name(cluster: str) -> str:
    """Our own setup key, whose peers are not deleted when they are off line."""
    return f"isthmus-{cluster}-router"


def setup_key_secret(cluster: str) -> str:
    """The Secret in which the operator leaves that key."""
    return f"setup-key-{setup_key_name(cluster)}"


def dns_zone(cluster: str) -> str:
    """The custom zone that a NetworkRouter requires; nothing is looked up in it."""
    return f"{cluster}.routers.isthmus.internal"


# --- custom resources ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agent:
    """What differs between the agents of clusters: WireGuard's UDP port and the MTU of its interface, as texts, and
    further ``environment``. They may be known later.
    """

    wireguard_port: object
    mtu: object
    environment: Mapping[str, object]


def network_router(cluster: str, image: object, routers: int) -> dict[str, Any]:
    """The NetworkRouter, with an agent for each of so many nodes, without the override, which :func:`with_override`
    adds. The agent's image may be known later.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "NetworkRouter",
        "metadata": {"name": router_name(cluster), "namespace": NAMESPACE},
        "spec": {
            "dnsZoneRef": {"name": dns_zone(cluster)},
            "image": image,
            "workloadOverride": {"replicas": routers},
        },
    }


def with_override(spec: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """The router's spec with the pod template override in it; the given spec stays as it is."""
    return {**spec, "workloadOverride": {**spec.get("workloadOverride", {}), "podTemplate": override}}


def owned_environment(cluster: str, agent: Agent, nodes: Sequence[str]) -> dict[str, object]:
    """The agent's environment that this program sets, besides the operator's and :data:`NODE_VARIABLE`. ``nodes`` are
    those with a router.
    """
    plain = router_hostname(cluster)
    named = plain not in router_hostnames(cluster, nodes).values()
    return {
        "NB_HOSTNAME": router_hostname(cluster, f"$({NODE_VARIABLE})") if named else plain,
        "NB_EXTRA_IFACE_BLACKLIST": "cilium_,lxc",  # else ICE picks cilium_host: a tunnel in the tunnel (netbird#7353)
        "NB_LAZY_CONN": "off",  # else the link sleeps after 15 minutes and loses the first packets
        "NB_DISABLE_DNS": "true",  # else the agent writes into the resolver's settings of the node
        "NB_WIREGUARD_PORT": agent.wireguard_port,
        "NB_MTU": agent.mtu,
        # Else an agent that has run before connects by itself, with the settings that its state holds, and the `up`
        # of its entrypoint only says "Already connected": a changed MTU or port would never reach it.
        "NB_DISABLE_AUTO_CONNECT": "true",
    }


NODE_VARIABLE: Final = "ISTHMUS_NODE"
"""The name of the agent's node. Kubernetes puts it into the values of later entries (``$(NAME)``), so it comes first of
ours; server-side apply keeps the order in which a list is applied."""

FORBIDDEN_ENVIRONMENT: Final = {
    **dict.fromkeys(OPERATOR_ENVIRONMENT, "the operator sets it"),
    "NB_HOSTNAME": "the router is found by it",
    NODE_VARIABLE: "the program sets it",
    "NB_EXTRA_IFACE_BLACKLIST": "without Cilium's interfaces in it the tunnel goes into itself",
    "NB_LAZY_CONN": "the link must not sleep",
    "NB_DISABLE_DNS": "the agent must leave the node's resolver alone",
    "NB_WIREGUARD_PORT": "it is netbird.wireguard_port",
    "NB_MTU": "it is netbird.mtu",
    "NB_DISABLE_AUTO_CONNECT": "without it changed settings would not reach an agent that has run before",
    "NB_SETUP_KEY_FILE": "the program makes the setup key",
    "NB_STATE_DIR": "the router's identity lies on the node",
    "NB_INTERFACE_NAME": "Cilium and the relay know the interface as wt0",
    "NB_DISABLE_CLIENT_ROUTES": "without routes nothing reaches the peer",
    "NB_DISABLE_SERVER_ROUTES": "without routes nothing reaches the pods",
    "NB_DISABLE_FIREWALL": "it switches the masquerade off, without which replies are lost",
    "NB_BLOCK_INBOUND": "nothing of the peer would come in",
    "NB_BLOCK_LAN_ACCESS": "nothing of the peer would come in",
    "NB_USE_NETSTACK_MODE": "there would be no wt0",
    "NB_PRESHARED_KEY": "it would lie in plain text in the stack file",
}
"""Names that ``netbird.agent_env`` must not hold, with the reason."""


def drain_script() -> str:
    """What the agent's container runs before it ends: it asks the keeper to let another router take over, and gives
    that the time if one does. While another one is there that is not ready yet (503) it asks again: a rollout calls an
    agent ready, and ends the next one, before the first has its tunnels and Cilium has seen its interface.

    It never fails: without a keeper, or without another router, there is nothing to wait for. The image has bash, whose
    own TCP it uses: the entrypoint of NetBird's image is written in it, while curl and wget are in some images alone.
    """
    ask = "POST /drain HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    return (
        f"for _ in {{1..{DRAIN_WAIT_SECONDS}}}; do "
        f"exec 3<>/dev/tcp/127.0.0.1/{KEEPER_STATUS_PORT} || exit 0; "
        f"printf '{ask}' >&3; "
        "status=; read -r -t 2 _ status _ <&3; exec 3>&-; "
        f'case "$status" in 200) sleep {DRAIN_SECONDS}; exit 0;; 503) sleep 1;; *) exit 0;; esac; done'
    )


def pod_template_override(cluster: str, agent: Agent, nodes: Sequence[str]) -> dict[str, Any]:
    """``workloadOverride.podTemplate``: the node's network, on the router nodes (``nodes``), with an identity that
    lasts: that of the node, whose directory holds it. It is the same for one router and for several, so that one that
    comes or goes lets no other start anew.
    """
    entries: list[dict[str, Any]] = [{"name": name} for name in OPERATOR_ENVIRONMENT]
    environment = {entry["name"]: entry for entry in entries}
    environment["NB_SETUP_KEY"]["valueFrom"] = {
        "secretKeyRef": {"name": setup_key_secret(cluster), "key": SETUP_KEY_ENTRY}
    }
    # The operator says true, and with that agents from 0.77 on refuse `netbird up`: the router would never log in.
    environment["NB_DISABLE_UPDATE_SETTINGS"]["value"] = "false"
    ours = owned_environment(cluster, agent, nodes) | dict(sorted(agent.environment.items()))
    entries.append({"name": NODE_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    entries += [{"name": name, "value": value} for name, value in ours.items()]
    return {
        "spec": {
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "hostNetwork": True,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "nodeSelector": {ROUTER_LABEL: ROUTER_LABEL_VALUE},
            "volumes": [
                *({"name": name} for name in OPERATOR_VOLUMES),
                {"name": "state", "hostPath": {"path": STATE_DIRECTORY, "type": "DirectoryOrCreate"}},
                # Where the keeper finds the socket of an agent that has WireGuard in itself. Without the mount there is
                # none: the root file system is read-only.
                {"name": "wireguard", "hostPath": {"path": WIREGUARD_SOCKETS, "type": "DirectoryOrCreate"}},
            ],
            "containers": [
                {
                    "name": "netbird",
                    "env": entries,
                    "volumeMounts": [
                        *(
                            {"name": "state" if path == AGENT_STATE else volume, "mountPath": path}
                            for path, volume in OPERATOR_MOUNTS.items()
                        ),
                        {"name": "wireguard", "mountPath": WIREGUARD_SOCKETS},
                    ],
                    "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", drain_script()]}}},
                    # The operator's probes give the command 1 s, which a busy node exceeds.
                    "startupProbe": {"timeoutSeconds": 10, "failureThreshold": 30},
                    "readinessProbe": {"timeoutSeconds": 10},
                    # Fails for an agent that needs to log in, not for one whose uplink is away: a router that was
                    # deleted in NetBird enrols again (netbirdio/kubernetes-operator#390).
                    "livenessProbe": {
                        "exec": {"command": ["netbird", "status", "--check", "ready"]},
                        "initialDelaySeconds": 180,
                        "periodSeconds": 30,
                        "timeoutSeconds": 10,
                        "failureThreshold": 6,
                    },
                }
            ],
        }
    }


def setup_key(cluster: str) -> dict[str, Any]:
    """A SetupKey whose peers stay: the operator's own is ephemeral, and its peers are deleted after 10 minutes off
    line.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "SetupKey",
        "metadata": {"name": setup_key_name(cluster), "namespace": NAMESPACE},
        "spec": {
            "name": setup_key_name(cluster),
            "ephemeral": False,
            "autoGroups": [{"localRef": {"name": operator_group(cluster)}}, {"name": router_group(cluster)}],
        },
    }
