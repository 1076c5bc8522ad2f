"""The one seam between the program and what calls back into it: Pulumi's engine.

Hooks and transforms are functions of ours that the engine runs, and waits and looks go beside its work. The SDK's mocks
run none of it. So who builds a part asks here, and under mocks (:data:`MOCKS`) the same parts are registered without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pulumi


@dataclass(frozen=True)
class Engine:
    """``calls_back``: whether hooks and transforms are run, and the world is there to be looked at."""

    calls_back: bool = True

    def hooks(self, binding: Callable[[], pulumi.ResourceHookBinding]) -> pulumi.ResourceHookBinding | None:
        """For the option ``hooks``. A hook is registered when its binding is made, so it is made here."""
        return binding() if self.calls_back else None

    def transforms(self, *transforms: pulumi.ResourceTransform) -> list[pulumi.ResourceTransform] | None:
        """For the option ``transforms``."""
        return list(transforms) if self.calls_back else None


ENGINE: Final = Engine()
MOCKS: Final = Engine(calls_back=False)
