#!/bin/sh
# Waits until this machine's k3s is installed and serves, and has made its CoreDNS, then prints the kubeconfig. Read-only, so
# it can be run any number of times. No other machine is waited for.
# Usage: sh -s -- DEADLINE_SECONDS
# Says on standard error every few seconds what it waits for. When nobody reads that any more, the connection is gone, and it
# ends: the machine ends nothing that a connection has started. Exit code 1 at the deadline, with the last state.
set -u

deadline=$1
begun=$(date +%s)
told=
kubeconfig=/etc/rancher/k3s/k3s.yaml
k3s=/usr/local/bin/k3s
first_boot=/var/log/isthmus-install-k3s.log

missing() {
  [ -x "$k3s" ] || { echo "k3s is not installed"; return 0; }
  [ -s "$kubeconfig" ] || { echo "k3s has not written its kubeconfig"; return 0; }
  timeout 20 "$k3s" kubectl get --raw /readyz >/dev/null 2>&1 || { echo "the API server is not ready"; return 0; }
  timeout 20 "$k3s" kubectl --namespace kube-system get deployment coredns >/dev/null 2>&1 ||
    { echo "k3s has not made CoreDNS"; return 0; }
  return 1
}

while state=$(missing); do
  passed=$(($(date +%s) - begun))
  if [ "$passed" -ge "$deadline" ]; then
    if [ -r "$first_boot" ]; then
      echo "the last lines of $first_boot:" >&2
      tail -n 20 "$first_boot" >&2
    fi
    echo "gave up after $deadline s: $state; journalctl -u k3s on this machine may say why" >&2
    exit 1
  fi
  # Not more often than every ten seconds, and at once when it has changed.
  if [ "$state $((passed / 10))" != "$told" ]; then
    echo "waiting ($passed of $deadline s): $state" >&2 || exit 1
    told="$state $((passed / 10))"
  fi
  sleep 2
done
cat "$kubeconfig"
