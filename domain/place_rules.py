"""Rules for where a cluster stands, and for what goes with one place and not with another."""

from __future__ import annotations

from collections.abc import Iterator

from domain.places import registry
from domain.places.registry import access_unclear, chosen_sections, is_given, place_sections
from domain.problems import Problem
from domain.settings.draft import StackDraft, known, without_effect


def one_place(draft: StackDraft) -> Iterator[Problem]:
    """A cluster stands at Hetzner or on-premise."""
    there, (first, *others) = chosen_sections(draft.settings), place_sections()
    if not there:
        so_are = f"so {'is' if len(others) == 1 else 'are'} {', '.join(others)}"
        rule = f"is missing, and {so_are}; exactly one of them is needed"
        yield Problem(draft.stack, first, "", rule, "add one")
    for further in there[1:]:
        rule = f"stands beside {there[0]}; a stack is one cluster in one place"
        yield Problem(draft.stack, further, "", rule, "remove one")


def k3s_where_installed(draft: StackDraft) -> Iterator[Problem]:
    """The section k3s is there if and only if the program installs k3s."""
    k3s = known(draft.settings, "k3s")
    if access_unclear(draft):
        return
    if is_given(draft):
        if k3s is not None:
            yield without_effect(draft, "k3s", "an existing cluster keeps its own version")
        for name in ("k3s", "registries"):
            if known(draft.settings, "mirrors", name):
                yield without_effect(
                    draft, f"mirrors.{name}", "nothing is installed on the nodes of an existing cluster"
                )
    elif k3s is None:
        yield Problem(
            draft.stack, "k3s", "", "is missing", "write it like {version: v1.34.9+k3s1, sha256: 64 HEX DIGITS}"
        )


def provider_only_at_its_place(draft: StackDraft) -> Iterator[Problem]:
    """The provider's settings have no effect elsewhere."""
    there = chosen_sections(draft.settings)
    for place in registry.PLACES:
        if place.provider is None or not there or place.section in there:
            continue
        for name in place.provider.model.model_fields:
            if known(draft.settings, place.provider.namespace, name) is not None:
                yield without_effect(draft, f"{place.provider.namespace}:{name}", place.elsewhere)
