"""From which release of k3s to which a cluster may go while it runs.

It owns the order of releases and the steps that Kubernetes allows. Which release a cluster runs is in its outputs, see
``changes.py``.
"""

from __future__ import annotations

import re
from typing import Final

from domain.problems import Problem

_TAG: Final = re.compile(r"v1\.([0-9]{1,3})\.([0-9]{1,3})(?:-rc([0-9]{1,3}))?(?:\+k3s([0-9]{1,3}))?", re.ASCII)


def release(tag: str) -> tuple[int, int, int, int] | None:
    """The minor release, the patch, the candidate (one that is none comes after all of them) and k3s's own number, 0
    where a kubelet does not say it; None for what is no tag of k3s.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    minor, patch, candidate, own = found.groups()
    return int(minor), int(patch), 1000 if candidate is None else int(candidate), int(own or 0)


def is_of(kubelet: str, tag: str) -> bool:
    """Whether a kubelet that says this of itself is that of a release. k3s has its own number in there; a kubelet that
    was built from Kubernetes's sources alone has none.
    """
    return kubelet in (tag, tag.partition("+")[0])


def step_refused(stack: str, runs: str, wanted: str) -> Problem | None:
    """Why a cluster that runs one release does not go to the other: not back, since the datastore has been written by
    the newer one (https://docs.k3s.io/upgrades/roll-back), and not past a minor release
    (https://kubernetes.io/releases/version-skew-policy/).
    """
    before, after = release(runs), release(wanted)
    if before is None or after is None or before == after:
        return None
    if after < before:
        rule = f"is older than {runs}, with which the cluster runs; k3s does not go back: its data is of the newer one"
        return Problem(stack, "k3s.version", wanted, rule, f"write {runs} again, or a later one")
    if after[0] > before[0] + 1:
        following = f"v1.{before[0] + 1}"
        rule = f"skips {following}; the cluster runs {runs}, and Kubernetes goes from one minor release to the next"
        return Problem(stack, "k3s.version", wanted, rule, f"take a {following} first, then `pulumi up -s {stack}`")
    return None
