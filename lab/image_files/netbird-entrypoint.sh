#!/bin/sh
# The entrypoint of the agent's image, with upstream's behaviour: run the daemon, wait until it answers, bring the connection
# up once, and live as long as the daemon. When the connection can't be brought up the container ends.
set -eu

: "${NB_ENTRYPOINT_SERVICE_TIMEOUT:=30}" # Seconds to wait for the daemon; 0 does not wait.
: "${NB_LOG_FILE:=console,/var/log/netbird/client.log}"
: "${NB_DAEMON_ADDR:=unix:///var/run/netbird.sock}"
export NB_LOG_FILE NB_DAEMON_ADDR

say() { echo "entrypoint: $*" >&2; }

daemon=
finish() {
  trap - TERM INT EXIT
  if [ -n "$daemon" ]; then
    say "ending the daemon"
    kill -TERM "$daemon" 2>/dev/null || true
    wait "$daemon" || true
  fi
}
trap 'finish; exit 0' TERM INT
trap finish EXIT

netbird service run &
daemon=$!

waited=0
while [ "$waited" -lt "$NB_ENTRYPOINT_SERVICE_TIMEOUT" ]; do
  netbird status --check live >/dev/null 2>&1 && break
  if ! kill -0 "$daemon" 2>/dev/null; then
    say "the daemon has ended"
    exit 1
  fi
  waited=$((waited + 1))
  sleep 1
done
if [ "$NB_ENTRYPOINT_SERVICE_TIMEOUT" -gt 0 ] && [ "$waited" -ge "$NB_ENTRYPOINT_SERVICE_TIMEOUT" ]; then
  say "the daemon does not answer after $NB_ENTRYPOINT_SERVICE_TIMEOUT s"
  exit 1
fi

netbird up
wait "$daemon"
