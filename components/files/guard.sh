#!/bin/sh
# Keeps packets for the peers in the tunnel, on the node whose network it runs in. It looks once a second and puts right
# what is not so:
#   - a packet for one of RANGES leaves by NetBird's route, or is refused at once, whatever else the node has routes to;
#   - a packet for PODS or SERVICES leaves by Cilium's routes or is refused: before Cilium is up as well;
#   - from INTERFACE, an address of RANGES reaches the node's DNS relay and keeper, pods, services, and nothing else of the node
#     or behind it. Services are Cilium's before this node sees a packet for them; what comes here has no endpoint, and is refused.
# Nothing is taken away when it ends: what is laid here has to outlast it. From the node's next boot until a guard runs
# there again, the node's systemd refuses the same packets by a script that is left here.
#
# Environment: PODS_PRIORITY (of an ip rule, before PRIORITIES), INTERFACE (NetBird's), NETBIRD_TABLE (its routes), REFUSING_INTERFACE, TABLE (our routes), PRIORITIES (four,
# of our ip rules), RANGES (networks, space between), PODS and SERVICES (this cluster's), OPEN_PORT (of the relay), KEEPER_PORT (of
# the keeper; none without one), BOOT_DIRECTORY (the node's, for what runs at boot), HOST_ETC (the node's /etc as it is seen
# here), ONCE (1: one look).
# Needs iproute2 (that of busybox has no tables above 255), nsenter and iptables.
# Prints `STATE address=ADDRESS RANGE=WAY ...` when it changes and once a minute; WAY is tunnel, none or elsewhere.
set -u

: "${INTERFACE:?}" "${NETBIRD_TABLE:?}" "${REFUSING_INTERFACE:?}" "${TABLE:?}" "${PRIORITIES:?}" "${PODS_PRIORITY:?}" "${PODS:?}" "${SERVICES:?}" "${OPEN_PORT:?}"
: "${BOOT_DIRECTORY:?}" "${HOST_ETC:?}"
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
boot_script=$BOOT_DIRECTORY/at-boot
boots=$BOOT_DIRECTORY/boots # a line for each boot since the last guard
boots_without_guard=10
unit=$HOST_ETC/systemd/system/isthmus-guard.service
wanted_unit=$HOST_ETC/systemd/system/multi-user.target.wants/isthmus-guard.service
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
    # And with it the routes by it, where it was still there: the kernel takes a network down a while after its name.
    routes=
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
# then who refuses; and below all that a route that the kernel itself refuses with, which nothing can take away. Our own
# pods and services are reached by any route but the default one: Cilium's. A service that has no endpoints has no other
# (enableNoServiceEndpointsRoutable), and who refuses answers for it: a peer's pod is told at once.
#
# Calls $1_route and $1_rule for each. They are of the protocol "kernel", as Cilium's are: rules and routes of another one
# systemd-networkd removes where it did not make them (networkd.conf(5), ManageForeignRoutingPolicyRules=).
barrier() {
    for range in $ranges; do
        "$1_route" "$range"
        "$1_rule" "$second" "$range" "lookup $TABLE"
        "$1_rule" "$first" "$range" "lookup $NETBIRD_TABLE"
    done
    for own in "$PODS" "$SERVICES"; do
        "$1_rule" "$third" "$own" "lookup main suppress_prefixlength 0"
    done
    "$1_rule" "$fourth" "$PODS" unreachable
    "$1_route" "$SERVICES"
    "$1_rule" "$fourth" "$SERVICES" "lookup $TABLE"
}

lay_barrier() {
    routes=$(ip -4 route show table "$TABLE" 2>/dev/null)
    rules=$(ip -4 rule show)
    barrier lay
    # An earlier guard, or its script at the boot, refused services without an answer.
    case $rules in
    *"$fourth:	from all to $SERVICES unreachable"*) quietly ip -4 rule delete priority "$fourth" to "$SERVICES" unreachable ;;
    esac
}

