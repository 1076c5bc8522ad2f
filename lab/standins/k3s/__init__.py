"""Stand-in for the k3s binary. :mod:`lab.k3s_artifact` packs this package into one file, which the lab serves as `k3s`.

It reads k3s's own config file and runs the same Kubernetes components that k3s embeds, as child processes:
etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubelet from /usr/libexec/isthmus-lab, containerd
from the machine's distribution. It needs Python 3.11, PyYAML and cryptography, as Debian 12 has them.

    k3s server|agent [--config FILE]    run a node; a setting that k3s has and this file has not is refused
    k3s kubectl ...   k3s ctr ...       the client programs with this node's credentials (also by the name of the link)
    k3s --version

Files are where k3s has them: /etc/rancher/k3s/{config.yaml,config.yaml.d,registries.yaml,k3s.yaml},
/var/lib/rancher/k3s/{server,agent}, /run/k3s/containerd/containerd.sock, the API on 6443 and, on every node, on
127.0.0.1:6444.

What it does not do:

    join protocol             No /v1-k3s endpoints. The certificate authorities are derived from the token (HKDF), so
                              that a node with the token makes its own certificates; what an agent learns from a server
                              lies in ConfigMap kube-public/k3s-agent-config.
    several servers           With cluster-init or server etcd has members (etcd.py, membership.py, front.py). A server
                              that was the only one keeps an etcd of its own, in place of SQLite, and is not
                              converted; no cluster-reset, no snapshots; a learner that falls behind is not removed.
    API load balancer         127.0.0.1:6444 learns all servers on agents (forwarder.py); on servers it is their own.
    node passwords            Noted and looked at when a node joins, by the node itself (passwords.py).
    flannel, kube-proxy,      Left out: flannel-backend must be none, disable-network-policy and disable-kube-proxy
    network policy            true.
    cloud controller          Left out, with or without disable-cloud-controller: no ExternalIP, no provider id.
    helm controller, addons   Left out, with their resource kinds: no HelmChart, no Addon. Only CoreDNS is packaged, not
                              traefik, servicelb, local-storage or metrics-server (no aggregation layer either).
    certificates              Valid as long as the authorities (2025 to 2055), never renewed; no signer for requests.
    registries.yaml           `mirrors` with `endpoint`; neither `rewrite` nor `configs`.
    flags, environment        Only --config. No K3S_* variables.
    etcd                      Without fsync: a lab machine dies, its kernel does not.
"""
