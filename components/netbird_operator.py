"""NetBird's operator from its chart, in its namespace, with its access token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components import waits
from components.chart import ChartSource, release
from components.chart_crds import with_crds
from components.child_names import formerly
from components.helm_records import RecoverRelease
from components.kubernetes_object import KubernetesObject
from components.namespace_look import namespace_stays
from components.secrets import Secrets
from components.waiting import Waiting
from domain.netbird import API_KEY_SECRET, NAMESPACE
from domain.operator_values import namespace_object, operator_values, token_mark, token_secret
from domain.places.existing import KUBECONFIG
from domain.places.registry import StackSettings

CHART: Final = "netbird-operator"
CHART_HOME: Final = "oci://ghcr.io/netbirdio/helm-charts/netbird-operator"
RELEASE: Final = "isthmus-netbird-operator"


async def operators_namespace_stays(settings: StackSettings, secrets: Secrets) -> bool:
    """Whether the operator's namespace was there before: :func:`components.namespace_look.namespace_stays`. Not in a
    cluster of ours, which goes with all that is in it.
    """
    given = None if settings.on_premise is None else settings.on_premise.kubeconfig
    if given is None:
        return False
    return await namespace_stays(secrets.needs(KUBECONFIG), given.context, NAMESPACE, RELEASE)


@dataclass(frozen=True)
class NetbirdOperatorArgs:
    """``cluster`` is the stack, ``api_token`` is secret; it, the version, the mirror, the URL and the image may come
    from other resources. ``namespace_stays``: it is not deleted with the stack, which is an option of the engine.
    ``after`` has to be there first: without a pod network the operator never gets ready.
    """

    cluster: str
    version: pulumi.Input[str]
    management_url: pulumi.Input[str]
    agent_image: pulumi.Input[str]
    api_token: pulumi.Input[str]
    mirror: pulumi.Input[str] | None
    recover: RecoverRelease | None
    namespace_stays: bool
    waiting: Waiting
    after: Sequence[pulumi.Input[pulumi.Resource]]


class NetbirdOperator(pulumi.ComponentResource):
    """The operator, ready to reconcile; ``ready`` is what its custom resources have to wait for."""

    ready: pulumi.Input[pulumi.Resource]

    def __init__(self, name: str, args: NetbirdOperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:netbird:NetbirdOperator", name, {"version": args.version}, opts)
        namespace_name, token_name = f"{name}-namespace", f"{name}-api-key"
        namespace = KubernetesObject(
            namespace_name,
            namespace_object(theirs=args.namespace_stays),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                retain_on_delete=args.namespace_stays,
                aliases=formerly(namespace_name, NAMESPACE),
            ),
        )
        api_token: pulumi.Output[str] = pulumi.Output.secret(args.api_token)
        token = KubernetesObject(
            token_name,
            token_secret(api_token),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[namespace], aliases=formerly(token_name, API_KEY_SECRET)
            ),
        )

        async def marked(text: str) -> str:
            # In a thread: it is made to be slow, a tenth of a second, and all else is registered meanwhile.
            return await asyncio.to_thread(token_mark, text, args.cluster)

        marks: pulumi.Output[str] = api_token.apply(marked)
        # In plain, else the preview of every value would be a secret.
        mark = pulumi.Output.unsecret(marks)
        installed = release(
            f"isthmus-{name}",
            RELEASE,
            ChartSource(CHART, args.version, CHART_HOME),
            namespace=NAMESPACE,
            values=operator_values(args.management_url, args.agent_image, mark),
            mirror=args.mirror,
            recover=args.recover,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace, token]),
        )
        args.waiting.beside(waits.operator, made=installed, after=token)
        self.ready = with_crds(installed, args.recover)
        self.register_outputs({})
