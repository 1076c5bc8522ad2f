"""Which values Cilium's chart has: what it does not know it takes in silence, and nothing comes of it.

It owns the names of the first two levels, as of :data:`KNOWN_RELEASE`, and what is said of any other name. Deeper
levels are not looked at: many of them are handed on to Kubernetes as they are.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.problems import PROBLEMS_LIMIT, shown

KNOWN_RELEASE: Final = "1.19.6"
"""The release of Cilium whose chart has these names. A later one may have more, so there none is refused."""

_NAMES: Final = """
MTU affinity agent agentNotReadyTaintKey annotateK8sNode annotations apiRateLimit autoDirectNodeRoutes bpfClockProbe
cleanBpfState cleanState clusterHealthPort commonLabels connectivityProbeFrequencyRatio conntrackGCInterval
conntrackGCMaxInterval crdWaitTimeout defaultLBServiceIPAM devices directRoutingSkipUnreachable disableEndpointCRD
disableEnvoyVersionCheck disableIptablesFeederRules dnsPolicy dnsPolicyUnloadOnShutdown egressMasqueradeInterfaces
enableCriticalPriorityClass enableIPv4BIGTCP enableIPv4Masquerade enableIPv6BIGTCP enableIPv6Masquerade
enableIdentityMark enableInternalTrafficPolicy enableLBIPAM enableMasqueradeRouteSource
enableNoServiceEndpointsRoutable enableNonDefaultDenyPolicies enableXTSocketFallback endpointLockdownOnMapOverflow
endpointPolicyUpdateTimeoutDuration extraArgs extraConfig extraContainers extraEnv extraHostPathMounts
extraInitContainers extraVolumeMounts extraVolumes forceDeviceDetection fragmentTracking global
healthCheckICMPFailureThreshold healthChecking healthPort identityAllocationMode identityChangeGracePeriod
identityManagementMode imagePullSecrets initResources installNoConntrackIptablesRules iptablesLockTimeout
iptablesRandomFully ipv4NativeRoutingCIDR ipv6NativeRoutingCIDR k8sServiceHost k8sServiceLookupConfigMapName
k8sServiceLookupNamespace k8sServicePort keepDeprecatedLabels keepDeprecatedProbes kubeConfigPath kubeProxyReplacement
kubeProxyReplacementHealthzBindAddr l7Proxy labels localRedirectPolicy logOptions logSystemLoad maglev name
namespaceOverride nodeLabels nodeSelector nodeSelectorLabels nonIdempotentAnnotations podAnnotations podLabels
podSecurityContext policyAuditMode policyCIDRMatchMode policyDenyResponse policyEnforcementMode priorityClassName
resources rollOutCiliumPods routingMode secretsNamespaceAnnotations secretsNamespaceLabels securityContext
serviceNoBackendResponse sleepAfterInit synchronizeK8sNodes terminationGracePeriodSeconds tmpVolume tolerations
tunnelPort tunnelProtocol tunnelSourcePortRange underlayProtocol upgradeCompatibility waitForKubeProxy
aksbyocni: enabled
alibabacloud: enabled nodeSpec
authentication: enabled gcInterval mutual queueSize rotatedIdentitiesQueueSize
azure: clientID clientSecret enabled nodeSpec resourceGroup subscriptionID tenantID usePrimaryAddress
  userAssignedIdentityID
bandwidthManager: bbr bbrHostNamespaceOnly enabled
bgpControlPlane: enabled legacyOriginAttribute routerIDAllocation secretsNamespace statusReport
bpf: authMapMax autoMount ctAccounting ctAnyMax ctTcpMax datapathMode disableExternalIPMitigation distributedLRU
  enableTCX events hostLegacyRouting lbAlgorithmAnnotation lbExternalClusterIP lbMapMax lbModeAnnotation
  lbSourceRangeAllTypes mapDynamicSizeRatio masquerade monitorAggregation monitorFlags monitorInterval
  monitorTraceIPOption natMax neighMax nodeMapMax policyMapMax policyMapPressureMetricsThreshold policyStatsMapMax
  preallocateMaps root tproxy vlanBypass
certgen: affinity annotations cronJob extraVolumeMounts extraVolumes generateCA image nodeSelector podLabels
  priorityClassName resources tolerations ttlSecondsAfterFinished
cgroup: autoMount hostRoot
ciliumEndpointSlice: enabled rateLimits
cluster: id name
clustermesh: annotations apiserver cacheTTL config enableEndpointSliceSynchronization enableMCSAPISupport
  maxConnectedClusters mcsapi policyDefaultLocalCluster useAPIServer
