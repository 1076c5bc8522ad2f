#!/bin/sh
# Takes k3s, Cilium, the router's state and our own files off this machine. Run as root, as often as one likes.
#
# With the word "anew" the machine is to be a node again at once. The data goes all the same; what stays is the binary, which
# install-k3s takes from beside its place when its checksum is right, and our own scripts.
#
# Nothing below a mount is ever deleted: a pod's volume may be a directory of the machine that somebody needs.
set -eu

directory=/usr/local/lib/isthmus
router_state=/var/lib/netbird-router
mounts_of_k3s='^(/run/k3s|/run/netns/cni-|/var/lib/kubelet/|/var/lib/rancher/|/run/cilium|/var/run/cilium)'
stop_seconds=60
lock_seconds=120 # an installation that lost its connection ends by itself before

say() {
    printf 'uninstall-k3s: %s\n' "$*"
}

fail() {
    printf 'uninstall-k3s: %s\n' "$*" >&2
    exit 1
}

stop_units() {
    for unit in k3s.service k3s-agent.service; do
        if [ -e "/etc/systemd/system/$unit" ]; then
            say "stopping $unit"
            systemctl disable --quiet "$unit" 2>/dev/null || true
            timeout "$stop_seconds" systemctl stop "$unit" || true
        fi
    done
}

# After the pods: a shim that is killed first leaves its containers to init, where nobody finds them.
remove_units() {
    for unit in k3s.service k3s-agent.service; do
        # KillMode=process leaves what k3s has started.
        systemctl kill --signal=KILL --kill-who=all "$unit" 2>/dev/null || true
        rm -f "/etc/systemd/system/$unit"
    done
    # Of the guard, as is the folder below (components/files/guard.sh).
    systemctl disable --quiet isthmus-guard.service 2>/dev/null || true
    rm -f /etc/systemd/system/isthmus-guard.service
    systemctl daemon-reload
    systemctl reset-failed k3s.service k3s-agent.service 2>/dev/null || true
}

# The ids of k3s's container shims and of everything below them; other container engines have sockets of their own.
pods_processes() {
    ps -e -o pid= -o ppid= -o args= | awk '
        { parent[$1] = $2; ids[NR] = $1 }
        # Written so that this very program, which ps shows as well, is not what it looks for.
        /containerd-shi[m]/ && /[/]run[/]k3s[/]containerd[/]/ { found[$1] = 1 }
        END {
            do {
                more = 0
                for (n in ids) {
                    id = ids[n]
                    if (!(id in found) && (parent[id] in found)) { found[id] = 1; more = 1 }
                }
            } while (more)
            for (id in found) print id
        }'
}

kill_pods() {
    tries=0
    while ids=$(pods_processes) && [ -n "$ids" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 30 ] || fail "processes of pods do not end: $(echo "$ids" | tr '\n' ' ')"
        # shellcheck disable=SC2086 # one argument for each id
        kill -KILL $ids 2>/dev/null || true
        sleep 1
    done
}

mounted() {
    awk '{ print $2 }' /proc/self/mounts | grep -E "$mounts_of_k3s" | sort -r || true
}

unmount() {
    mounted | while IFS= read -r point; do
        # The kernel writes spaces and the like as octal escapes.
        umount "$(printf '%b' "$point")" 2>/dev/null || umount --lazy "$(printf '%b' "$point")" 2>/dev/null || true
    done
    left=$(mounted)
    [ -z "$left" ] || fail "still mounted, so nothing was deleted: $(echo "$left" | tr '\n' ' ')"
}

remove_network() {
    for namespace in $(ip netns list 2>/dev/null | awk '$1 ~ /^cni-/ { print $1 }'); do
        ip netns delete "$namespace" 2>/dev/null || true
    done
    # Pinned programs and links: without the pins the kernel lets go of what is attached to interfaces and cgroups.
    rm -rf /sys/fs/bpf/cilium /sys/fs/bpf/tc/globals/cilium_*
    for link in $(ip -o link show | awk -F ': ' '{ sub(/@.*/, "", $2); print $2 }'); do
        case $link in
        cilium_* | lxc*) ip link delete "$link" 2>/dev/null || true ;;
        wt0) if [ -d "$router_state" ]; then ip link delete wt0 2>/dev/null || true; fi ;;
        *)
            if command -v tc >/dev/null 2>&1 && tc filter show dev "$link" ingress 2>/dev/null | grep -q cil_; then
                tc qdisc delete dev "$link" clsact 2>/dev/null || true
            fi
            ;;
        esac
    done
    if [ -d "$router_state" ]; then
        nft delete table ip netbird 2>/dev/null || true
        nft delete table ip6 netbird 2>/dev/null || true
        for priority in 105 110; do
            ip rule delete priority "$priority" 2>/dev/null || true
            ip -6 rule delete priority "$priority" 2>/dev/null || true
        done
        ip route flush table 7120 2>/dev/null || true
    fi
    # Of the guard (components/files/guard.sh).
    for priority in 100 101 102 103 104; do
        ip rule flush priority "$priority" 2>/dev/null || true
    done
    ip route flush table 7130 2>/dev/null || true
    ip link delete wt-refuse 2>/dev/null || true
    ip netns delete isthmus-refuse 2>/dev/null || true
    for tables in iptables ip6tables; do
        if command -v "$tables-save" >/dev/null 2>&1 && "$tables-save" 2>/dev/null | grep -Eq 'CILIUM_|KUBE-|ISTHMUS-'; then
            "$tables-save" | grep -Ev 'CILIUM_|KUBE-|ISTHMUS-' | "$tables-restore" || true
        fi
    done
}

remove_files() {
    # These may be mounts of the machine's owner; only what is in them is k3s's.
    for data in /var/lib/kubelet /var/lib/rancher; do
        if [ -d "$data" ]; then
            find "$data" -mindepth 1 -xdev -delete
            rmdir "$data" 2>/dev/null || true
        fi
    done
    rm -rf --one-file-system /etc/rancher /etc/cni /opt/cni /var/lib/cni /run/k3s /run/flannel \
        /run/cilium /var/run/cilium /var/log/pods /var/log/containers "$router_state" /var/lib/isthmus-guard \
        /var/lib/isthmus
    rm -f /usr/local/bin/k3s.new /etc/sysctl.d/99-zzz-override_cilium.conf /var/log/isthmus-install-k3s.log
    if [ "$1" = anew ]; then
        [ ! -e /usr/local/bin/k3s ] || mv -f /usr/local/bin/k3s /usr/local/bin/k3s.staged
        rm -f "$directory/applied"
        return
    fi
    rm -f /usr/local/bin/k3s /usr/local/bin/k3s.staged
    rm -rf "$directory"
}

# Not while an installation is at work. The lock is the one of install-k3s.
take_lock() {
    [ -d "$directory" ] || return 0
    exec 9>>"$directory/lock"
    flock --timeout "$lock_seconds" 9 || fail "install-k3s is at work on this machine ($(cat "$directory/lock")) and did" \
        "not end within $lock_seconds s; it ends by itself, try again then"
}

# The shell reads a script as it goes; as one function it is read whole before it deletes itself.
main() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    take_lock
    stop_units
    kill_pods
    remove_units
    unmount
    remove_network
    remove_files "${1:-}"
    say "k3s is gone from this machine"
}

main "$@"
