"""Names of a component's children: its own name is in each, so that two of a kind live in one program.

A name in the state is who the resource is. One that was called otherwise by an earlier program keeps its life by an
alias; the instance that is there first takes it over. https://www.pulumi.com/docs/iac/concepts/resources/options/aliases/
"""

from __future__ import annotations

import pulumi


def formerly(name: str, *earlier: str) -> list[pulumi.Alias | str]:
    """The aliases of the child ``name``, for its options: what earlier programs called it."""
    return [pulumi.Alias(name=one) for one in dict.fromkeys(earlier) if one != name]
