"""Rules for secrets: which ones a stack needs, and what form their values have. No message shows a value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from domain.places import registry
from domain.places.existing import KUBECONFIG
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft
from domain.settings.secrets import CLUSTER_SECRET, NETBIRD_API_TOKEN, Secret


def needed_secrets(draft: StackDraft) -> tuple[Secret, ...]:
    """The secrets of this kind of stack; of an unclear kind, those that every stack needs."""
    if registry.place_unclear(draft):
        return (NETBIRD_API_TOKEN,)
    own = tuple(secret for place in registry.places_of(draft) for secret in place.secrets)
    return (NETBIRD_API_TOKEN, *own) if registry.is_given(draft) else (CLUSTER_SECRET, NETBIRD_API_TOKEN, *own)


def secrets_there(draft: StackDraft) -> Iterator[Problem]:
    """Every secret that is needed is there, and no other."""
    needed = needed_secrets(draft)
    for secret in needed:
        if secret.key not in draft.secrets:
            command = secret.command.format(stack=draft.stack)
            yield Problem(
                draft.stack, secret_setting(secret), "", f"is missing; {secret.purpose}", f"set it: `{command}`"
            )
    if registry.place_unclear(draft):
        return
    known_secrets = registry.secrets()
    for key in sorted(draft.secrets):
        if key in known_secrets and known_secrets[key] not in needed:
            setting = secret_setting(known_secrets[key])
            yield Problem(
                draft.stack,
                setting,
                "",
                "has no effect in a stack of this kind",
                f"remove it: `pulumi config rm {setting} -s {draft.stack}`",
            )


def secret_setting(secret: Secret) -> str:
    """How a message names the secret: ours without the namespace, the provider's with it."""
    return secret.key.removeprefix("isthmus:")


CONTEXTS_SHOWN: Final = 10
"""Contexts of a kubeconfig that a message lists at most."""


def secret_value_problems(stack: str, values: Mapping[str, str], context: str | None = None) -> list[Problem]:
    """What is wrong with the form of secrets, given in plain as key -> value. Only lengths show, and names of contexts,
    no value. ``context`` is ``on_premise.kubeconfig.context``.
    """
    # Here, because a plan looks at no secret and does without the cryptography that the module brings along.
    from domain.keys import cluster_secret_fault
    from domain.kubeconfig import KubeconfigError, context_names

    faults: list[tuple[Secret, Callable[[str], str | None]]] = [(CLUSTER_SECRET, cluster_secret_fault)]
    for place in registry.PLACES:
        faults += [(secret, functools.partial(place.secret_fault, secret)) for secret in place.secrets]
    problems: list[Problem] = []
    for secret, fault_of in faults:
        value = values.get(secret.key)
        if value is not None and (fault := fault_of(value)) is not None:
            fix = f"set it anew: `{secret.command.format(stack=stack)}`"
            problems.append(Problem(stack, secret_setting(secret), "", fault, fix))
    kubeconfig = values.get(KUBECONFIG.key)
    if kubeconfig is None or context is None:
        return problems
    try:
        names = context_names(kubeconfig)
    except KubeconfigError as error:
        fix = f"set it anew: `{KUBECONFIG.command.format(stack=stack)}`"
        problems.append(Problem(stack, secret_setting(KUBECONFIG), "", str(error), fix))
        return problems
    if context not in names:
        there = ", ".join(shown(name) for name in names[:CONTEXTS_SHOWN])
        more = ", ..." if len(names) > CONTEXTS_SHOWN else ""
        rule = "is no context of the secret kubeconfig"
        problems.append(
            Problem(stack, "on_premise.kubeconfig.context", shown(context), rule, f"its contexts are: {there}{more}")
        )
    return problems
