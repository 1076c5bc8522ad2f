#!/bin/sh
# Waits until this machine's k3s is installed and serves, its nodes have registered and it has made its CoreDNS, then prints
# the kubeconfig. Read-only, so it can be run any number of times.
# Usage: sh -s -- DEADLINE_SECONDS NODE...
# Exit code 1 at the deadline, with the last state on standard error.
set -u

end=$(($(date +%s) + $1))
shift
kubeconfig=/etc/rancher/k3s/k3s.yaml
k3s=/usr/local/bin/k3s

missing() {
  [ -x "$k3s" ] || { echo "k3s is not installed"; return 0; }
  [ -s "$kubeconfig" ] || { echo "k3s has not written its kubeconfig"; return 0; }
  "$k3s" kubectl get --raw /readyz >/dev/null 2>&1 || { echo "the API server is not ready"; return 0; }
  nodes=" $("$k3s" kubectl get nodes --output name 2>/dev/null | tr '\n' ' ')"
  for node in "$@"; do
    case $nodes in
      *" node/$node "*) ;;
      *) echo "node $node has not registered; there are:$nodes"; return 0 ;;
    esac
  done
  "$k3s" kubectl --namespace kube-system get deployment coredns >/dev/null 2>&1 || { echo "k3s has not made CoreDNS"; return 0; }
  return 1
}

while state=$(missing "$@"); do
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "gave up: $state" >&2
    exit 1
  fi
  sleep 2
done
cat "$kubeconfig"
