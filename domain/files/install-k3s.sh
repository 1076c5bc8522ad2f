#!/bin/sh
# Makes this machine a node of k3s, or brings a node up to date. Run as root, as often as one likes: it does what is left to
# do, and restarts k3s only when its binary, settings or unit have changed.
#
# What to install stands in k3s.env beside this file; k3s's settings, registries and unit are files as well. All of them were
# put here together. Secrets are in those files only: never on a command line, never in the output.
set -eu

directory=/usr/local/lib/isthmus
binary=/usr/local/bin/k3s
config=/etc/rancher/k3s/config.yaml
registries=/etc/rancher/k3s/registries.yaml
applied=$directory/applied # what k3s was last started with

address_seconds=300  # Hetzner attaches the private network while the server boots
download_seconds=900 # the network may not be there yet, or be slow
ready_seconds=900    # a first start pulls images; an agent waits for its server
pause_seconds=3

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

check_machine() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    [ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m); k3s.sha256 is the checksum of the x86_64 binary"
    [ -d /run/systemd/system ] || fail "this machine does not run systemd"
    [ -r "$directory/k3s.env" ] || fail "$directory/k3s.env is missing"
    [ -r "$config" ] || fail "$config is missing"
}

wait_for_address() {
    until_time=$(($(now) + address_seconds))
    until ip -4 -o address show | grep -qF " $ISTHMUS_NODE_ADDRESS/"; do
        if [ "$(now)" -ge "$until_time" ]; then
            ip -4 -o address show >&2
            fail "no interface has the node's address $ISTHMUS_NODE_ADDRESS after $address_seconds s (addresses above)"
        fi
        sleep "$pause_seconds"
    done
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# One attempt; whatever of the three the system has. A transfer that stands still for a minute is given up.
fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1 --speed-time 60 \
            --output "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --tries=1 --timeout=60 --output-document="$2" "$1"
    elif command -v python3 >/dev/null 2>&1; then
        python3 -c '
import shutil, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
' "$1" "$2"
    else
        fail "none of curl, wget and python3 is there to download k3s with"
    fi
}

install_binary() {
    if [ -f "$binary" ] && [ "$(sum_of "$binary")" = "$ISTHMUS_K3S_SHA256" ]; then
        chmod 0755 "$binary"
        return
    fi
    say "downloading $ISTHMUS_K3S_URL"
    until_time=$(($(now) + download_seconds))
    until fetch "$ISTHMUS_K3S_URL" "$binary.new"; do
        [ "$(now)" -lt "$until_time" ] || fail "could not download $ISTHMUS_K3S_URL within $download_seconds s"
        sleep "$pause_seconds"
    done
    found=$(sum_of "$binary.new")
    if [ "$found" != "$ISTHMUS_K3S_SHA256" ]; then
        rm -f "$binary.new"
        fail "the checksum of $ISTHMUS_K3S_URL is $found; the setting k3s.sha256 is $ISTHMUS_K3S_SHA256"
    fi
    chmod 0755 "$binary.new"
    mv -f "$binary.new" "$binary"
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
    systemctl reset-failed --quiet "$ISTHMUS_K3S_UNIT" 2>/dev/null || true
    systemctl restart --no-block "$ISTHMUS_K3S_UNIT"
    wanted_state >"$applied.new"
    mv -f "$applied.new" "$applied"
}

ready() {
    systemctl is-active --quiet "$ISTHMUS_K3S_UNIT" || return 1
    [ "$ISTHMUS_K3S_ROLE" = agent ] || [ "$("$binary" kubectl get --raw /readyz 2>/dev/null)" = ok ]
}

wait_until_ready() {
    until_time=$(($(now) + ready_seconds))
    until ready; do
        if [ "$(now)" -ge "$until_time" ]; then
            journalctl --unit "$ISTHMUS_K3S_UNIT" --lines 20 --no-pager >&2 || true
            fail "$ISTHMUS_K3S_UNIT is $(systemctl is-active "$ISTHMUS_K3S_UNIT" || true) and not ready after" \
                "$ready_seconds s (its last lines above)"
        fi
        sleep "$pause_seconds"
    done
}

main() {
    check_machine
    umask 077
    # One at a time: the first boot and a login over SSH may come together.
    exec 9>"$directory/lock"
    flock --timeout "$((address_seconds + download_seconds + ready_seconds))" 9 || fail "another run does not end"
    # shellcheck source=/dev/null
    . "$directory/k3s.env"
    wait_for_address
    install_binary
    remove_what_is_not_wanted
    start
    wait_until_ready
    say "$ISTHMUS_NODE_NAME is up ($ISTHMUS_K3S_ROLE, k3s $ISTHMUS_K3S_VERSION)"
}

main "$@"
