"""Raising the lab: from nothing, or from wherever the last attempt stopped, to two clusters that are joined.

It owns the order of the steps. Each step looks for what is there already, so calling this again is always right. The
clusters themselves are raised by the program, by the real `pulumi up`, as a user would do it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lab import (
    base,
    cgroups,
    images,
    kubernetes,
    machines,
    mirror,
    netbird_server,
    network,
    preflight,
    private_files,
    processes,
    programs,
    project,
    sites,
    state,
    topology,
)
from lab.commands import run, wait_until
from lab.errors import LabError
from lab.inside import http_request
from lab.project import REPOSITORY, Artifacts, Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Reporter
from lab.status import Status, collect
from lab.steps import Steps
from lab.topology import OnPremiseSite, Site, Topology
from toolchain import RECIPES, Progress, debian, ensure, pulumi_bin, versions
from toolchain import pulumi_home as toolchain_pulumi_home
from toolchain.progress import Report

HETZNER: Final = "hetzner-api"
MIRROR: Final = "mirror"
SERVICE_DEADLINE_SECONDS: Final = 30.0


@dataclass(kw_only=True)
class Raising:
    """What the steps know of each other."""

    lab: Topology
    reporter: Reporter
    steps: Steps
    colour: bool
    tools: dict[str, Path] = field(default_factory=dict)
    artifacts: Artifacts | None = None
    host_keys: dict[str, str] = field(default_factory=dict)

    @property
    def person(self) -> Tools:
        """The programs at the workstation."""
        return tools_of_person()

    @property
    def pulumi(self) -> Pulumi:
        """`pulumi` at the workstation."""
        return Pulumi(tools=self.person)


def tools_of_person() -> Tools:
    """The programs at the workstation; cheap once they are built."""
    return Tools(pulumi_bin=pulumi_bin(), kubectl=ensure(["kubernetes"])["kubernetes"] / "kubectl")


def raise_lab(reporter: Reporter, *, site_count: int | None = None, colour: bool = False) -> Status:
    """Raises the lab with that many sites, or completes it, and returns what is up.

    Without ``site_count`` it has the sites that it has, and a new one two.

    Raises a :class:`~lab.errors.LabError` or a :class:`toolchain.ToolchainError`; what was made until then stays, and
    the next call goes on from there.
    """
    preflight.check_machine()
    with state.exclusive():
        state.claim(REPOSITORY)
        # From here on everything that is started is in the lab's control group, whatever happens to this process.
        cgroups.join()
        lab = sites.choose(site_count)
        steps = Steps(reporter, "lab up")
        raising = Raising(lab=lab, reporter=reporter, steps=steps, colour=colour)
        _build(raising)
        _start_world(raising)
        _prepare_project(raising)
        status = collect(lab, tools_of_person())
        if not status.is_up:
            _raise_stacks(raising, [cluster.name for cluster in status.clusters if cluster.ready])
            with steps.step("Looking at the result"):
                status = collect(lab, tools_of_person())
        else:
            reporter.note("All is up already.")
        return status


# --- what is built ----------------------------------------------------------------------------------------------------


def _build(raising: Raising) -> None:
    steps, progress = raising.steps, raising.reporter.progress
    with steps.step("Debian packages"):
        ensure_packages(progress=progress)
        preflight.check_kernel()
    with steps.step(f"{len(RECIPES)} tools, built from source where they are missing"):
        raising.tools = ensure(list(RECIPES), progress=_counted(progress))
        pulumi_bin(progress=progress)
        toolchain_pulumi_home(directory=project.pulumi_home(), progress=progress)
    with steps.step("Debian system of the machines"):
        base.ensure_machine_tree(progress=progress)
    with steps.step("Images and artifacts on the mirror"):
        made = images.ensure_images(progress=progress)
        laid_out = mirror.prepare_mirror(
            state.STATE / "mirror",
            k3s_version=k3s_version(),
            images=made,
            charts=charts(raising.tools),
        )
        raising.artifacts = Artifacts(
            k3s_version=k3s_version(),
            k3s_sha256=laid_out.k3s_sha256,
            k3s_directory=f"{topology.MIRROR_URL}/k3s",
            charts_directory=f"{topology.MIRROR_URL}/charts",
            registries=dict.fromkeys(_registries(made), topology.MIRROR_URL),
            cilium_version=versions.CILIUM,
            operator_version=images.NETBIRD_OPERATOR_IMAGE.rpartition(":v")[2],
            agent_image=images.AGENT_IMAGE.removeprefix("docker.io/"),
        )


def ensure_packages(*more: str, progress: Report | None = None) -> None:
    """Installs the Debian packages that the lab needs on this machine, and ``more``, where they are missing."""
    wanted = [*preflight.PACKAGES, *base.HOST_PACKAGES, *images.HOST_PACKAGES, *more]
    debian.ensure_packages(list(dict.fromkeys(wanted)), progress=progress)


def _counted(report: Report) -> Report:
    """Each event says which tool of how many it is about: a first build takes half an hour."""
    places = {name: place for place, name in enumerate(RECIPES, start=1)}

    def counted(event: Progress) -> None:
        place = places.get(event.tool)
        report(event if place is None else replace(event, tool=f"{event.tool} ({place} of {len(places)})"))

    return counted


def k3s_version() -> str:
    """The version under which the mirror has the k3s artifact."""
    return f"v{versions.KUBERNETES}+k3s1"


def charts(tools: Mapping[str, Path]) -> list[Path]:
    """The chart directories that the mirror packs."""
    return [tools["cilium"] / "chart", REPOSITORY / "lab" / "standins" / "netbird_operator" / "chart"]


def _registries(made: list[images.Image]) -> list[str]:
    return sorted({mirror.split_reference(image.reference)[0] for image in made})


# --- the world around the clusters ------------------------------------------------------------------------------------


def _start_world(raising: Raising) -> None:
    steps = raising.steps
    with steps.step("Networks"):
        network.create_all(raising.lab)
    with steps.step(f"NetBird server at {topology.NETBIRD_URL}"):
        netbird_server.start(raising.tools["netbird-server"] / "netbird-server")
    with steps.step(f"Artifact mirror at {topology.MIRROR_URL}"):
        _service(
            MIRROR,
            "lab.mirror",
            ["--listen", f"{topology.MIRROR_ADDRESS}:80", "--root", str(state.STATE / "mirror")],
            host=str(topology.MIRROR_ADDRESS),
            path="/v2/",
        )
    with steps.step(f"Hetzner API stand-in at {topology.HETZNER_ENDPOINT}"):
        start_hetzner()
    with steps.step("On-premise machines"):
        programs.lay_out(raising.tools)
        for site in raising.lab.on_premise:
            _start_site(raising, site)


def start_hetzner() -> None:
    """Starts the Hetzner API stand-in if it does not run."""
    home = hetzner_directory()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not hetzner_token_file().is_file():
        private_files.write_secret(hetzner_token_file(), project.new_hetzner_token())
    arguments = ["--listen", f"{topology.HETZNER_ADDRESS}:80", "--state", str(home / "state")]
    arguments += ["--token-file", str(hetzner_token_file()), "--faults", str(hetzner_faults_file())]
    _service(HETZNER, "lab.standins.hetzner_api", arguments, host=str(topology.HETZNER_ADDRESS), path="/v1/locations")


def hetzner_directory() -> Path:
    """Where the Hetzner API stand-in keeps its resources."""
    return state.STATE / "hetzner"


def hetzner_token_file() -> Path:
    """The API token, readable by root only."""
    return hetzner_directory() / "token"


def hetzner_faults_file() -> Path:
    """Faults that a test orders; see lab/standins/hetzner_api/faults.py."""
    return hetzner_directory() / "faults.json"


def _service(name: str, module: str, arguments: list[str], *, host: str, path: str) -> None:
    """A Python server of this checkout in the services' namespace; returns when it answers anything at all."""
    processes.spawn(
        name,
        [sys.executable, "-m", module, *arguments],
        netns=topology.SERVICES_NAMESPACE,
        environment={
            **{name: os.environ[name] for name in ("PATH", "ISTHMUS_CACHE", "XDG_CACHE_HOME") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "HOME": "/root",
        },
        directory=REPOSITORY,
    )

    def answers() -> bool:
        try:
            return http_request(topology.SERVICES_NAMESPACE, "GET", host, 80, path, deadline_seconds=5.0).status > 0
        except OSError:
            return False

    wait_until(
        answers,
        what=f"{name} answers",
        deadline_seconds=SERVICE_DEADLINE_SECONDS,
        state=lambda: private_files.tail(processes.log_path(name)),
        every_seconds=0.1,
    )


def _start_site(raising: Raising, site: OnPremiseSite) -> None:
    """The machines of a site: plain Debian with sshd, as a person would find them."""
    for machine in site.machines:
        raising.reporter.update(machine.name)
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
        raising.host_keys[machine.name] = " ".join(key.split()[:2])
    for machine in site.machines:
        machines.wait_boot(machine.name)


def ssh_key(name: str) -> Path:
    """The private half of an SSH key of this lab, made on first use; ``user`` is the person's."""
    path = state.STATE / "ssh" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.with_suffix(".pub").unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
    return path


def public_key(private: Path) -> str:
    """The public half, without its comment."""
    return " ".join(private.with_name(f"{private.name}.pub").read_text(encoding="utf-8").split()[:2])


# --- the clusters -----------------------------------------------------------------------------------------------------


def _prepare_project(raising: Raising) -> None:
    lab, pulumi = raising.lab, raising.pulumi
    with raising.steps.step(f"Pulumi project in {project.directory()}"):
        project.link_program()
        project.backend_directory().mkdir(parents=True, exist_ok=True)
        project.temporary_directory().mkdir(parents=True, exist_ok=True)
        project.prepare_passphrase()
        pulumi.release_locks()
    for site in lab.sites:
        if not project.stack_file(site.name).exists():
            with raising.steps.step(" ".join(project.starter_command(site))):
                _new_stack_file(raising, site)
    with raising.steps.step("Settings and secrets of the stacks"):
        existing = pulumi.stacks()
        for site in lab.sites:
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
    done = subprocess.run(
        [*project.starter_command(site), "--directory", str(project.directory())],
        cwd=REPOSITORY,
        env=project.environment(raising.person),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        raise LabError(f"`{' '.join(project.starter_command(site))}` ended with code {done.returncode}:\n{done.stderr}")


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


def _raise_stacks(raising: Raising, well: Sequence[str]) -> None:
    """Every `pulumi up` that it takes. ``well`` are the clusters that are ready already."""
    raised = [stack for stack in well if "link" in raising.pulumi.outputs(stack)]
    for number, stack in enumerate(raising.lab.up_order(raised), start=1):
        arguments = ("up", "--yes", "--non-interactive", "-s", stack)
        try:
            with raising.steps.step(f"pulumi {' '.join(arguments)}"):
                name = f"pulumi-up-{number}-{stack}"
                up(raising.pulumi, stack, raising.reporter, colour=raising.colour, log_name=name)
        finally:
            # Also after a failure: whoever looks for its cause wants to use kubectl.
            kubernetes.write_kubeconfig(raising.pulumi, [site.name for site in raising.lab.sites])


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


# --- the end ----------------------------------------------------------------------------------------------------------


def take_down(reporter: Reporter) -> list[str]:
    """Removes everything of the lab; returns what is left in spite of that, a line each."""
    preflight.require_root("Taking the lab down")
    with state.exclusive(), reporter.step("Removing the lab"):
        return state.teardown(reporter.update)


def nothing_there() -> bool:
    """True when there is no trace of a lab."""
    return not state.leftovers()


def run_at_workstation(command: list[str]) -> int:
    """Runs a command at the workstation with the person's environment; returns its exit code."""
    return subprocess.run(project.at_workstation(command), env=project.environment(tools_of_person())).returncode
