"""Stand-in of the Hetzner Cloud API, whose servers are machines of the lab.

Run it with `python -m lab.standins.hetzner_api --listen HOST:PORT --state DIR`; `--help` names the rest. Paths,
bodies, errors and status codes are those of the public API (https://docs.hetzner.cloud/reference/cloud), so the
Hetzner provider and the official clients work with it unchanged; the endpoint to give them is `http://HOST:PORT/v1`.

Resources: networks, firewalls, placement groups, SSH keys, servers, primary IPs (IPv4), actions, images, server types
and locations, with labels, label selectors, pagination, sorting, protection, locks and actions that take time. A
firewall is really enforced, outside of the machine, on its public address. A private network is a bridge, and
attaching a server plugs an interface into the running machine.

How it is built: `cloud` and the operation modules beside it (`networks`, `firewalls`, `servers`, ...) are pure, time
is passed in; `runner` carries accepted actions out against a `backend.MachineBackend`; `api` is the HTTP edge;
`storage` keeps the state in one JSON file, so a restarted stand-in goes on where it stopped, running actions included.

What it does not do:

- Volumes, floating IPs, load balancers, certificates, DNS zones, ISOs, snapshots, backups, rescue, password reset,
  console, metrics, pricing: such paths answer 404 `not_found`. `/datacenters` answers 410, as the API has dropped it.
- `rebuild` without `user_data`: at Hetzner the server's former one counts; here it is forgotten once the machine
  exists, as it holds secrets, so such a rebuild is refused.
- Primary IPs: a server can be created with one; assigning one later is recorded, the machine does not get it.
- IPv6: `enable_ipv6` is accepted and `public_net.ipv6` stays null; a primary IP of type ipv6 is refused.
- Billing and project limits: prices are zero, nothing is ever sold out.
- Images: debian-12, debian-13 and ubuntu-24.04 all boot the lab's one Debian tree. Arm server types boot it as well.
- Server types: cores, memory and disk are only told, not enforced. Placement groups are only recorded.
- The private network's own router: at Hetzner a private address is a /32 and all packets pass the gateway (first
  address of the network); here the servers share a bridge and carry the subnet's prefix, and routes of a network are
  recorded, not carried out. Alias IPs are recorded; as at Hetzner, the machine has to configure them itself.
- DHCP and the metadata service at 169.254.169.254: the lab hands user data and addresses to the machine itself.
- A machine that reboots itself is off afterwards, and so is its server, until it is switched on.
- `shutdown`: the action ends when the machine is off (at Hetzner: once the signal is sent).
- Reverse DNS: names are recorded, nobody answers for them.
"""
