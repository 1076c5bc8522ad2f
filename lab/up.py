"""Raising the lab: from nothing, or from wherever the last attempt stopped, to two clusters that are joined.

It owns the order of the steps. Each step looks for what is there already, so calling this again is always right; one
that fails by what passes, a deadline or a connection that was refused, is called again here and now. The clusters
themselves are raised by the program, by the real `pulumi up`, as a user would do it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from lab import (
    base,
    cgroups,
    failed_up,
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
from lab.commands import going_on, run
from lab.errors import DeadlinePassed, LabError, MachineError
from lab.inside import Answer, http_request
from lab.project import REPOSITORY, Artifacts, Tools
from lab.pulumi_command import Pulumi, PulumiFailed
from lab.reporting import Reporter
from lab.status import Status, collect, unready
from lab.steps import StepFailed, Steps
from lab.topology import OnPremiseSite, Site, Topology
from toolchain import RECIPES, Progress, debian, ensure, pulumi_bin, versions
from toolchain import pulumi_home as toolchain_pulumi_home
from toolchain.progress import Report

HETZNER: Final = "hetzner-api"
MIRROR: Final = "mirror"
SERVICE_DEADLINE_SECONDS: Final = 300.0
"""For a helper to answer after its start, a second on an idle machine: a guard against one that hangs."""
ANSWER_SECONDS: Final = 60.0
"""For one request to a helper."""
STARTER_DEADLINE_SECONDS: Final = 600.0
"""For `./isthmus new`, 5 s on an idle machine: a guard."""
SETTLE_SECONDS: Final = 600.0
"""From the last `pulumi up` to the moment at which all is up: links come up by themselves once both ends are there."""
LOOK_EVERY_SECONDS: Final = 3.0

T = TypeVar("T")


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
        status = _look(raising)
        if status is not None and status.is_whole:
            reporter.note("All is up already.")
            return status
        clusters = () if status is None else status.clusters
        _raise_stacks(raising, [cluster.name for cluster in clusters if cluster.ready])
        with steps.step("Looking at the result", usual_seconds=5):
            return _settled(raising)


def _look(raising: Raising) -> Status | None:
    """What is up; None when that can't be said, as of a cluster that is half made or too busy to answer."""
    try:
        return collect(raising.lab, raising.person)
    except LabError as error:
        raising.reporter.update(str(error).partition("\n")[0])
        return None


def _settled(raising: Raising) -> Status:
    """Looks until all is up, or as long as that may take; then what is not is in the result."""
    end = time.monotonic() + SETTLE_SECONDS
    missing = "an answer of the clusters"
    with going_on(lambda: missing):
        while True:
            status = _look(raising)
            if status is not None:
                missing = next(iter([*unready(status), *(cause.sentence for cause, _ in status.causes)]), "")
            late = time.monotonic() >= end
            if status is not None and (status.is_whole or late):
                return status
            if late:
                # With what stands in the way of looking.
                return collect(raising.lab, raising.person)
            raising.reporter.update(missing)
            time.sleep(LOOK_EVERY_SECONDS)


def _again(raising: Raising, title: str, work: Callable[[], T], *, usual_seconds: float | None = None) -> T:
    """A step that may be repeated: it is, a few times, while what it fails by is a matter of time, and that is said."""
    for attempt in range(1, failed_up.ATTEMPTS + 1):
        try:
            with raising.steps.step(title, usual_seconds=usual_seconds):
                return work()
        except StepFailed as error:
            if attempt == failed_up.ATTEMPTS or not failed_up.passing(str(error)):
                raise
            raising.reporter.note(f"{error}\nThat may pass: again ({attempt + 1} of {failed_up.ATTEMPTS}).")
            time.sleep(failed_up.PAUSE_SECONDS[attempt - 1])
    raise AssertionError("the last attempt returns or raises")


# --- what is built ----------------------------------------------------------------------------------------------------


def _build(raising: Raising) -> None:
    progress = raising.reporter.progress

    def packages() -> None:
        ensure_packages(progress=progress)
        preflight.check_kernel()

    def tools() -> None:
        raising.tools = ensure(list(RECIPES), progress=_counted(progress))
        pulumi_bin(progress=progress)
        toolchain_pulumi_home(directory=project.pulumi_home(), progress=progress)

    def machine_tree() -> None:
        try:
            base.ensure_machine_tree(progress=progress)
        except RuntimeError as error:
            raise LabError(str(error)) from error

    _again(raising, "Debian packages", packages)
    _again(raising, f"{len(RECIPES)} tools, built from source where they are missing", tools)
    _again(raising, "Debian system of the machines", machine_tree)
    _again(raising, "Images and artifacts on the mirror", lambda: _fill_mirror(raising))


