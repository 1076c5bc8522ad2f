#!/bin/sh
# Says with which settings k3s was last started on this machine: a SHA-256 checksum of its config file, without the settings
# that are named on the command line, and of its registries; or "others", where a file was changed since. Run as root, it
# changes nothing. No secret is said: what is one has to be named.
#
# The config file is as domain/node_files.py writes it: a setting begins a line, and what belongs to it is indented or an
# entry of a list.
set -eu

config=/etc/rancher/k3s/config.yaml
registries=/etc/rancher/k3s/registries.yaml
applied=/usr/local/lib/isthmus/applied # what k3s was last started with, see install-k3s.sh

say() {
    printf 'say-k3s-settings: %s\n' "$*"
}

sums() {
    for file in "$config" "$registries"; do
        [ ! -f "$file" ] || sha256sum "$file"
    done
}

without() {
    kept=yes
    while IFS= read -r line; do
        case $line in
        '' | ' '* | -*) ;;
        *)
            kept=yes
            for name; do
                [ "${line%%:*}" != "$name" ] || kept=no
            done
            ;;
        esac
        [ "$kept" = no ] || printf '%s\n' "$line"
    done <"$config"
}

main() {
    [ -r "$config" ] || {
        say "$config is missing" >&2
        exit 1
    }
    if [ ! -f "$applied" ] || [ "$(grep -F "  ${config%/*}/" "$applied")" != "$(sums)" ]; then
        say others
        return
    fi
    checksum=$(
        {
            without "$@"
            [ ! -f "$registries" ] || {
                echo ---
                cat "$registries"
            }
        } | sha256sum
    )
    say "${checksum%% *}"
}

main "$@"
