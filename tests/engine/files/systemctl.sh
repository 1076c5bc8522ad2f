#!/bin/sh
# systemctl of a machine of the tests (machine.py): it knows the two units of k3s. While k3s.service runs, the API of the
# tests is served at port 6443 of the machine, by way of systemd's own proxy. A start leaves a word on an empty disk and what
# Cilium makes in the kernel, and notes whether it might have begun a cluster. A unit does not start where a test has said so, nor with an argument that no kubelet
# and no API server knows.
set -eu

tests=/srv/tests
disk=/var/lib/rancher/k3s/word-of-this-disk
may_start=/var/lib/isthmus/may-start
units=/run/units # the process of each that runs
mkdir -p "$units"

start() {
    [ ! -e "$units/$1" ] || return 0
    [ -e "/etc/systemd/system/$1" ] || { echo "Unit $1 not found." >&2; exit 5; }
    /usr/local/bin/k3s --version >/dev/null
    echo none >"$units/$1"
    mkdir -p "${disk%/*}" /sys/class/net/cilium_host
    [ -e "$disk" ] || cat /proc/sys/kernel/random/uuid >"$disk"
    [ ! -e "$may_start" ] || echo "$1" >>"$tests/begun"
    [ "$1" = k3s.service ] || return 0
    umask 077
    cp "$tests/kubeconfig" /etc/rancher/k3s/k3s.yaml
    api=$(sed -n 's|.*"server": "https://\([^"]*\)".*|\1|p' "$tests/kubeconfig")
    setsid /usr/bin/systemd-socket-activate --listen="$(cat "$tests/address")" /lib/systemd/systemd-socket-proxyd "$api" \
        </dev/null >/dev/null 2>&1 &
    echo "$!" >"$units/$1"
}

restart() {
    date +%s%N >>/run/restarts
    if [ -e "$tests/fails" ] || grep -qs no-such-argument= /etc/rancher/k3s/config.yaml; then
        stop "$1"
        echo "Job for $1 failed." >&2
        exit 1
    fi
    start "$1"
    touch "$units/$1"
}

report() {
    setsid /usr/local/bin/k3s report </dev/null >/dev/null 2>&1 &
}

stop() {
    if [ -e "$units/$1" ]; then
        read -r process <"$units/$1"
        [ "$process" = none ] || kill "$process" 2>/dev/null || true
        rm "$units/$1"
    fi
}

command=$1
shift
unit=
for argument; do
    case $argument in
    -*) ;;
    *) unit=$argument ;;
    esac
done
case "$command $*" in
"is-active --quiet "*) [ -e "$units/$unit" ] ;;
"is-active "*) if [ -e "$units/$unit" ]; then echo active; else echo inactive && exit 3; fi ;;
"start "*) start "$unit" && report ;;
"restart "*) restart "$unit" && report ;;
"stop "* | "kill "* | "disable --now "*) stop "$unit" ;;
"daemon-reload "* | "enable "* | "disable "* | "reset-failed "*) ;;
*) echo "systemctl of the tests knows no: $command $*" >&2 && exit 1 ;;
esac
