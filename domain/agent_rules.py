"""Rules for what a stack file gives NetBird's agent."""

from __future__ import annotations

from collections.abc import Iterator

from domain.k3s_rules import CREDENTIALS
from domain.netbird import FORBIDDEN_ENVIRONMENT
from domain.problems import Problem
from domain.settings.draft import StackDraft, known


def agent_environment_allowed(draft: StackDraft) -> Iterator[Problem]:
    """No variable of the agent that the program or the operator sets, or that would break the link. Values are not
    shown: somebody may have put a key there.
    """
    for name, value in (known(draft.settings, "netbird", "agent_env") or {}).items():
        setting = f"netbird.agent_env.{name}"
        if name in FORBIDDEN_ENVIRONMENT:
            rule = f"is not for you to set: {FORBIDDEN_ENVIRONMENT[name]}"
            yield Problem(draft.stack, setting, "", rule, "remove it")
        elif CREDENTIALS.search(value):
            rule = "holds a user name and a password, which stand here in plain text"
            yield Problem(draft.stack, setting, "", rule, "write the address without them")
