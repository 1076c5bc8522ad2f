"""Raising the lab: from nothing, or from wherever the last attempt stopped, to two clusters that are joined.

It owns the order of the steps. Each step looks for what is there already, so calling this again is always right; one
that fails by what passes, a deadline or a connection that was refused, is called again here and now. The clusters
themselves are raised by the program, by the real `pulumi up`, as a user would do it.
"""

from __future__ import annotations

from lab.up.building import ensure_packages
from lab.up.order import nothing_there, raise_lab, run_at_workstation, take_down
from lab.up.raising import tools_of_person
from lab.up.services import hetzner_faults_file, hetzner_token_file
from lab.up.ssh_keys import ssh_key
from lab.up.stacks import up

__all__ = [
    "ensure_packages",
    "hetzner_faults_file",
    "hetzner_token_file",
    "nothing_there",
    "raise_lab",
    "run_at_workstation",
    "ssh_key",
    "take_down",
    "tools_of_person",
    "up",
]
