#!/bin/sh
# Before each start of k3s on a node of a cluster with several servers (ExecStartPre of its unit): which server to join.
#
# A node with data starts as it is. An empty one asks all servers but itself, as often as it takes, and joins whichever has the
# certificates of a cluster to show. Only a server that the program has told so (may-start, see components/cluster_start.py)
# begins a cluster, and only when nobody has shown any in several rounds: an empty server that can't reach the others waits,
# and never begins a second cluster. Nothing here has an end of its own: whoever waits for k3s has one.
set -eu

directory=/usr/local/lib/isthmus
data=/var/lib/rancher/k3s
joined=/etc/rancher/k3s/config.yaml.d/10-isthmus-join.yaml
may_start=/var/lib/isthmus/may-start
answer_seconds=5
pause_seconds=3
rounds_alone=3

say() {
    printf 'join-k3s: %s\n' "$*"
}

# k3s itself looks for the same of etcd (IsInitialized in pkg/etcd/etcd.go), and then passes over cluster-init and server. An
# agent that has joined knows all servers from its load balancer's file.
has_data() {
    if [ "$ISTHMUS_K3S_ROLE" = server ]; then
        [ -d "$data/server/db/etcd/member/wal" ]
    else
        [ -s "$joined" ] && [ -s "$data/agent/etc/k3s-agent-load-balancer.json" ]
    fi
}

# What k3s shows to anybody, before its API serves. The token, which only a member of the cluster takes, proves the rest.
certificates_of() {
    url=https://$1:6443/cacerts
    if command -v curl >/dev/null 2>&1; then
        curl --insecure --http1.1 --noproxy '*' --silent --fail --max-time "$answer_seconds" "$url"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --no-check-certificate --no-proxy --tries=1 --timeout="$answer_seconds" --output-document=- "$url"
    else
        timeout "$answer_seconds" python3 -c '
import ssl, sys, urllib.request
tls = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
with urllib.request.build_opener(urllib.request.ProxyHandler({}), tls).open(sys.argv[1]) as answer:
    sys.stdout.write(answer.read().decode())
' "$url"
    fi 2>/dev/null
}

write() {
    mkdir -p "${joined%/*}"
    printf '%s\n' "$1" >"$joined.new"
    mv -f "$joined.new" "$joined"
}

main() {
    umask 077
    # shellcheck source=/dev/null
    . "$directory/k3s.env"
    if has_data; then
        rm -f "$may_start"
        return
    fi
    # Of a server that was the only one: k3s takes its data over into etcd (https://docs.k3s.io/datastore/ha-embedded).
    if [ "$ISTHMUS_K3S_ROLE" = server ] && [ -e "$data/server/db/state.db" ]; then
        say "this server was the only one; its data becomes that of the cluster"
        write "cluster-init: true"
        return
    fi
    told=
    alone=0
    while :; do
        for address in $ISTHMUS_SERVERS; do
            if [ "$address" != "$ISTHMUS_NODE_ADDRESS" ] && certificates_of "$address" | grep -q 'BEGIN CERTIFICATE'; then
                say "this node is empty and joins the cluster of the server at $address"
                write "server: https://$address:6443"
                return
            fi
        done
        if [ "$ISTHMUS_K3S_ROLE" = server ] && [ -e "$may_start" ]; then
            alone=$((alone + 1))
            if [ "$alone" -ge "$rounds_alone" ]; then
                say "no server has a cluster, and this one begins it"
                write "cluster-init: true"
                return
            fi
        fi
        if [ -z "$told" ]; then
            say "this node is empty and waits for a server with a cluster: $ISTHMUS_SERVERS"
            told=yes
        fi
        sleep "$pause_seconds"
    done
}

main "$@"
