#!/bin/sh
# Keeps packets for the peers in the tunnel, on the node whose network it runs in. It looks once a second and puts right
# what is not so:
#   - a packet for one of RANGES leaves by NetBird's route, or is refused at once, whatever else the node has routes to;
#   - a packet for PODS or SERVICES leaves by Cilium's routes or is refused: before Cilium is up as well;
#   - from INTERFACE, an address of RANGES reaches the node's DNS relay, the pods and nothing else of the node or behind it.
# Nothing is taken away when it ends: what is laid here has to outlast it.
#
# Environment: INTERFACE (NetBird's), NETBIRD_TABLE (its routes), REFUSING_INTERFACE, TABLE (our routes), PRIORITIES (four,
# of our ip rules), RANGES (networks, space between), PODS and SERVICES (this cluster's), OPEN_PORT (of the relay), ONCE (1: one look).
# Needs iproute2 (that of busybox has no tables above 255), nsenter and iptables.
# Prints `STATE address=ADDRESS RANGE=WAY ...` when it changes and once a minute; WAY is tunnel, none or elsewhere.
set -u

: "${INTERFACE:?}" "${NETBIRD_TABLE:?}" "${REFUSING_INTERFACE:?}" "${TABLE:?}" "${PRIORITIES:?}" "${PODS:?}" "${SERVICES:?}" "${OPEN_PORT:?}"
ranges=${RANGES-}
read -r first second third fourth <<EOT
$PRIORITIES
EOT
namespace=isthmus-refuse
here=169.254.86.1
there=169.254.86.2
made_as="isthmus 1" # another number makes the refusing network anew
chain=ISTHMUS-GUARD
open=ISTHMUS-OPEN # for whoever wants to let in more; it is made empty and then left alone
attached=/sys/fs/bpf/cilium/devices/$REFUSING_INTERFACE

say() {
    printf 'guard: %s\n' "$*" >&2
}

quietly() {
    "$@" >/dev/null 2>&1
}

without_length() {
    printf '%s' "${1%/32}"
}

# --- who refuses ------------------------------------------------------------------------------------------------------

# A network of its own that answers each packet: a client hears of it in its first try. A SYN gets a reset: an ICMP error
# would be back before the sender's connect() has let go of its socket, and then counts only at the next SYN, a second
# later (tcp_v4_err). What belongs to a connection gets the ICMP error, which that survives. The error is "prohibited": of
# those that say unreachable the kernel tells a UDP socket nothing (icmp_err_convert).
lay_refusing() {
    case $(ip -4 -oneline address show dev "$REFUSING_INTERFACE" 2>/dev/null; ip link show dev "$REFUSING_INTERFACE" 2>/dev/null) in
    # The address comes last, so what has it is whole.
    *"inet $here/30"*"alias $made_as"*)
        if [ -e "/run/netns/$namespace" ]; then
            quietly ip link set dev "$REFUSING_INTERFACE" up
            return 0
        fi
        ;;
    esac
    quietly ip link delete dev "$REFUSING_INTERFACE"
    quietly ip netns delete "$namespace"
    ip netns add "$namespace" || return 1
    ip link add name "$REFUSING_INTERFACE" type veth peer name refused netns "$namespace" || return 1
    nsenter "--net=/run/netns/$namespace" sh -c "
        set -e
        # Before anything can come in: answers have the node's way back, all else has none.
        ip rule add priority 20 iif refused prohibit
        ip link set dev lo up
        ip address add $there/30 dev refused
        ip link set dev refused up
        ip route add default via $here dev refused
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
        echo 0 >/proc/sys/net/ipv4/conf/refused/rp_filter
        # By default one answer a second for each client, and a thousand for all.
        echo 0 >/proc/sys/net/ipv4/icmp_ratemask
        # A kernel without REJECT keeps the rule.
        if iptables --wait -A FORWARD -p tcp --syn -j REJECT --reject-with tcp-reset &&
            iptables --wait -A FORWARD -j REJECT --reject-with icmp-admin-prohibited; then
            ip rule delete priority 20
        fi
    " || return 1
    ip link set dev "$REFUSING_INTERFACE" alias "$made_as"
    ip address add "$here/30" dev "$REFUSING_INTERFACE" || return 1
    ip link set dev "$REFUSING_INTERFACE" up
}

# --- where packets for the peers go -----------------------------------------------------------------------------------

# Each range has, in this order: NetBird's own routes (first rule); in our table, for a router's address, the interface;
# then who refuses; and below all that a route that the kernel itself refuses with, which nothing can take away.
lay_barrier() {
    routes=$(ip -4 route show table "$TABLE" 2>/dev/null)
    rules=$(ip -4 rule show)
    for range in $ranges; do
        network=$(without_length "$range")
        case $routes in
        *"unreachable $network metric 9999"*) ;;
        *) ip -4 route replace unreachable "$range" table "$TABLE" metric 9999 ;;
        esac
        rule "$second" "$network" "$TABLE"
        rule "$first" "$network" "$NETBIRD_TABLE"
    done
    # By any route but the default one: Cilium's.
    for own in "$PODS" "$SERVICES"; do
        own_rule "$third" "$own" "lookup main suppress_prefixlength 0"
        own_rule "$fourth" "$own" unreachable
    done
}

