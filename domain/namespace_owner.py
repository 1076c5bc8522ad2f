"""Whose a namespace is that the program finds in a cluster.

What somebody else made is used and stays when the stack goes: deleting a namespace deletes everything in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OWNER_LABEL: Final = "isthmus.dev/made-by"
OWNER: Final = "isthmus"
ENGINE_MANAGER: Final = "pulumi-kubernetes-"
"""How the names of Pulumi's field managers begin."""


def is_somebody_elses(namespace: Mapping[str, Any] | None, *, has_our_release: bool) -> bool:
    """Whether a namespace, as the API server has it, was made by others; None when there is none.

    Ours carries a label. Earlier releases of the program left none: theirs is known by our release in it, and by the
    managers of its fields, which are the engine's alone. In doubt it is somebody else's, and stays.
    """
    if namespace is None:
        return False
    metadata = namespace["metadata"]
    if (metadata.get("labels") or {}).get(OWNER_LABEL) == OWNER:
        return False
    managers = {str(entry["manager"]) for entry in metadata.get("managedFields") or []}
    return not (has_our_release and all(name.startswith(ENGINE_MANAGER) for name in managers))
