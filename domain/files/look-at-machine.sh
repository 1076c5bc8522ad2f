#!/bin/sh
# Says what this machine is, a fact a line: a name, a space, a value. It changes nothing, and needs no right that any user
# has not got; what a user may not see, it says nothing of. The arguments are the addresses of the other nodes, each with
# the ports to try there: ADDRESS:PORT of TCP, udp:ADDRESS:PORT of UDP.
set -u
PATH=$PATH:/usr/sbin:/sbin

fact() {
    printf '%s %s\n' "$1" "$2"
}

yes_or_no() {
    if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi
}

# Whether the kernel has it built in, loaded or to be loaded.
kernel_part() {
    [ -d "/sys/module/$1" ] || modprobe --dry-run --quiet "$1"
}

counts_memory() {
    awk '$1 == "memory" && $4 == 1 { found = 1 } END { exit !found }' /proc/cgroups
}

leaves_foreign_routes() {
    systemd-analyze cat-config systemd/networkd.conf | grep -Eqi '^ManageForeignRoutes=(no|false|0|off)'
}

active() {
    [ "$(systemctl is-active "$1" 2>/dev/null)" = active ]
}

fact user "$(id -un)"
if [ "$(id -u)" = 0 ]; then fact root yes; else fact root "$(yes_or_no sudo -n true)"; fi
fact architecture "$(uname -m)"
fact kernel "$(uname -r)"
fact systemd "$(yes_or_no test -d /run/systemd/system)"
fact hostname "$(uname -n)"
fact machine_id "$(cat /etc/machine-id 2>/dev/null)"
fact time "$(date +%s)"
fact memory_kib "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)"
fact disk_kib "$(df -Pk /var/lib | awk 'NR == 2 { print $4 }')"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    fact memory_cgroup "$(yes_or_no grep -qw memory /sys/fs/cgroup/cgroup.controllers)"
else
    fact memory_cgroup "$(yes_or_no counts_memory)"
fi
fact vxlan "$(yes_or_no kernel_part vxlan)"
if [ -c /dev/net/tun ]; then fact tun yes; else fact tun "$(yes_or_no kernel_part tun)"; fi
fact ours "$(yes_or_no test -d /usr/local/lib/isthmus)"

ip -4 -o address show | awk '{ sub("/.*", "", $4); print "address " $4 }'
ip -o link show | awk -F ': ' '{ sub("@.*", "", $2); print "link " $2 }'

for unit in firewalld ufw docker containerd crio kubelet k0scontroller k0sworker rke2-server rke2-agent k3s k3s-agent \
    snap.microk8s.daemon-kubelite netbird tailscaled NetworkManager systemd-networkd nm-cloud-setup.timer; do
    if active "$unit"; then fact unit "$unit"; fi
done
# A unit that has done its work is active with the firewall off.
if [ -r /etc/ufw/ufw.conf ] && grep -qi '^ENABLED=no' /etc/ufw/ufw.conf; then fact ufw off; fi
for place in /etc/rancher /etc/kubernetes/manifests /var/lib/rancher/k3s; do
    if [ -e "$place" ]; then fact there "$place"; fi
done
for file in /etc/cni/net.d/*; do
    if [ -e "$file" ]; then fact there "$file"; fi
done
fact foreign_routes "$(yes_or_no leaves_foreign_routes)"
for tool in base64 tar flock sha256sum timeout ip awk; do
    command -v "$tool" >/dev/null 2>&1 || fact missing "$tool"
done
command -v curl >/dev/null 2>&1 || command -v wget >/dev/null 2>&1 || command -v python3 >/dev/null 2>&1 ||
    fact missing "curl, wget and python3"
# Who listens where nodes do: local addresses of sockets in the state LISTEN (0A), in hexadecimal.
for sockets in /proc/net/tcp /proc/net/tcp6; do
    if [ -r "$sockets" ]; then
        awk '$4 == "0A" { sub(".*:", "", $2); print "listens " $2 }' "$sockets"
    fi
done
for sockets in /proc/net/udp /proc/net/udp6; do
    if [ -r "$sockets" ]; then
        awk 'NR > 1 { sub(".*:", "", $2); print "hears " $2 }' "$sockets"
    fi
done

# Of a UDP port where nobody listens word comes back (ICMP), and the next packet that is sent gets it. 2 s of them; 3 when
# no word came. A bash that knows no /dev/udp, or no way there, ends otherwise.
try_udp() {
    bash -c "exec 3<>/dev/udp/$1/$2 || exit 1; for each in 1 2 3 4 5; do printf . >&3 || exit 0; sleep 0.4; done; exit 3" \
        2>/dev/null
}

# A TCP port where nobody listens is refused at once; where packets are dropped nothing comes.
if command -v bash >/dev/null 2>&1; then
    for other in "$@"; do
        place=${other#udp:}
        (
            status=0
            if [ "$place" != "$other" ]; then
                try_udp "${place%:*}" "${place##*:}" || status=$?
                if [ "$status" = 3 ]; then fact unheard "$place"; fi
                exit
            fi
            timeout 3 bash -c "exec 3<>/dev/tcp/${place%:*}/${place##*:}" 2>/dev/null || status=$?
            if [ "$status" = 124 ]; then fact silent "$place"; fi
        ) &
    done
    wait
fi
fact end yes