own_rule() {
    case $rules in
    *"$1:	from all to $2 "*) ;;
    *)
        # shellcheck disable=SC2086 # several words
        ip -4 rule add priority "$1" to $2 $3 || return 1
        [ -z "${looked-}" ] || say "the ip rule $1 to $2 was gone"
        ;;
    esac
}

lay_ways() {
    for range in $ranges; do
        network=$(without_length "$range")
        if [ -e "$attached" ]; then
            case $routes in
            *"$network via $there dev $REFUSING_INTERFACE metric 100"*) ;;
            *) quietly ip -4 route replace "$range" via "$there" dev "$REFUSING_INTERFACE" table "$TABLE" metric 100 ;;
            esac
        fi
        case $range in
        */32)
            case $routes in
            *"$network dev $INTERFACE scope link metric 10"*) ;;
            # Without the interface it fails, and the kernel removes it with the interface.
            *) quietly ip -4 route replace "$range" dev "$INTERFACE" table "$TABLE" metric 10 ;;
            esac
            ;;
        esac
    done
}

rule() {
    case $rules in
    *"$1:	from all to $2 lookup $3"*) ;;
    *)
        ip -4 rule add priority "$1" to "$2" lookup "$3" || return 1
        [ -z "${looked-}" ] || say "the ip rule $1 to $2 was gone"
        ;;
    esac
}

# What is no range any more. The rules first, so that nothing is refused that has another way now.
take_away() {
    for priority in $first $second; do
        ip -4 rule show priority "$priority" | while read -r _ _ _ _ network _; do
            kept "$network" || quietly ip -4 rule delete priority "$priority" to "$network"
        done
    done
    ip -4 route show table "$TABLE" 2>/dev/null | while read -r one two _; do
        network=$one
        [ "$one" != unreachable ] || network=$two
        kept "$network" || quietly ip -4 route flush exact "$network" table "$TABLE"
    done
}

kept() {
    for range in $ranges; do
        [ "$(without_length "$range")" != "$(without_length "$1")" ] || return 0
    done
    return 1
}

# --- what comes in ----------------------------------------------------------------------------------------------------

# A second lock behind NetBird's own packet filter, which is gone after `nft flush ruleset`. It speaks of the peers alone:
# who else may reach this node by NetBird is for NetBird's policies to say.
lay_filter() {
    quietly ip link show dev "$INTERFACE" || return 0
    if [ "$(iptables --wait -S "$chain" 2>/dev/null)" != "$wanted_rules" ]; then
        quietly iptables --wait -N "$chain"
        quietly iptables --wait -N "$open"
        {
            echo '*filter'
            echo "-F $chain"
            echo "$wanted_rules" | sed 1d
            echo COMMIT
        } | iptables-restore --wait --noflush || return 1
        [ -z "${looked-}" ] || say "the packet filter of $INTERFACE was gone or changed"
    fi
    for hook in INPUT FORWARD; do
        case $(iptables --wait -S "$hook" 1 2>/dev/null) in
        "-A $hook -i $INTERFACE -j $chain") ;;
        *)
            # Another first rule may let through what this must not.
            while quietly iptables --wait -D "$hook" -i "$INTERFACE" -j "$chain"; do :; done
            iptables --wait -I "$hook" 1 -i "$INTERFACE" -j "$chain"
            ;;
        esac
    done
}

filter_rules() {
    echo "-N $chain"
    echo "-A $chain -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
    echo "-A $chain -j $open"
    echo "-A $chain -d $PODS -j RETURN"
    echo "-A $chain -p icmp -j RETURN"
    echo "-A $chain -p udp -m udp --dport $OPEN_PORT -j RETURN"
    echo "-A $chain -p tcp -m tcp --dport $OPEN_PORT -j RETURN"
    for range in $ranges; do
        echo "-A $chain -s $range -j DROP"
    done
}

# --- what is so -------------------------------------------------------------------------------------------------------

state() {
    address=$(ip -4 -oneline address show dev "$INTERFACE" 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4; exit }')
    printf 'STATE address=%s' "$address"
    for range in $ranges; do
        # The route covers all of a range or none of it.
        way=$(ip -4 route get "$(first_host "$range")" 2>/dev/null)
        case $way in
        *"dev $INTERFACE "*) way=tunnel ;;
        *"dev $REFUSING_INTERFACE "* | '' | unreachable*) way=none ;;
        *) way=elsewhere ;;
        esac
        printf ' %s=%s' "$range" "$way"
    done
    echo
}

first_host() {
    case $1 in
    */32) without_length "$1" ;;
    *) echo "${1%/*}" | awk -F. '{ print $1 "." $2 "." $3 "." $4 + 1 }' ;;
    esac
}

wanted_rules=$(filter_rules)
take_away
said=
age=0
looked=
while :; do
    lay_barrier
    lay_refusing || say "nothing refuses politely on this node; the kernel does"
    lay_ways
    lay_filter
    seen=$(state)
    if [ "$seen" != "$said" ] || [ "$age" -ge 60 ]; then
        echo "$seen"
        said=$seen
        age=0
    fi
    [ -z "${ONCE-}" ] || exit 0
    looked=1
    age=$((age + 1))
    sleep 1
done
