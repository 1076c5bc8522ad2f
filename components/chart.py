"""A Helm chart as a Helm release, from its public home or from the mirror of the settings.

It owns where a chart comes from and how its release survives an ``up`` that was killed. ``helm.v3.Release`` rather than
``helm.v4.Chart``, because its preview works while the cluster can't be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.child_names import formerly
from components.helm_records import RecoverRelease
from components.inputs import once_known

RELEASE_TIMEOUT_SECONDS: Final = 600


@dataclass(frozen=True)
class ChartSource:
    """A chart by name and version, which may be known later. ``home`` is the URL of a chart repository, or an
    ``oci://`` address that ends in the name.
    """

    name: str
    version: pulumi.Input[str]
    home: str

    def location(self, mirror: pulumi.Input[str] | None) -> dict[str, Any]:
        """The inputs of a Release that say where the chart is. A mirror holds ``NAME-VERSION.tgz`` files."""
        if mirror is not None:
            return {"chart": once_known(self._in_mirror, mirror, self.version)}
        if self.home.startswith("oci://"):
            return {"chart": self.home, "version": self.version}
        return {
            "chart": self.name,
            "version": self.version,
            "repositoryOpts": {"repo": self.home},
        }

    def _in_mirror(self, mirror: str, version: str) -> str:
        return f"{mirror.rstrip('/')}/{self.name}-{version}.tgz"


def release(
    resource_name: str,
    name: str,
    source: ChartSource,
    *,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    mirror: pulumi.Input[str] | None,
    recover: RecoverRelease | None,
    opts: pulumi.ResourceOptions,
) -> pulumi.CustomResource:
    """Installs a chart and waits until what it made is ready. ``values`` must be known in a preview.

    ``name`` is that of the release in the cluster, which earlier programs gave to the resource as well. A failed
    installation stays in place (no ``atomic``) and the next ``up`` upgrades it: on a slow machine images that are
    already there are half of the way.
    """
    return pulumi.CustomResource(
        "kubernetes:helm.sh/v3:Release",
        resource_name,
        {
            "name": name,
            "namespace": namespace,
            "values": dict(values),
            "timeout": RELEASE_TIMEOUT_SECONDS,
            "cleanupOnFail": True,
            "maxHistory": 5,
            # What the SDK's own class sends along.
            "compat": "true",
            **source.location(mirror),
        },
        pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                custom_timeouts=pulumi.CustomTimeouts(create="15m", update="15m", delete="10m"),
                hooks=recover.binding(resource_name) if recover is not None else None,
                aliases=formerly(resource_name, name),
            ),
        ),
    )