cni: binPath chainingMode chainingTarget confFileMountPath confPath configMap configMapKey customConf
  enableRouteMTUForCNIChaining exclusive externalRouting hostConfDirMountPath install iptablesRemoveAWSRules logFile
  readCniConf resources uninstall
configDriftDetection: driftChecker enabled ignoredKeys
daemon: allowedConfigOverrides blockedConfigOverrides configSources enableSourceIPVerification runPath
dashboards: annotations enabled label labelValue namespace
debug: enabled metricsSamplingInterval verbose
dnsProxy: dnsRejectResponseCode enableDnsCompression enableTransparentMode endpointMaxIpPerHostname
  idleConnectionGracePeriod maxDeferredConnectionDeletes minTtl preAllocateIdentities preCache proxyPort
  proxyResponseMaxDelay socketLingerTimeout
egressGateway: enabled maxPolicyEntries reconciliationTriggerInterval
encryption: enabled ipsec nodeEncryption strictMode type wireguard ztunnel
endpointHealthChecking: enabled
endpointRoutes: enabled
eni: awsEnablePrefixDelegation awsReleaseExcessIPs ec2APIEndpoint enabled eniTags gcInterval gcTags iamRole
  instanceTagsFilter nodeSpec subnetIDsFilter subnetTagsFilter
envoy: affinity annotations baseID bootstrapConfigMap clusterMaxConnections clusterMaxRequests connectTimeoutSeconds
  debug dnsPolicy enabled extraArgs extraContainers extraEnv extraHostPathMounts extraVolumeMounts extraVolumes
  healthPort httpRetryCount httpUpstreamLingerTimeout idleTimeoutDurationSeconds image initContainers
  initialFetchTimeoutSeconds livenessProbe log maxConcurrentRetries maxConnectionDurationSeconds
  maxGlobalDownstreamConnections maxRequestsPerConnection nodeSelector podAnnotations podLabels podSecurityContext
  policyRestoreTimeoutDuration priorityClassName prometheus readinessProbe resources rollOutPods securityContext
  startupProbe streamIdleTimeoutDurationSeconds terminationGracePeriodSeconds tolerations updateStrategy
  useOriginalSourceAddress xffNumTrustedHopsL7PolicyEgress xffNumTrustedHopsL7PolicyIngress
envoyConfig: enabled retryInterval secretsNamespace
etcd: enabled endpoints ssl
gatewayAPI: enableAlpn enableAppProtocol enableProxyProtocol enabled externalTrafficPolicy gatewayClass hostNetwork
  secretsNamespace xffNumTrustedHops
gke: enabled
hostFirewall: enabled
hubble: annotations dropEventEmitter enabled eventBufferCapacity eventQueueSize export listenAddress
  lostEventSendInterval metrics networkPolicyCorrelation peerService preferIpv6 redact relay skipUnknownCGroupIDs
  socketPath tls ui
image: digest override pullPolicy repository tag useDigest
ingressController: default defaultSecretName defaultSecretNamespace enableProxyProtocol enabled enforceHttps
  hostNetwork ingressLBAnnotationPrefixes loadbalancerMode secretsNamespace service
ipMasqAgent: config enabled
ipam: ciliumNodeUpdateRate installUplinkRoutesForDelegatedIPAM mode multiPoolPreAllocation nodeSpec operator
ipv4: enabled
ipv6: enabled
k8s: apiServerURLs requireIPv4PodCIDR requireIPv6PodCIDR serviceProxyName
k8sClientExponentialBackoff: backoffBaseSeconds backoffMaxDurationSeconds enabled
k8sClientRateLimit: burst operator qps
k8sNetworkPolicy: enabled
k8sServiceHostRef: key name
l2NeighDiscovery: enabled
l2announcements: enabled leaseDuration leaseRenewDeadline leaseRetryPeriod
l2podAnnouncements: enabled interfacePattern
livenessProbe: failureThreshold periodSeconds requireK8sConnectivity
loadBalancer: acceleration algorithm dsrDispatch l7 mode serviceTopology
localRedirectPolicies: addressMatcherCIDRs enabled
monitor: enabled eventTypes resources
nat: mapStatsEntries mapStatsInterval
nat46x64Gateway: enabled
nodeIPAM: enabled
nodePort: addresses autoProtectPortRange bindProtection directRoutingDevice enableHealthCheck
  enableHealthCheckLoadBalancerIP range
nodeinit: affinity annotations bootstrapFile enabled extraEnv extraVolumeMounts extraVolumes image nodeSelector
  podAnnotations podLabels podSecurityContext prestop priorityClassName resources revertReconfigureKubelet
  securityContext startup tolerations updateStrategy waitForCloudInit