# Pods leave by who refuses, on routers as on all other nodes: Cilium takes their packets there and leads them to the
# router that the policy names, by its own way on that router itself. What a pod sends straight into the interface Cilium
# loses on every other router: it would have to wrap it up for the way to that one, and the kernel drops what is redirected
# from an interface without Ethernet headers to one with them (__bpf_redirect_common, net/core/filter.c).
lay_pods() {
    [ -e "$attached" ] || return 0
    for range in $ranges; do
        case $range in
        */32) continue ;;
        esac
        case $rules in
        *"$PODS_PRIORITY:	from $PODS to $range lookup $TABLE"*) ;;
        *)
            ip -4 rule add priority "$PODS_PRIORITY" from "$PODS" to "$range" lookup "$TABLE" protocol kernel || return 1
            [ -z "${looked-}" ] || say "the ip rule $PODS_PRIORITY to $range was gone"
            ;;
        esac
    done
}

lay_route() {
    case $routes in
    *"unreachable $(without_length "$1") proto kernel metric 9999"*) ;;
    *) ip -4 route replace unreachable "$1" table "$TABLE" metric 9999 protocol kernel ;;
    esac
}

lay_rule() {
    case $rules in
    *"$1:	from all to $(without_length "$2") ${3%% suppress_prefixlength*}"*) ;;
    *)
        # shellcheck disable=SC2086 # several words
        ip -4 rule add priority "$1" to "$2" $3 protocol kernel || return 1
        [ -z "${looked-}" ] || say "the ip rule $1 to $2 was gone"
        ;;
    esac
}