def _fill_mirror(raising: Raising) -> None:
    try:
        made = images.ensure_images(progress=raising.reporter.progress)
    except RuntimeError as error:
        raise LabError(str(error)) from error
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
    _again(raising, "Networks", lambda: network.create_all(raising.lab), usual_seconds=2)
    _again(
        raising,
        f"NetBird server at {topology.NETBIRD_URL}",
        lambda: netbird_server.start(raising.tools["netbird-server"] / "netbird-server"),
        usual_seconds=4,
    )
    _again(raising, f"Artifact mirror at {topology.MIRROR_URL}", start_mirror, usual_seconds=2)
    _again(raising, f"Hetzner API stand-in at {topology.HETZNER_ENDPOINT}", start_hetzner, usual_seconds=2)
    _again(raising, "On-premise machines", lambda: _start_sites(raising), usual_seconds=8)
    _again(raising, "Servers that are off", power_on_servers, usual_seconds=2)


def start_mirror() -> None:
    """Starts the artifact mirror if it does not run."""
    _service(
        MIRROR,
        "lab.mirror",
        ["--listen", f"{topology.MIRROR_ADDRESS}:80", "--root", str(state.STATE / "mirror")],
        host=str(topology.MIRROR_ADDRESS),
        path="/v2/",
    )


def power_on_servers() -> None:
    """Switches servers at the Hetzner stand-in on that are off, as a person would in the console: no `up` does that."""
    for server in json.loads(_hetzner("GET", "/v1/servers?status=off").body).get("servers") or []:
        answer = _hetzner("POST", f"/v1/servers/{server['id']}/actions/poweron")
        # Locked: something is at work on it, such as what was switching it off.
        if answer.status >= 400 and answer.status != 423:
            text = answer.body.decode(errors="replace")[:300]
            raise LabError(f"the server {server['name']} can't be switched on ({answer.status}): {text}")


def _hetzner(method: str, path: str) -> Answer:
    token = hetzner_token_file().read_text(encoding="utf-8").strip()
    try:
        return http_request(
            topology.SERVICES_NAMESPACE,
            method,
            str(topology.HETZNER_ADDRESS),
            80,
            path,
            headers={"Authorization": f"Bearer {token}"},
        )
    except OSError as error:
        raise LabError(f"the Hetzner API stand-in: {method} {path}: {error}") from error


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
            asked = http_request(topology.SERVICES_NAMESPACE, "GET", host, 80, path, deadline_seconds=ANSWER_SECONDS)
        except OSError:
            return False
        return asked.status > 0

    processes.wait_for_answer(
        name, answers, what=f"{name} answers", deadline_seconds=SERVICE_DEADLINE_SECONDS, every_seconds=0.1
    )


def _start_sites(raising: Raising) -> None:
    programs.lay_out(raising.tools)
    for site in raising.lab.on_premise:
        _start_site(raising, site)


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
        _boot(raising.reporter, machine.name)


def _boot(reporter: Reporter, name: str) -> None:
    """Waits for the machine's boot; one that goes off or hangs meanwhile is switched off and on once."""
    try:
        machines.wait_boot(name)
    except (MachineError, DeadlinePassed) as error:
        reporter.note(f"{error}\nIt is switched off and on again.")
        machines.reboot(name, graceful=False)
        machines.wait_boot(name)


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

    def lay_out() -> None:
        project.link_program()
        project.backend_directory().mkdir(parents=True, exist_ok=True)
        project.temporary_directory().mkdir(parents=True, exist_ok=True)
        project.prepare_passphrase()
        pulumi.release_locks()

    _again(raising, f"Pulumi project in {project.directory()}", lay_out, usual_seconds=2)
    for site in lab.sites:
        if not project.stack_file(site.name).exists():
            with raising.steps.step(" ".join(project.starter_command(site)), usual_seconds=5):
                _new_stack_file(raising, site)
    _again(raising, "Settings and secrets of the stacks", lambda: _settings_and_secrets(raising), usual_seconds=10)


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


def _raise_stacks(raising: Raising, well: Sequence[str]) -> None:
    """Every `pulumi up` that it takes. ``well`` are the clusters that are ready already."""
    raised = [stack for stack in well if "link" in raising.pulumi.outputs(stack)]
    there = set(raised)
    for number, stack in enumerate(raising.lab.up_order(raised), start=1):
        try:
            _raise_stack(raising, stack, f"pulumi-up-{number}-{stack}", first=stack not in there)
            there.add(stack)
        except StepFailed:
            # Whoever looks for the cause wants to use kubectl; that this fails too, as it may, is not the news.
            with contextlib.suppress(LabError):
                _write_kubeconfig(raising)
            raise
        _write_kubeconfig(raising)


def _write_kubeconfig(raising: Raising) -> None:
    kubernetes.write_kubeconfig(raising.pulumi, [site.name for site in raising.lab.sites])


def _raise_stack(raising: Raising, stack: str, log_name: str, *, first: bool) -> None:
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
            _start_world(raising)


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
