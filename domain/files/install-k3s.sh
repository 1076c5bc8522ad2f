#!/bin/sh
# Makes this machine a node of k3s, or brings a node up to date. Run as root, as often as one likes: it does what is left to
# do, and restarts k3s only when its binary, settings or unit have changed.
#
# What to install stands in k3s.env beside this file; k3s's settings, registries and unit are files as well. All of them were
# put here together. Secrets are in those files only: never on a command line, never in the output.
#
# With the word "stage" it only brings the binary, whose address and checksum are then in its environment, and lays it beside
# the one that runs. The next run without that word takes it from there.
#
# It ends by itself: after total_seconds, and when nobody reads what it says any more. The machine does not end what a
# connection has started when the connection goes; so it says every few seconds what it waits for, and a word that can't be
# said is its end.
set -eu

directory=/usr/local/lib/isthmus
binary=/usr/local/bin/k3s
staged=/usr/local/bin/k3s.staged # its checksum is right
config=/etc/rancher/k3s/config.yaml
registries=/etc/rancher/k3s/registries.yaml
password=/etc/rancher/node/password
may_start=/var/lib/isthmus/may-start
applied=$directory/applied # what k3s was last started with

total_seconds=1500   # below what the program gives it (components/on_premise.py)
lock_seconds=300     # another run that lost its connection ends by itself before
address_seconds=300  # Hetzner attaches the private network while the server boots
download_seconds=900 # the network may not be there yet, or be slow
ready_seconds=900    # a first start pulls images; an agent waits for its server
pause_seconds=3
tick_seconds=9
child=

say() {
    printf 'install-k3s: %s\n' "$*"
}

fail() {
    printf 'install-k3s: %s\n' "$*" >&2
    exit 1
}

now() {
    date +%s
}

# The end of a wait of $1 seconds: never later than the end of the whole.
until_after() {
    at=$(($(now) + $1))
    [ "$at" -le "$end_time" ] || at=$end_time
    echo "$at"
}

# What is waited for, every few seconds. With nobody there to hear it this ends the run.
tick() {
    at=$(now)
    [ "$at" -ge "$next_tick" ] || return 0
    next_tick=$((at + tick_seconds))
    printf 'install-k3s: waiting: %s\n' "$*" >&2 || exit 1
}

# Runs a command that is silent by itself, with word of what is waited for.
watched() {
    what=$1
    shift
    "$@" 9>&- &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        tick "$what"
        sleep 1
    done
    status=0
    wait "$child" || status=$?
    child=
    return "$status"
}

stop_child() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
}

check_machine() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    [ -d /run/systemd/system ] || fail "this machine does not run systemd"
    [ -r "$directory/k3s.env" ] || fail "$directory/k3s.env is missing"
    [ -r "$config" ] || fail "$config is missing"
}

check_architecture() {
    case $ISTHMUS_K3S_URL in
    *-arm64) built_for=aarch64 ;;
    *) built_for=x86_64 ;;
    esac
    [ "$(uname -m)" = "$built_for" ] || fail "this machine is $(uname -m); the binary and its checksum are for $built_for"
}

