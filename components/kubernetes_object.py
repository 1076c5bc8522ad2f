"""Kubernetes objects as the data they are, registered without the typed classes of the SDK.

The classes are worth little to manifests that are plain data already, and their modules take a second to import, in
every preview. Type tokens and inputs are those of the typed classes, so a class can take the place of this at any
time without a change in the state. https://www.pulumi.com/registry/packages/kubernetes/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from domain.names import FIELD_MANAGER

FORCED: Final = {"pulumi.com/patchForce": "true", "pulumi.com/patchFieldManager": FIELD_MANAGER}
"""Annotations of a patch: fields of other managers are taken over, under a manager's name that is the same in every
run, so that a patch that was interrupted leaves no manager behind.
"""

TAKEN_BACK: Final = {"pulumi.com/patchForce": "true"}
"""Annotation of an object that is ours: what somebody has changed in it by hand is put right."""
_MAYBE_THEIRS: Final = ("Namespace", "Secret")
"""Kinds without it, where the name is that of the operator's chart: there may be one of somebody's own, and an `up`
stops before it changes what it did not make.
"""
_OURS: Final = "isthmus-"
"""The start of names that nobody else gives."""


SKIP_AWAIT: Final = {"pulumi.com/skipAwait": "true"}
"""Annotation of what :mod:`components.waits` waits for instead of the engine. The engine's wait counts nodes that are
away, gives no reason, and is made only when the object changes.
"""


class KubernetesObject(pulumi.CustomResource):
    """One object, from its manifest. With ``patch`` only its given fields, on an object that others make. The engine
    waits for what is ``awaited``.
    """

    def __init__(
        self,
        name: str,
        manifest: Mapping[str, Any],
        *,
        patch: bool = False,
        awaited: bool = True,
        opts: pulumi.ResourceOptions,
    ) -> None:
        if manifest["kind"] == "Secret":
            secret = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            opts = pulumi.ResourceOptions.merge(opts, secret)
        # Nobody gives a status; named here, so that what the cluster answers comes back as an output.
        props = {**manifest, "status": None}
        metadata = manifest["metadata"]
        theirs = manifest["kind"] in _MAYBE_THEIRS and not metadata["name"].startswith(_OURS)
        added = FORCED if patch else {} if theirs else TAKEN_BACK
        if not awaited:
            added = {**SKIP_AWAIT, **added}
        if added:
            props["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), **added}}
        super().__init__(type_token(manifest, patch=patch), name, props, opts)

    @property
    @pulumi.getter
    def metadata(self) -> pulumi.Output[dict[str, Any]]:
        """The live metadata."""
        return pulumi.Output.from_input(pulumi.get(self, "metadata"))

    @property
    @pulumi.getter
    def status(self) -> pulumi.Output[dict[str, Any] | None]:
        """The status when the engine last looked."""
        return pulumi.Output.from_input(pulumi.get(self, "status"))


def type_token(manifest: Mapping[str, Any], *, patch: bool) -> str:
    """The engine's type: ``kubernetes:apps/v1:Deployment``, ``kubernetes:core/v1:NodePatch``."""
    version = manifest["apiVersion"]
    group_version = version if "/" in version else f"core/{version}"
    return f"kubernetes:{group_version}:{manifest['kind']}{'Patch' if patch else ''}"
