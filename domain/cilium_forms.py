"""What forms the further values of Cilium's chart (``cilium.values``) have: an object, true or false, a number within
its bounds, one of a few words.

It owns the forms: in another one the chart's own schema refuses the value, Kubernetes refuses what the chart makes of
it, or the agent ends at its start; each time `up` has begun by then. Sources: values.schema.json and validate.yaml of
the chart, the agent's pkg/option/config.go, pkg/maps/nodemap/cell.go and pkg/loadbalancer/config.go, release 1.19.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.cilium_chart import KNOWN_RELEASE, chart_names, nested
from domain.cilium_values import value_at
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft, known

_TRUTH: Final = """
annotateK8sNode bandwidthManager.bbr bandwidthManager.bbrHostNamespaceOnly bpf.ctAccounting
bpf.disableExternalIPMitigation bpf.enableTCX bpf.lbAlgorithmAnnotation bpf.lbModeAnnotation
bpf.lbSourceRangeAllTypes bpf.preallocateMaps bpf.tproxy bpfClockProbe certgen.generateCA
cni.enableRouteMTUForCNIChaining cni.exclusive cni.iptablesRemoveAWSRules configDriftDetection.driftChecker
daemon.enableSourceIPVerification directRoutingSkipUnreachable dnsProxy.enableDnsCompression
dnsProxy.preAllocateIdentities enableCriticalPriorityClass enableIPv4BIGTCP enableIPv6BIGTCP
enableIPv6Masquerade enableInternalTrafficPolicy enableLBIPAM enableNoServiceEndpointsRoutable
enableXTSocketFallback encryption.nodeEncryption endpointLockdownOnMapOverflow envoy.rollOutPods
envoy.useOriginalSourceAddress etcd.ssl forceDeviceDetection gatewayAPI.enableAlpn gatewayAPI.enableAppProtocol
gatewayAPI.enableProxyProtocol healthChecking hubble.preferIpv6 hubble.skipUnknownCGroupIDs image.useDigest
ingressController.default ingressController.enableProxyProtocol ingressController.enforceHttps
installNoConntrackIptablesRules iptablesRandomFully keepDeprecatedLabels keepDeprecatedProbes l7Proxy
livenessProbe.requireK8sConnectivity loadBalancer.serviceTopology localRedirectPolicy logSystemLoad
nodePort.autoProtectPortRange nodePort.bindProtection nodePort.enableHealthCheck
nodePort.enableHealthCheckLoadBalancerIP nodeSelectorLabels nodeinit.waitForCloudInit operator.removeNodeTaints
operator.rollOutPods operator.setNodeNetworkStatus operator.setNodeTaints prometheus.metricsService
rollOutCiliumPods securityContext.allowPrivilegeEscalation securityContext.privileged synchronizeK8sNodes
waitForKubeProxy authentication.enabled bandwidthManager.enabled bgpControlPlane.enabled
configDriftDetection.enabled dashboards.enabled debug.enabled endpointHealthChecking.enabled envoy.enabled
envoyConfig.enabled gatewayAPI.enabled hostFirewall.enabled hubble.enabled hubble.relay.enabled
hubble.ui.enabled ingressController.enabled k8sClientExponentialBackoff.enabled k8sNetworkPolicy.enabled
l2NeighDiscovery.enabled l2announcements.enabled l2podAnnouncements.enabled localRedirectPolicies.enabled
monitor.enabled nodeIPAM.enabled nodeinit.enabled pmtuDiscovery.enabled pprof.enabled prometheus.enabled
prometheus.serviceMonitor.enabled resourceQuotas.enabled sctp.enabled sysctlfix.enabled vtep.enabled
wellKnownIdentities.enabled
"""
"""Values that are true or false; those that the link needs have a rule of their own."""
_OF_PROBE: Final = ("failureThreshold", "periodSeconds")
_PORT: Final = (1, 65535)
_TABLE: Final = (1 << 10, 1 << 24)
_COUNT: Final = (0, 1 << 31)
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "bpf.ctTcpMax": _TABLE,
    "bpf.ctAnyMax": _TABLE,
    "bpf.natMax": _TABLE,
    "bpf.nodeMapMax": (1 << 14, 1 << 31),
    **dict.fromkeys(("healthPort", "envoy.healthPort", "prometheus.port", "pprof.port"), _PORT),
    **dict.fromkeys(
        (f"{probe}Probe.{name}" for probe in ("liveness", "readiness", "startup") for name in _OF_PROBE), _COUNT
    ),
    **dict.fromkeys(
        (
            "dnsProxy.proxyPort", "dnsProxy.minTtl", "dnsProxy.endpointMaxIpPerHostname", "k8sClientRateLimit.burst",
            "k8sClientRateLimit.qps", "terminationGracePeriodSeconds", "nat.mapStatsEntries",
            "healthCheckICMPFailureThreshold", "certgen.ttlSecondsAfterFinished", "envoy.baseID",
        ),
        _COUNT,
    ),
}  # fmt: skip
"""Values that are whole numbers, with the least and the largest."""
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("image.pullPolicy", "operator.image.pullPolicy", "envoy.image.pullPolicy", "preflight.image.pullPolicy"),
        ("IfNotPresent", "Always", "Never"),
    ),
    "hubble.tls.auto.method": ("helm", "cronJob", "certmanager"),
    "loadBalancer.l7.backend": ("disabled", "envoy"),
    "scheduling.mode": ("anti-affinity", "kube-scheduler"),
    "dnsPolicy": ("Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"),
}
"""Values that are one of a few words."""


def objects_only(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those that are no object where the chart has one, for :func:`cilium_values_formed` alone is
    to tell of them.
    """
    names = chart_names()
    return {name: value for name, value in values.items() if not names.get(name) or isinstance(value, Mapping)}


