"""What is built before anything starts: packages, tools, the machines' system, images and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab import base, images, mirror, preflight, project, state, topology
from lab.errors import LabError
from lab.own_settings import Artifacts
from lab.project import REPOSITORY
from lab.up.raising import Raising, again
from toolchain import RECIPES, debian, ensure, estimates, pulumi_bin, versions
from toolchain import pulumi_home as toolchain_pulumi_home
from toolchain.progress import Report


def build(raising: Raising) -> None:
    """All of it, each step only as far as it is not there already."""
    progress = raising.reporter.progress

    def packages() -> None:
        ensure_packages(progress=progress)
        preflight.check_kernel()

    def tools() -> None:
        wanted = list(RECIPES)
        raising.tools = ensure(wanted, progress=estimates.counted(wanted, progress))
        pulumi_bin(progress=progress)
        toolchain_pulumi_home(directory=project.pulumi_home(), progress=progress)

    def machine_tree() -> None:
        try:
            base.ensure_machine_tree(progress=progress)
        except RuntimeError as error:
            raise LabError(str(error)) from error

    missing = estimates.missing()
    if missing:
        raising.reporter.note(estimates.foretold(missing))
    again(raising, "Debian packages", packages)
    again(raising, f"{len(RECIPES)} tools, built from source where they are missing", tools)
    again(raising, "Debian system of the machines", machine_tree)
    again(raising, "Images and artifacts on the mirror", lambda: _fill_mirror(raising))


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


def k3s_version() -> str:
    """The version under which the mirror has the k3s artifact."""
    return f"v{versions.KUBERNETES}+k3s1"


def charts(tools: Mapping[str, Path]) -> list[Path]:
    """The chart directories that the mirror packs."""
    return [tools["cilium"] / "chart", REPOSITORY / "lab" / "standins" / "netbird_operator" / "chart"]


def _registries(made: list[images.Image]) -> list[str]:
    return sorted({mirror.split_reference(image.reference)[0] for image in made})
