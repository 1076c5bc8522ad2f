"""What earlier programs called the children of a component."""

from __future__ import annotations

import pulumi

from components.child_names import formerly


def names(aliases: list[pulumi.Alias | str]) -> list[object]:
    return [alias.name if isinstance(alias, pulumi.Alias) else alias for alias in aliases]


def test_each_earlier_name_is_an_alias_once_and_in_order() -> None:
    assert names(formerly("cilium-agents", "agents", "cilium", "agents")) == ["agents", "cilium"]


def test_a_name_that_stayed_is_no_alias_of_itself() -> None:
    assert formerly("isthmus-guard", "isthmus-guard") == []
    assert names(formerly("office-guard", "isthmus-guard")) == ["isthmus-guard"]


def test_of_an_alias_only_the_name_is_another() -> None:
    """Parent, type, stack and project stay as they are: given as None they would be another resource's."""
    (alias,) = formerly("b", "a")
    assert isinstance(alias, pulumi.Alias)
    given: list[object] = [alias.type_, alias.stack, alias.project, alias.parent]
    assert given == [...] * 4
