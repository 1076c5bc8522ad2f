"""The machines of the on-premise sites, as a person would find them."""

from __future__ import annotations

from lab import machines, programs
from lab.errors import DeadlinePassed, MachineError
from lab.reporting import Reporter
from lab.topology import LanMachine, OnPremiseSite
from lab.up.raising import Raising
from lab.up.ssh_keys import public_key, ssh_key


def start_sites(raising: Raising) -> None:
    """Every machine of every site, up and with its host key known."""
    programs.lay_out(raising.tools)
    for site in raising.lab.on_premise:
        _start_site(raising, site)


def _start_site(raising: Raising, site: OnPremiseSite) -> None:
    """The machines of a site: plain Debian with sshd, as a person would find them."""
    for machine in site.machines:
        raising.reporter.update(machine.name)
        raising.host_keys[machine.name] = start_machine(site, machine)
    for machine in site.machines:
        boot(raising.reporter, machine.name)


def start_machine(site: OnPremiseSite, machine: LanMachine) -> str:
    """One of them, switched on; gives its public host key."""
    machines.create(
        machines.MachineSpec(
            name=machine.name,
            hostname=machine.name,
            interfaces=(
                machines.Bridged(
                    bridge_namespace=site.nat_namespace,
                    ifname="eth0",
                    address=site.interface(machine.address),
                    gateway=site.gateway,
                ),
            ),
            authorized_keys=(public_key(ssh_key("user")),),
            binds=(programs.bind(),),
        )
    )
    machines.start(machine.name)
    key = machines.host_key(machine.name)
    assert key is not None, "a machine without user data has a host key from the start"
    return " ".join(key.split()[:2])


def boot(reporter: Reporter, name: str) -> None:
    """Waits for the machine's boot; one that goes off or hangs meanwhile is switched off and on once."""
    try:
        machines.wait_boot(name)
    except (MachineError, DeadlinePassed) as error:
        reporter.note(f"{error}\nIt is switched off and on again.")
        machines.reboot(name, graceful=False)
        machines.wait_boot(name)
