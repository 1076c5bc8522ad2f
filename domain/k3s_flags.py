"""Rules for further settings of k3s that do something else than they seem to: those without effect, and those with
which a node of this cluster does not start or carries nothing.

It owns the names that k3s took once, and which settings only servers know. What the program sets itself is
``node_files.py``'s, secrets are ``plain_secrets.py``'s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from domain.cilium_values import value_at
from domain.k3s_rules import SECRET_SETTING
from domain.k3s_upgrades import release
from domain.node_files import (
    DISABLED_ADDONS,
    FORBIDDEN_K3S_ARGUMENTS,
    FORBIDDEN_K3S_SETTINGS,
    NEEDED_ADDONS,
    fixed_k3s_setting,
    k3s_argument,
)
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft, known

_SPLIT_PORTS: Final = "the nodes, Cilium and the firewall know the API at port 6443 of every server"
BY_HAND: Final = {
    "cluster-reset-restore-path": "it is for a repair by hand",
    "apiserver-port": _SPLIT_PORTS,
    "apiserver-bind-address": _SPLIT_PORTS,
}
"""Settings that would break the cluster, with the reason."""
GONE: Final = {
    "no-deploy": "disable",
    "no-flannel": "",
    "disable-selinux": "",
    "cluster-secret": "",
    "multi-cluster-cidr": "",
    "secrets-encrypt": "secrets-encryption",
}
"""Names that no k3s of these releases has, with what stands for them; nothing where nothing does."""
_SINGULAR: Final = frozenset(
    {
        "kubelet-arg", "kube-apiserver-arg", "kube-controller-manager-arg", "kube-scheduler-arg", "etcd-arg",
        "kube-cloud-controller-manager-arg", "tls-san", "disable", "airgap-extra-registry", "node-label", "node-taint",
    }
)  # fmt: skip
"""Lists, which people write in the plural."""
SERVERS_ONLY: Final = frozenset(
    {
        "disable", "tls-san", "tls-san-security", "kube-apiserver-arg", "kube-controller-manager-arg",
        "kube-scheduler-arg", "kube-cloud-controller-manager-arg", "etcd-arg", "secrets-encryption",
        "service-node-port-range", "servicelb-namespace", "egress-selector-mode", "embedded-registry",
        "disable-helm-controller", "default-local-storage-path", "helm-job-image", "write-kubeconfig-group",
        "etcd-expose-metrics", "etcd-disable-snapshots", "etcd-snapshot-name", "etcd-snapshot-schedule-cron",
        "etcd-snapshot-retention", "etcd-snapshot-dir", "etcd-snapshot-compress", "etcd-s3", "etcd-s3-endpoint",
        "etcd-s3-endpoint-ca", "etcd-s3-skip-ssl-verify", "etcd-s3-bucket", "etcd-s3-region", "etcd-s3-folder",
        "etcd-s3-insecure", "etcd-s3-timeout", "etcd-s3-config-secret",
    }
)  # fmt: skip
"""Settings that agents do not know and pass over (https://docs.k3s.io/cli/agent has all of theirs)."""


_EVERYWHERE: Final = frozenset(
    {
        "kubelet-arg", "debug", "v", "vmodule", "log", "alsologtostderr", "snapshotter", "pause-image",
        "airgap-extra-registry", "default-runtime", "image-service-endpoint", "disable-default-registry-endpoint",
        "nonroot-devices", "resolv-conf", "protect-kernel-defaults", "selinux", "node-internal-dns",
        "node-external-dns", "prefer-bundled-bin", "enable-pprof", "image-credential-provider-bin-dir",
        "image-credential-provider-config", "system-default-registry", "disable-cloud-controller",
        "etcd-s3-access-key", "etcd-s3-secret-key", "etcd-s3-session-token", "etcd-s3-proxy", "etcd-s3-retention",
        "etcd-s3-bucket-lookup-type", "etcd-snapshot-reconcile-interval", "datastore-cafile", "datastore-certfile",
        "datastore-keyfile", "kine-tls", "supervisor-metrics", "secrets-encryption-provider",
    }
)  # fmt: skip
"""Names that k3s has besides those of the other lists."""
LAST_MINOR: Final = 34
"""The newest minor release of Kubernetes whose k3s has no other names than these lists (https://docs.k3s.io/cli/server).
A later one may have more, so a name that is like none of them is let through there."""
OLD_NAMES: Final = {
    "kube-controller-arg": "kube-controller-manager-arg",
    "kube-cloud-controller-arg": "kube-cloud-controller-manager-arg",
}
"""Names that k3s still takes and shows no more, with those that the rules of this program know them by."""
ADDONS_LIMIT: Final = 100
"""Entries of ``disable`` that are looked at; k3s has far fewer."""
ADDONS: Final = (*NEEDED_ADDONS, *DISABLED_ADDONS, "local-storage", "metrics-server", "runtimes")
"""What k3s brings along and ``disable`` may name (https://docs.k3s.io/installation/packaged-components)."""


def k3s_names_meant(draft: StackDraft) -> Iterator[Problem]:
    """No name of a setting or of an add-on is nearly one of k3s's, which would be without effect."""
    names = {*_EVERYWHERE, *SERVERS_ONLY, *_SINGULAR, *FORBIDDEN_K3S_SETTINGS, *BY_HAND, *GONE}
    runs = release(known(draft.settings, "k3s", "version") or "")
    for section in ("server_config", "agent_config"):
        for name, value in (known(draft.settings, "k3s", section) or {}).items():
            setting = f"k3s.{section}.{name}"
            addon = name.removeprefix("disable-")
            if name == "disable":
                yield from _addons_meant(draft.stack, setting, value)
            elif name in OLD_NAMES:
                rule = f"is an old name of {OLD_NAMES[name]}"
                yield Problem(draft.stack, setting, "", rule, f"write {OLD_NAMES[name]}")
            elif name in names or fixed_k3s_setting(name) or (name.endswith("s") and name[:-1] in _SINGULAR):
                continue
            elif addon != name and addon in ADDONS:
                rule = "has no effect: no k3s of these releases has it"
                fix = f"{addon} is needed" if addon in NEEDED_ADDONS else f"write disable: [{addon}]"
                fix = f"remove it; {fix}" if addon in NEEDED_ADDONS else fix
                yield Problem(draft.stack, setting, "", rule, fix)
            elif near := difflib.get_close_matches(name[:60], sorted(names), n=1, cutoff=0.88):
                yield Problem(draft.stack, setting, "", "is no setting of k3s", f"did you mean {near[0]}?")
            elif runs is not None and runs[0] <= LAST_MINOR and not SECRET_SETTING.search(name):
                rule = "is no setting of k3s, which would pass it over"
                yield Problem(draft.stack, setting, "", rule, "remove it, or write it as docs.k3s.io/cli/server does")


def _addons_meant(stack: str, setting: str, value: object) -> Iterator[Problem]:
    entries = value if isinstance(value, tuple) else (str(value),)
    addons = dict.fromkeys(word.strip() for entry in entries for word in entry.split(","))
    for addon in islice((word for word in addons if word and word not in ADDONS), ADDONS_LIMIT):
        parts = re.split(r"[\s;+|]+", addon.lower())
        near = difflib.get_close_matches(addon.lower()[:60], ADDONS, n=1, cutoff=0.75)
        rule = "is none of the add-ons that k3s brings along"
        if len(parts) > 1 and any(part in ADDONS for part in parts):
            yield Problem(stack, setting, shown(addon), rule, "write each as an entry of its own")
        elif near and near[0] not in NEEDED_ADDONS:
            yield Problem(stack, setting, shown(addon), rule, f"write {near[0]}")
        elif near:
            yield Problem(stack, setting, shown(addon), rule, f"remove it; {near[0]} is needed")


def k3s_settings_with_effect(draft: StackDraft) -> Iterator[Problem]:
    """Every further setting of k3s is one that its nodes know."""
    for section in ("server_config", "agent_config"):
        settings = known(draft.settings, "k3s", section) or {}
        for name, value in settings.items():
            setting = f"k3s.{section}.{name}"
            if (reason := BY_HAND.get(name)) is not None:
                yield Problem(draft.stack, setting, "", f"is not for you to set: {reason}", "remove it")
            elif (successor := GONE.get(name)) is not None:
                fix = f"write {successor}" if successor else "remove it"
                yield Problem(draft.stack, setting, "", "has no effect: no k3s of these releases has it", fix)
            elif name.endswith("s") and name[:-1] in _SINGULAR:
                rule = "has no effect: k3s knows it in the singular only, also for a list"
                ours = fixed_k3s_setting(name[:-1]) or name[:-1] in FORBIDDEN_K3S_SETTINGS
                yield Problem(draft.stack, setting, "", rule, "remove it" if ours else f"write {name[:-1]}")
            elif section == "agent_config" and name in SERVERS_ONLY and not _told(name, value):
                rule = "has no effect on nodes that run workloads only"
                yield Problem(draft.stack, setting, "", rule, f"write it in k3s.server_config, as {name}")


def _told(name: str, value: object) -> bool:
    """Whether something in it is refused on every node, which is told already."""
    parts = [part for entry in (value if isinstance(value, tuple) else (str(value),)) for part in entry.split(",")]
    if name == "disable":
        return any(part.strip() in NEEDED_ADDONS for part in parts)
    return any(k3s_argument(part) in FORBIDDEN_K3S_ARGUMENTS.get(name, {}) for part in parts)


def k3s_nodes_start(draft: StackDraft) -> Iterator[Problem]:
    """With the further settings of k3s its parts start, and can run Cilium."""
    for section in ("server_config", "agent_config"):
        for name, value in (known(draft.settings, "k3s", section) or {}).items():
            setting = f"k3s.{section}.{name}"
            if name in FORBIDDEN_K3S_SETTINGS or fixed_k3s_setting(name):
                continue
            if name == "egress-selector-mode" and value not in EGRESS_MODES:
                rule = f"is none of the modes that k3s has: {', '.join(EGRESS_MODES)}"
                yield Problem(draft.stack, setting, shown(value), rule, "take agent, or remove it")
            for index, entry in enumerate(value if isinstance(value, tuple) else (str(value),)):
                place = f"{setting}.{index}" if isinstance(value, tuple) else setting
                yield from _argument(draft.stack, place, name, entry)


EGRESS_MODES: Final = ("agent", "cluster", "pod", "disabled")


def _argument(stack: str, place: str, name: str, entry: str) -> Iterator[Problem]:
    argument, said = k3s_argument(entry), entry.partition("=")[2].strip()
    if name == "kubelet-arg" and argument == "max-pods" and not re.fullmatch(r"[1-9][0-9]{0,8}", said.split(",")[0]):
        yield Problem(stack, place, "max-pods", "is no number of pods; none would run", "write a number like 110")
    elif name == "kube-apiserver-arg" and argument == "allow-privileged" and said.lower() == "false":
        rule = "allows no privileged containers, and Cilium's are"
        yield Problem(stack, place, "allow-privileged=false", rule, "remove it")
    elif name == "kube-controller-manager-arg" and argument == "controllers":
        listed = [controller.strip() for controller in said.split(",")]
        if "*" not in listed or {"-nodeipam", "-node-ipam-controller"} & {*listed}:
            rule = "leaves out what gives nodes their part of network.pod_cidr"
            yield Problem(stack, place, "controllers", rule, "begin the list with *, and leave nodeipam in")


NODE_PORTS: Final = "30000-32767"
"""What Kubernetes and Cilium serve NodePorts on where nothing else is said."""


def node_ports_of_both(draft: StackDraft) -> Iterator[Problem]:
    """Kubernetes and Cilium agree on the range of NodePorts."""
    config: dict[str, Any] = known(draft.settings, "k3s", "server_config") or {}
    ports = config.get("service-node-port-range")
    if ports is None:
        return
    given, served = value_at(known(draft.settings, "cilium", "values") or {}, "nodePort.range")
    cilium = str(served).replace(",", "-") if given and isinstance(served, str) else NODE_PORTS
    if not isinstance(ports, str) or not re.fullmatch(r"[0-9]{1,5}-[0-9]{1,5}", ports):
        rule = "is no range of ports"
        yield Problem(draft.stack, "k3s.server_config.service-node-port-range", "", rule, f"write it like {NODE_PORTS}")
    elif ports != cilium:
        rule = f"is not {cilium}, which Cilium serves; a NodePort outside of it would answer nobody"
        fix = f'add nodePort: {{range: "{ports.replace("-", ",")}"}} to cilium.values, or remove it'
        yield Problem(draft.stack, "k3s.server_config.service-node-port-range", ports, rule, fix)


FLAG_RULES: Final = (k3s_settings_with_effect, k3s_names_meant, k3s_nodes_start, node_ports_of_both)
