"""The stacks: the project at the workstation, its settings and secrets, and every `pulumi up`."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from lab import failed_up, kubernetes, netbird_server, preflight, project, state
from lab.commands import going_on
from lab.errors import LabError
from lab.project import REPOSITORY
from lab.pulumi_command import Pulumi, PulumiFailed
from lab.reporting import Reporter
from lab.steps import StepFailed
from lab.topology import OnPremiseSite, Site
from lab.up.raising import Raising, again
from lab.up.services import hetzner_token_file
from lab.up.ssh_keys import ssh_key
from lab.up.world import start_world

STARTER_DEADLINE_SECONDS: Final = 600.0
"""For `./isthmus new`, 5 s on an idle machine: a guard."""


def prepare_project(raising: Raising) -> None:
    """The project's directory, and of each stack the file, the settings and the secrets."""
    lab, pulumi = raising.lab, raising.pulumi

    def lay_out() -> None:
        project.link_program()
        project.backend_directory().mkdir(parents=True, exist_ok=True)
        project.temporary_directory().mkdir(parents=True, exist_ok=True)
        project.prepare_passphrase()
        pulumi.release_locks()

    again(raising, f"Pulumi project in {project.directory()}", lay_out, usual_seconds=2)
    for site in lab.sites:
        if not project.stack_file(site.name).exists():
            with raising.steps.step(" ".join(project.starter_command(site)), usual_seconds=5):
                _new_stack_file(raising, site)
    again(raising, "Settings and secrets of the stacks", lambda: _settings_and_secrets(raising), usual_seconds=10)


def _settings_and_secrets(raising: Raising) -> None:
    pulumi = raising.pulumi
    existing = pulumi.stacks()
    for site in raising.lab.sites:
        raising.reporter.update(f"stack {site.name}")
        _complete_settings(raising, site)
        if site.name not in existing:
            pulumi.run("stack", "init", site.name, "--secrets-provider", "passphrase")
        secrets = {
            "isthmus:clusterSecret": project.new_cluster_secret(),
            "isthmus:netbirdApiToken": netbird_server.api().token,
        }
        if isinstance(site, OnPremiseSite):
            secrets["isthmus:sshPrivateKey"] = ssh_key("user").read_text(encoding="utf-8")
        else:
            secrets["hcloud:token"] = hetzner_token_file().read_text(encoding="utf-8").strip()
        pulumi.set_secrets(site.name, secrets)


def _new_stack_file(raising: Raising, site: Site) -> None:
    """The file as a person gets it, by the same command; it makes the stack and its secret as well."""
    shown = f"`{' '.join(project.starter_command(site))}`"
    try:
        with going_on(f"the end of {shown}"):
            done = subprocess.run(
                [*project.starter_command(site), "--directory", str(project.directory())],
                cwd=REPOSITORY,
                env=project.environment(raising.person),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=STARTER_DEADLINE_SECONDS,
            )
    except subprocess.TimeoutExpired:
        raise LabError(f"{shown} did not end within {STARTER_DEADLINE_SECONDS:g} s") from None
    if done.returncode != 0:
        raise LabError(f"{shown} ended with code {done.returncode}:\n{done.stderr}")


def _complete_settings(raising: Raising, site: Site) -> None:
    assert raising.artifacts is not None
    settings = project.stack_settings(
        raising.lab,
        site,
        raising.artifacts,
        host_keys=raising.host_keys,
        privileged=preflight.lacks_sys_resource(),
    )
    project.complete_stack_file(site.name, settings)
    # What the mirror offers may have changed with the checkout: facts, not choices.
    project.renew_settings(site.name, ["isthmus:k3s", "isthmus:mirrors"], settings)
    project.add_peers(site.name, raising.lab.peers(site))
    if raising.lab.routers > 1:
        project.add_routers(site.name, settings)
    if raising.lab.servers > 1:
        project.set_servers(site.name, settings)


def raise_stacks(raising: Raising, well: Sequence[str]) -> None:
    """Every `pulumi up` that it takes. ``well`` are the clusters that are ready already."""
    raised = [stack for stack in well if "link" in raising.pulumi.outputs(stack)]
    there = set(raised)
    for number, stack in enumerate(raising.lab.up_order(raised), start=1):
        try:
            raise_stack(raising, stack, f"pulumi-up-{number}-{stack}", first=stack not in there)
            there.add(stack)
        except StepFailed:
            # Whoever looks for the cause wants to use kubectl; that this fails too, as it may, is not the news.
            with contextlib.suppress(LabError):
                _write_kubeconfig(raising)
            raise
        _write_kubeconfig(raising)


def _write_kubeconfig(raising: Raising) -> None:
    kubernetes.write_kubeconfig(raising.pulumi, [site.name for site in raising.lab.sites])


def raise_stack(raising: Raising, stack: str, log_name: str, *, first: bool) -> None:
    """One `pulumi up`, and again when it failed by what passes. Raises :class:`StepFailed` with Pulumi's own words."""
    command = f"pulumi up --yes --non-interactive -s {stack}"
    log = state.STATE / "logs" / f"{log_name}.log"
    for attempt in range(1, failed_up.ATTEMPTS + 1):
        try:
            with raising.steps.step(command, usual_seconds=100 if first else 25):
                up(raising.pulumi, stack, raising.reporter, colour=raising.colour, log_name=log_name)
                return
        except StepFailed as error:
            cause = error.__cause__
            if not isinstance(cause, PulumiFailed):
                raise
            verdict = failed_up.judge(cause.said, cause.code)
            if not verdict.again or attempt == failed_up.ATTEMPTS:
                raise StepFailed(failed_up.given_up(command, verdict, attempt, str(log))) from cause
            raising.reporter.note(failed_up.tried_again(command, verdict, attempt))
            time.sleep(failed_up.PAUSE_SECONDS[attempt - 1])
            # Of a pulumi that was ended by a signal.
            raising.pulumi.release_locks()
            # What refused the connection may be gone: a helper that ended, a machine that went off.
            start_world(raising)


def up(pulumi: Pulumi, stack: str, reporter: Reporter, *, colour: bool = False, log_name: str = "pulumi-up") -> None:
    """One real `pulumi up`, its output shown as it comes and kept in ``<state>/logs``."""
    pulumi.stream(
        "up",
        "--yes",
        "-s",
        stack,
        log=state.STATE / "logs" / f"{log_name}.log",
        on_line=lambda line: None if is_filler(line) else reporter.output(stack, line),
        colour=colour,
    )


def is_filler(line: str) -> bool:
    """Whether a line of Pulumi's says nothing: empty, or the dots that it prints while waiting."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
    return not plain or plain.startswith("@ ")