operator: affinity annotations dashboards dnsPolicy enabled endpointGCInterval extraArgs extraEnv extraHostPathMounts
  extraVolumeMounts extraVolumes hostNetwork identityGCInterval identityHeartbeatTimeout image nodeGCInterval
  nodeSelector podAnnotations podDisruptionBudget podLabels podSecurityContext pprof priorityClassName prometheus
  removeNodeTaints replicas resources rollOutPods securityContext setNodeNetworkStatus setNodeTaints skipCRDCreation
  tolerations topologySpreadConstraints unmanagedPodWatcher updateStrategy
pmtuDiscovery: enabled packetizationLayerPMTUDMode
pprof: address blockProfileRate enabled mutexProfileFraction port
preflight: affinity annotations enabled envoy extraEnv extraVolumeMounts extraVolumes image nodeSelector
  podAnnotations podDisruptionBudget podLabels podSecurityContext priorityClassName readinessProbe resources
  securityContext terminationGracePeriodSeconds tofqdnsPreCache tolerations updateStrategy validateCNPs
prometheus: controllerGroupMetrics enabled metrics metricsService port serviceMonitor
rbac: create
readinessProbe: failureThreshold periodSeconds
resourceQuotas: cilium enabled operator
scheduling: mode
sctp: enabled
serviceAccounts: cilium clustermeshApiserver clustermeshcertgen corednsMCSAPI envoy hubblecertgen nodeinit operator
  preflight relay ui ztunnel
socketLB: enabled hostNamespaceOnly terminatePodConnections tracing
standaloneDnsProxy: annotations automountServiceAccountToken debug enabled image nodeSelector rollOutPods serverPort
  tolerations updateStrategy
startupProbe: failureThreshold periodSeconds
sysctlfix: enabled
tls: ca caBundle readSecretsOnlyFromSecretsNamespace secretSync secretsBackend secretsNamespace
updateStrategy: rollingUpdate type
vtep: cidr enabled endpoint mac mask
wellKnownIdentities: enabled
"""
"""From its values.yaml, values.schema.json and templates. First those that stand alone or hold what they like, then a
line for each of the others with the names in it; a line that is indented goes on with the one before."""

_DOTTED: Final = re.compile(r"[A-Za-z0-9]{1,40}(\.[A-Za-z0-9]{1,40}){0,4}", re.ASCII)


@dataclass(frozen=True)
class Unknown:
    """A value without effect: its path, why, and what to write."""

    path: str
    rule: str
    fix: str


@functools.cache
def chart_names() -> Mapping[str, frozenset[str]]:
    """Every name of the first level with those below it; with none where they are free."""
    first, *rest = _NAMES.strip().replace("\n  ", " ").split("\n")
    free: list[str] = []
    names: dict[str, frozenset[str]] = {}
    for line in (first, *rest):
        section, colon, below = line.partition(": ")
        if colon:
            names[section] = frozenset(below.split())
        else:
            free += line.split()
    return names | dict.fromkeys(free, frozenset())


def unknown_values(values: Mapping[str, Any], version: str | None) -> Iterator[Unknown]:
    """The user's values that the chart of this version does not have. ``version`` is None where it was refused."""
    if version is not None and _release(version) > _release(KNOWN_RELEASE):
        return
    names = chart_names()
    found = 0
    for name, value in values.items():
        if name not in names:
            yield _unknown("", name, names, guess=found < PROBLEMS_LIMIT)
            found += 1
        elif names[name] and isinstance(value, Mapping):
            for inner_name in value:
                if inner_name not in names[name]:
                    yield _unknown(f"{name}.", str(inner_name), names[name], guess=found < PROBLEMS_LIMIT)
                    found += 1


def _unknown(above: str, name: str, names: Collection[str], *, guess: bool) -> Unknown:
    """``guess``: what is meant is looked for, which takes its time, and no more messages than a few are shown."""
    path = f"{above}{shown(name)}"
    section, dot, below = name.partition(".")
    if dot and section in names and _DOTTED.fullmatch(below):
        rule = "has no effect: to the chart this is one name with a dot in it, which it does not have"
        return Unknown(path, rule, f"write it as {nested(above + name, '...')}")
    near = difflib.get_close_matches(name[:60], names, n=1, cutoff=0.7) if guess else []
    fix = f"did you mean {above}{near[0]}?" if near else "remove it"
    if "-" in name:
        fix = "options of the agent stand in extraConfig"
    return Unknown(path, f"is no value of Cilium's chart {KNOWN_RELEASE}, which takes no notice of it", fix)


def nested(path: str, value: str) -> str:
    """A value of the chart as one writes it in one line of YAML, ``hubble: {enabled: true}``."""
    *above, name = path.split(".")
    return "".join(f"{section}: {{" for section in above) + f"{name}: {value}" + "}" * len(above)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
