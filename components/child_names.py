"""Names of a component's children: its own name is in each, so that two of a kind live in one program.

A name in the state is who the resource is. One that was called otherwise by an earlier program keeps its life by an
alias; the instance that is there first takes it over. https://www.pulumi.com/docs/iac/concepts/resources/options/aliases/
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi


def formerly(name: str, *earlier: str) -> list[pulumi.Alias | str]:
    """The aliases of the child ``name``, for its options: what earlier programs called it."""
    return [pulumi.Alias(name=former) for former in dict.fromkeys(earlier) if former != name]


@dataclass(frozen=True)
class Children:
    """Names and options of what a component of components is made of.

    With ``bare`` names they lie as they did in programs without that component: under the same names, and an alias
    takes over those that stood at the top of the stack. The engine hands it down to their own children.
    """

    parent: pulumi.ComponentResource
    name: str
    bare: bool

    def called(self, name: str) -> str:
        """The whole name of a child."""
        return name if self.bare else f"{self.name}-{name}"

    def options(self, opts: pulumi.ResourceOptions | None = None) -> pulumi.ResourceOptions:
        """Those of a child, with what else it is to have."""
        aliases = [pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)] if self.bare else None
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self.parent, aliases=aliases))
