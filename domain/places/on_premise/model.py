"""The section ``on_premise``: machines that exist already."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from domain.host_keys import SshPublicKey
from domain.nodes import FIRST_GENERATION, Generation
from domain.settings.section import Section
from domain.values.addresses import HostAddress
from domain.values.names import NodeName, UserName

MACHINES_LIMIT: Final = 200


class Machine(Section):
    """A machine that exists already."""

    name: NodeName = Field(examples=["mn-1"])
    """The name of its Node."""
    address: HostAddress = Field(examples=["192.168.7.11"])
    """Its address in ``network.node_cidr``; the other nodes and ``pulumi up`` reach it there."""
    role: Literal["server", "agent"] | None = Field(default=None, examples=["server"])
    """``server`` runs the API, ``agent`` workloads only. Needed with ``ssh``, refused otherwise. Default: none, since
    an existing cluster has its roles."""
    router: StrictBool = Field(default=False, examples=[True])
    """Whether it carries the link, with an agent, a NetBird identity and an address of its own. One machine does at
    least; with more the link outlives one of them. Default: false, since it is so for most."""
    host_key: SshPublicKey | None = Field(default=None, examples=["ssh-ed25519 AAAA..."])
    """Its SSH host key, so that the first connection is verified already. Needed with ``ssh``, refused otherwise.
    Default: none, since an existing cluster is not reached over SSH."""
    generation: Generation = Field(default=FIRST_GENERATION, examples=[2])
    """Which node the machine is made to: with a higher number it is made one anew, with what the settings say of k3s by
    then. The node leaves as if the machine were taken out, k3s is taken off it with all its data, and it is installed
    and joins again under its name and address; servers first, routers last, one after the other. Not the only server,
    whose disk has the cluster's data. Only with ``ssh``. Default: 1, since it was not made anew."""


class SshSettings(Section):
    """How ``pulumi up`` logs in to the machines; the key is the secret ``isthmus:sshPrivateKey``."""

    user: UserName = Field(default="root", examples=["root"])
    """root, or a user who may run everything with ``sudo -n``. Default: root, who needs no sudo."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = Field(default=22, examples=[22])
    """TCP port of sshd. Default: 22, where sshd listens if nobody has changed it."""


class KubeconfigSettings(Section):
    """An existing cluster, instead of SSH; the kubeconfig is the secret ``isthmus:kubeconfig``."""

    context: Annotated[StrictStr, Field(min_length=1, max_length=253)] = Field(examples=["mn"])
    """Context of that kubeconfig."""


class OnPremiseSettings(Section):
    """A cluster on machines that exist already: raised over SSH, or existing and given by its kubeconfig."""

    machines: Annotated[tuple[Machine, ...], Field(min_length=1, max_length=MACHINES_LIMIT)] = Field(
        examples=["[{name: mn-1, address: 192.168.7.11, role: server, router: true, host_key: ssh-ed25519 AAAA...}]"]
    )
    """The nodes. With ``ssh`` all of them; with ``kubeconfig`` at least those of the routers."""
    ssh: SshSettings | None = Field(default=None, examples=["{user: root, port: 22}"])
    """Raise k3s on the machines over SSH. Default: none, because one of ssh and kubeconfig has to be chosen."""
    kubeconfig: KubeconfigSettings | None = Field(default=None, examples=["{context: mn}"])
    """Take the cluster that runs there already. Default: none, because one of ssh and kubeconfig has to be chosen."""
