#!/bin/sh
# Waits until NetBird's interface has an address and, for each address in ROUTES, the kernel's way there leaves by it.
# Environment: INTERFACE, ROUTES (addresses, space between; may be empty), DEADLINE_SECONDS. Needs `ip` of iproute2 or busybox.
# Exit code 1 at the deadline, with the last state on standard error.
set -u

interface=${INTERFACE:?}
routes=${ROUTES-}
end=$(($(date +%s) + ${DEADLINE_SECONDS:?}))

missing() {
  if ! ip -4 addr show dev "$interface" 2>/dev/null | grep -q 'inet '; then
    echo "$interface has no address"
    return 0
  fi
  for address in $routes; do
    way=$(ip -4 route get "$address" 2>&1)
    case $way in
      *"dev $interface "*) ;;
      *) echo "the way to $address is: $way"; return 0 ;;
    esac
  done
  return 1
}

while state=$(missing); do
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "gave up: $state" >&2
    exit 1
  fi
  sleep 1
done
ip -4 addr show dev "$interface"
for address in $routes; do
  ip -4 route get "$address"
done
