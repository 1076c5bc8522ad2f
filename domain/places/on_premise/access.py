"""How the program comes to machines that exist: over SSH, which makes a cluster of them, or to the cluster they are."""

from __future__ import annotations

from collections.abc import Iterator

from domain.problems import Problem
from domain.settings.draft import StackDraft, known


def over_ssh(settings: object) -> bool:
    """Whether machines are reached over SSH, as far as one can tell."""
    return known(settings, "on_premise", "ssh") is not None


def is_given(settings: object) -> bool:
    """True for an existing cluster, as far as one can tell."""
    return known(settings, "on_premise", "kubeconfig") is not None


def access_unclear(settings: object) -> bool:
    """True where a refused value, or both of ssh and kubeconfig, hides whether the program installs k3s."""
    section = known(settings, "on_premise")
    if section is None:
        return False
    if not hasattr(section, "ssh") or not hasattr(section, "kubeconfig"):
        return True
    return section.ssh is not None and section.kubeconfig is not None


def one_access(draft: StackDraft) -> Iterator[Problem]:
    """Machines on-premise are reached over SSH, or the cluster is given."""
    section = known(draft.settings, "on_premise")
    if not hasattr(section, "ssh") or not hasattr(section, "kubeconfig"):
        return
    if section.ssh is None and section.kubeconfig is None:
        yield Problem(
            draft.stack,
            "on_premise",
            "",
            "has neither ssh nor kubeconfig; exactly one of them is needed",
            "add ssh: {user: root}, or kubeconfig: {context: NAME} for a cluster that exists",
        )
    elif section.ssh is not None and section.kubeconfig is not None:
        yield Problem(
            draft.stack,
            "on_premise.kubeconfig",
            "",
            "stands beside ssh; the cluster is either raised over SSH or exists",
            "remove one of them",
        )