wait_for_address() {
    until_time=$(until_after "$address_seconds")
    until ip -4 -o address show | grep -qF " $ISTHMUS_NODE_ADDRESS/"; do
        if [ "$(now)" -ge "$until_time" ]; then
            ip -4 -o address show >&2
            fail "no interface has the node's address $ISTHMUS_NODE_ADDRESS after $address_seconds s (addresses above)"
        fi
        tick "an interface with the node's address $ISTHMUS_NODE_ADDRESS"
        sleep "$pause_seconds"
    done
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# One attempt; whatever of the three the system has. A transfer that stands still for a minute is given up.
fetch() {
    if command -v curl >/dev/null 2>&1; then
        exec timeout "$3" curl --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1 --speed-time 60 \
            --output "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        exec timeout "$3" wget --quiet --tries=1 --timeout=60 --output-document="$2" "$1"
    else
        exec timeout "$3" python3 -c '
import shutil, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
' "$1" "$2"
    fi
}

is_wanted() {
    [ -f "$1" ] && [ "$(sum_of "$1")" = "$ISTHMUS_K3S_SHA256" ]
}

stage_binary() {
    ! is_wanted "$staged" || return 0
    command -v curl >/dev/null 2>&1 || command -v wget >/dev/null 2>&1 || command -v python3 >/dev/null 2>&1 ||
        fail "none of curl, wget and python3 is there to download k3s with"
    say "downloading $ISTHMUS_K3S_URL"
    until_time=$(until_after "$download_seconds")
    # A run that was cut off may have left a transfer that still writes: into a file without a name from now on.
    rm -f "$binary.new"
    until watched "the download of $ISTHMUS_K3S_URL" fetch "$ISTHMUS_K3S_URL" "$binary.new" "$download_seconds"; do
        [ "$(now)" -lt "$until_time" ] || fail "could not download $ISTHMUS_K3S_URL within $download_seconds s"
        sleep "$pause_seconds"
    done
    found=$(sum_of "$binary.new")
    if [ "$found" != "$ISTHMUS_K3S_SHA256" ]; then
        rm -f "$binary.new"
        fail "the checksum of $ISTHMUS_K3S_URL is $found; the setting k3s.sha256 is $ISTHMUS_K3S_SHA256"
    fi
    mv -f "$binary.new" "$staged"
}

install_binary() {
    if is_wanted "$binary"; then
        chmod 0755 "$binary"
        rm -f "$staged"
        return
    fi
    stage_binary
    chmod 0755 "$staged"
    mv -f "$staged" "$binary"
    say "installed k3s $ISTHMUS_K3S_VERSION"
}

# A machine whose role was changed, or whose mirrors are gone.
remove_what_is_not_wanted() {
    for other in k3s.service k3s-agent.service; do
        if [ "$other" != "$ISTHMUS_K3S_UNIT" ] && [ -e "/etc/systemd/system/$other" ]; then
            say "removing $other"
            systemctl disable --now --quiet "$other" || true
            rm -f "/etc/systemd/system/$other"
        fi
    done
    if [ "$ISTHMUS_REGISTRIES" = no ]; then
        rm -f "$registries"
    fi
}

# k3s knows a node by this password and makes one up where there is none, so a machine that was installed anew would be
# refused under its name. A node that runs keeps the one that it has.
place_password() {
    if [ ! -s "$password" ]; then
        mkdir -p "${password%/*}"
        cp "$directory/node-password" "$password.new"
        mv -f "$password.new" "$password"
    fi
}

wanted_state() {
    for file in "$config" "$registries" "/etc/systemd/system/$ISTHMUS_K3S_UNIT"; do
        if [ -f "$file" ]; then
            sha256sum "$file"
        fi
    done
    printf '%s\n' "$ISTHMUS_K3S_SHA256"
}

start() {
    systemctl daemon-reload
    systemctl enable --quiet "$ISTHMUS_K3S_UNIT"
    if [ -f "$applied" ] && [ "$(cat "$applied")" = "$(wanted_state)" ]; then
        systemctl start --no-block "$ISTHMUS_K3S_UNIT"
        return
    fi
    say "starting $ISTHMUS_K3S_UNIT"
    systemctl reset-failed --quiet "$ISTHMUS_K3S_UNIT" 2>/dev/null || true # the count of restarts as well
    # A run that ends between these two has started it, and the next one can't know with what.
    rm -f "$applied"
    systemctl restart --no-block "$ISTHMUS_K3S_UNIT"
    wanted_state >"$applied.new"
    mv -f "$applied.new" "$applied"
}

ready() {
    systemctl is-active --quiet "$ISTHMUS_K3S_UNIT" || return 1
    [ "$ISTHMUS_K3S_ROLE" = agent ] || [ "$(timeout 20 "$binary" kubectl get --raw /readyz 2>/dev/null)" = ok ]
}

# How often systemd has started k3s again, since it had ended by itself.
restarts() {
    systemctl show --property=NRestarts --value "$ISTHMUS_K3S_UNIT" 2>/dev/null | grep '^[0-9][0-9]*$' || echo 0
}

# The state of the unit; of a k3s that ends again and again also how often, and the last that it complained of. Nothing ends
# on that by itself: one that joins ends as often as a server that it needs is away.
state_of_unit() {
    printf %s "$(systemctl is-active "$ISTHMUS_K3S_UNIT" || true)"
    ended=$(($(restarts) - restarts_before))
    [ "$ended" -gt 0 ] || return 0
    printf ' and ends again and again (%s so far)' "$ended"
    journalctl --unit "$ISTHMUS_K3S_UNIT" --lines 200 --output cat --no-pager 2>/dev/null |
        grep -E 'level=(fatal|error)|Incorrect Usage|^Error: |^panic: ' | tail -n 1 | cut -c 1-300 |
        sed 's/^/, last with: /'
}

wait_until_ready() {
    until_time=$(until_after "$ready_seconds")
    restarts_before=$(restarts)
    until ready; do
        if [ "$(now)" -ge "$until_time" ]; then
            journalctl --unit "$ISTHMUS_K3S_UNIT" --lines 20 --no-pager >&2 || true
            fail "$ISTHMUS_K3S_UNIT is $(state_of_unit) and not ready after $ready_seconds s (its last lines above)"
        fi
        tick "$ISTHMUS_K3S_UNIT, which is $(state_of_unit)"
        sleep "$pause_seconds"
    done
}

main() {
    end_time=$(($(now) + total_seconds))
    next_tick=$(($(now) + tick_seconds))
    trap stop_child EXIT
    trap 'exit 1' PIPE HUP TERM
    check_machine
    umask 077
    # One at a time: the first boot and a login over SSH may come together.
    exec 9>>"$directory/lock"
    until_time=$(until_after "$lock_seconds")
    until flock --nonblock 9; do
        [ "$(now)" -lt "$until_time" ] || fail "another run is at work on this machine ($(cat "$directory/lock")) and" \
            "did not end within $lock_seconds s; it ends by itself after $total_seconds s at the latest, try again then"
        tick "another run on this machine ($(cat "$directory/lock"))"
        sleep "$pause_seconds"
    done
    printf 'process %s since %s\n' "$$" "$(date '+%H:%M:%S')" >"$directory/lock"
    if [ "${1:-}" = stage ]; then
        check_architecture
        is_wanted "$binary" || stage_binary
        say "the binary of $ISTHMUS_K3S_URL is there"
        return
    fi
    # shellcheck source=/dev/null
    . "$directory/k3s.env"
    check_architecture
    wait_for_address
    install_binary
    remove_what_is_not_wanted
    place_password
    start
    wait_until_ready
    rm -f "$may_start" # it has begun its cluster, or joined one
    say "$ISTHMUS_NODE_NAME is up ($ISTHMUS_K3S_ROLE, k3s $ISTHMUS_K3S_VERSION)"
}

main "$@"