def cilium_values_formed(draft: StackDraft) -> Iterator[Problem]:
    """Every value has the form that the chart has it in."""
    given: Mapping[str, Any] = known(draft.settings, "cilium", "values") or {}
    values = objects_only(given)
    for section in sorted(given.keys() - values.keys()):
        names = chart_names()[section]
        example = nested(f"{section}.{'enabled' if 'enabled' in names else min(names, key=_capitals_last)}", "...")
        rule = f"is not an object, and Cilium's chart {KNOWN_RELEASE} has one there"
        value = "(empty)" if given[section] is None else shown(given[section])
        yield Problem(draft.stack, f"cilium.values.{section}", value, rule, f"write it like {example}, or remove it")
    for path in _TRUTH.split():
        there, value = _at(values, path)
        if there and not isinstance(value, bool):
            fix = f"write {value.lower()} without quotes" if _is_word(value) else "write true or false"
            yield _problem(draft, path, value, "is neither true nor false; the chart takes nothing else", fix)
    for path, (least, largest) in _NUMBERS.items():
        there, value = _at(values, path)
        if there and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest):
            bounds = f"from {least} to {largest}" if largest < _COUNT[1] else f"from {least} on"
            rule = f"is no whole number {bounds}; nothing else is taken"
            yield _problem(draft, path, value, rule, "remove it, or write such a number")
    for path, words in _WORDS.items():
        there, value = _at(values, path)
        if there and value not in words:
            yield _problem(draft, path, value, "is none of the words that it may be", f"take {', '.join(words)}")


def cilium_updates_formed(draft: StackDraft) -> Iterator[Problem]:
    """Kubernetes takes how agents and operator are updated, and the agent its range of ports."""
    values = objects_only(known(draft.settings, "cilium", "values") or {})
    there, most = _at(values, "updateStrategy.rollingUpdate.maxUnavailable")
    if there and (isinstance(most, bool) or not re.fullmatch(r"[1-9][0-9]*|[1-9][0-9]?%|100%", str(most))):
        rule = "is no number of agents that may be updated at once, at least 1, nor a part like 10%"
        yield _problem(draft, "updateStrategy.rollingUpdate.maxUnavailable", most, rule, "take 1 or more")
    there, strategy = _at(values, "operator.updateStrategy.type")
    rolling = _at(values, "operator.updateStrategy.rollingUpdate")
    alone = strategy == "Recreate" and value_at(values, "operator.updateStrategy.rollingUpdate") == (True, None)
    if there and strategy != "RollingUpdate" and not alone:
        rule = "goes with no rollingUpdate, which the chart has beside it; Kubernetes refuses both together"
        if strategy != "Recreate":
            rule = "is no way to update a Deployment; Kubernetes refuses it"
        fix = "remove it" if rolling[0] or strategy != "Recreate" else "add rollingUpdate: null, or remove it"
        yield _problem(draft, "operator.updateStrategy.type", strategy, rule, fix)
    there, ports = _at(values, "nodePort.range")
    if there:
        found = re.fullmatch(r"([0-9]{1,5}),([0-9]{1,5})", str(ports))
        if not found or not 1 <= int(found[1]) < int(found[2]) <= 65535:
            rule = "is no range of ports; the agents do not start with it"
            yield _problem(draft, "nodePort.range", ports, rule, 'write it like "30000,32767"')


def _at(values: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Whether something stands there besides null, which is the chart's own again, and what."""
    *above, name = path.split(".")
    there, section = value_at(values, ".".join(above)) if above else (True, values)
    if not there or not isinstance(section, Mapping) or section.get(name) is None:
        return False, None
    return True, section[name]


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in ("true", "false")


def _capitals_last(name: str) -> tuple[bool, str]:
    return not name.islower(), name


def _problem(draft: StackDraft, path: str, value: Any, rule: str, fix: str) -> Problem:
    said = shown(value)
    if isinstance(value, str) and (said in ("true", "false") or said.isdigit()):
        said = f'"{said}"'
    return Problem(draft.stack, f"cilium.values.{path}", said, rule, fix)


FORM_RULES: Final = (cilium_values_formed, cilium_updates_formed)
