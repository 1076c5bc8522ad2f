#!/bin/sh
# k3s of a machine of the tests (machine.py), as far as the program's scripts call it: the real API answers.
set -eu

ask() {
    token=$(sed -n 's|.*"token": "\([^"]*\)".*|\1|p' /etc/rancher/k3s/k3s.yaml)
    exec curl --fail --silent --show-error --insecure --header "Authorization: Bearer $token" \
        "https://$(cat /srv/tests/address)$1"
}

# The kubelet says which k3s it is of, as soon as there is a Node to say it of.
report() {
    # shellcheck source=/dev/null
    . /usr/local/lib/isthmus/k3s.env
    token=$(sed -n 's|.*"token": "\([^"]*\)".*|\1|p' /srv/tests/kubeconfig)
    server=$(sed -n 's|.*"server": "\([^"]*\)".*|\1|p' /srv/tests/kubeconfig)
    version=$(sed -n '$s/^# //p' "$0")
    until curl --fail --silent --insecure --request PATCH --header "Authorization: Bearer $token" \
        --header "Content-Type: application/merge-patch+json" \
        --data "{\"status\":{\"nodeInfo\":{\"kubeletVersion\":\"$version\"}}}" \
        "$server/api/v1/nodes/$ISTHMUS_NODE_NAME/status" >/dev/null; do
        sleep 0.2
    done
}

case "$*" in
report) report ;;
--version) echo "k3s of the tests" ;;
"kubectl get --raw /readyz") ask /readyz ;;
"kubectl --namespace kube-system get deployment coredns") ask /apis/apps/v1/namespaces/kube-system/deployments/coredns ;;
*) echo "k3s of the tests knows no: $*" >&2 && exit 1 ;;
esac