lay_ways() {
    for range in $ranges "$SERVICES"; do
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

# What is no range any more. The rules first, so that nothing is refused that has another way now.
take_away() {
    for priority in $first $second; do
        ip -4 rule show priority "$priority" | while read -r _ _ _ _ network _; do
            kept "$network" || quietly ip -4 rule delete priority "$priority" to "$network"
        done
    done
    ip -4 rule show priority "$PODS_PRIORITY" | while read -r _ _ from _ network _; do
        [ "$from" = "$PODS" ] || continue
        kept "$network" || quietly ip -4 rule delete priority "$PODS_PRIORITY" from "$PODS" to "$network"
    done
    ip -4 route show table "$TABLE" 2>/dev/null | while read -r one two _; do
        network=$one
        [ "$one" != unreachable ] || network=$two
        kept "$network" || quietly ip -4 route flush exact "$network" table "$TABLE"
    done
}

kept() {
    for range in $ranges "$SERVICES"; do
        [ "$(without_length "$range")" != "$(without_length "$1")" ] || return 0
    done
    return 1
}

# --- what comes in ----------------------------------------------------------------------------------------------------

# A second lock behind NetBird's own packet filter, which is gone after `nft flush ruleset`. It speaks of the peers alone:
# who else may reach this node by NetBird is for NetBird's policies to say.
lay_filter() {
    quietly ip link show dev "$INTERFACE" || return 0
    if [ "$(iptables --wait -S "$chain" 2>/dev/null)" != "$known_rules" ]; then
        quietly iptables --wait -N "$chain"
        quietly iptables --wait -N "$open"
        {
            echo '*filter'
            echo "-F $chain"
            echo "$wanted_rules" | sed 1d
            echo COMMIT
        } | iptables-restore --wait --noflush || return 1
        # Versions of iptables write a rule differently; what is not whole is nobody's writing.
        known_rules=$(iptables --wait -S "$chain")
        [ "$(echo "$known_rules" | wc -l)" -eq "$(echo "$wanted_rules" | wc -l)" ] || known_rules=$wanted_rules
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
    echo "-A $chain -d $SERVICES -j RETURN"
    echo "-A $chain -p icmp -j RETURN"
    echo "-A $chain -p udp -m udp --dport $OPEN_PORT -j RETURN"
    echo "-A $chain -p tcp -m tcp --dport $OPEN_PORT -j RETURN"
    [ -z "${KEEPER_PORT-}" ] || echo "-A $chain -p udp -m udp --dport $KEEPER_PORT -j RETURN"
    for range in $ranges; do
        echo "-A $chain -s $range -j DROP"
    done
}

# --- from a boot until a guard runs -----------------------------------------------------------------------------------

# A unit of the node's own systemd lays the barrier before the node has a network: the router and pods come to life with
# k3s, before or after this guard.
keep_for_boot() {
    if [ -z "$ranges" ]; then
        [ ! -e "$boot_script" ] || rm -f "$wanted_unit" "$unit" "$boots" "$boot_script"
        return 0
    fi
    [ ! -e "$boots" ] || rm -f "$boots"
    # What is in them changes only with the settings, and with those the guard.
    [ -z "${looked-}" ] || [ ! -e "$unit" ] || [ ! -e "$boot_script" ] || [ ! -L "$wanted_unit" ] || return 0
    # Without systemd, or where /etc is made anew at each boot.
    [ -d "$HOST_ETC/systemd/system" ] || return 1
    put 600 "$boot_script" "$(boot_text)" || return 1
    put 644 "$unit" "$(unit_text)" || return 1
    [ -L "$wanted_unit" ] || {
        mkdir -p "${wanted_unit%/*}" && ln -s "../${unit##*/}" "$wanted_unit"
    }
}

# What is read at boot is whole or is what was there before, also when the power goes.
put() {
    [ "$(cat "$2" 2>/dev/null)" != "$3" ] || return 0
    (
        umask 077
        printf '%s\n' "$3" >"$2.new"
    ) && chmod "$1" "$2.new" && sync "$2.new" && mv "$2.new" "$2"
}

unit_text() {
    cat <<END
# Written by Isthmus's guard (DaemonSet isthmus-guard).
[Unit]
Description=Isthmus: packets for peers are refused until the guard runs
DefaultDependencies=no
After=local-fs.target
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists=$boot_script

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh $boot_script

[Install]
WantedBy=multi-user.target
END
}

# A cluster that is not linked any more has nobody who takes this away. A node that flickers must not lose it.
boot_text() {
    cat <<END
#!/bin/sh
# Written by Isthmus's guard (DaemonSet isthmus-guard): from a boot of this node until the guard runs, packets for peers
# leave by NetBird's route or are refused, and packets for this cluster's pods and services by Cilium's. A guard that runs
# puts the count of boots back; after $boots_without_guard boots without one, the next removes this.
echo >>$boots
if [ "\$(wc -l <$boots)" -gt $boots_without_guard ]; then
    echo "no guard has run since $boots_without_guard boots: nothing is refused any more, and this is removed"
    rm -f /etc/systemd/system/multi-user.target.wants/${unit##*/} /etc/systemd/system/${unit##*/}
    rm -f $boot_script $boots
    exit 0
fi
failed=0
lay() {
    said=\$(ip -4 "\$@" 2>&1) && return
    case \$said in
    *"File exists"*) ;;
    *)
        echo "ip -4 \$*: \$said" >&2
        failed=1
        ;;
    esac
}
$(barrier write)
exit \$failed
END
}

write_route() {
    echo "lay route replace unreachable $1 table $TABLE metric 9999 protocol kernel"
}

write_rule() {
    echo "lay rule add priority $1 to $2 $3 protocol kernel"
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
known_rules=$wanted_rules # as iptables writes them
take_away
said=
age=0
looked=
while :; do
    lay_barrier
    lay_refusing || say "nothing refuses politely on this node; the kernel does"
    lay_ways
    lay_pods
    lay_filter
    keep_for_boot || [ -n "$looked" ] || say "at a boot nothing refuses on this node before its guard runs: no systemd unit" \
        "can be left in its /etc/systemd/system"
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
