"""The whole program under mocks: what it registers for each kind of cluster, and what it refuses."""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_ssh_private_key,
)

from components.engine import MOCKS
from domain.keys import ClusterKeys
from domain.version import VERSION
from tests.components.recording import (
    CASES,
    HCLOUD_TOKEN,
    KEEPER_KEY,
    KUBECONFIG,
    LINKS,
    NETBIRD_TOKEN,
    ROOT,
    SECRET_VALUES,
    STACK_URN,
    Run,
    engine_config_of,
    program,
    run,
    run_stack,
    write_stack_files,
)
from tests.domain.samples import CLUSTER_SECRET, DE, GIVEN, MN, REMOVE, SSH_PRIVATE_KEY, changed, golden

BOTH = pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_every_kind_of_cluster(tmp_path: Path, stack: str, config: dict[str, Any], preview: bool) -> None:
    found = run_stack(tmp_path, stack, config=config, preview=preview)
    kind = {"de": "hetzner"}.get(stack) or ("on-premise" if config is MN else "existing")
    golden(f"../../components/golden/{kind}.txt", found.tree())


@BOTH
def test_pending_peer_leaves_nothing_that_needs_it(tmp_path: Path, preview: bool) -> None:
    found = run_stack(tmp_path, "de", linked=False, preview=preview)
    assert found.of("EgressGateway") == []
    assert found.of("CiliumEgressGatewayPolicy") == []
    assert found.of("DnsRelay") == []
    assert found.of("NetbirdPolicy") == []
    assert list(found.one(":ConfigMapPatch", "dns-zones").inputs["data"]) == ["astring-de.internal.server"]
    assert not [item for item in found.registrations if "10.52." in item.raw or "astring-mn" in item.raw]
    status = found.outputs["links"].value["mn"]
    assert status == {
        "status": "pending",
        "message": "link pending: stack mn has no link yet; run `pulumi up -s mn`, then this stack again",
    }


@pytest.mark.parametrize("end", ["here", "there"])
def test_no_services_where_one_end_has_none(tmp_path: Path, end: str) -> None:
    """Whichever end it is, nothing of this one leads to the peer's services, but for what refuses packets to them."""
    config = changed(MN, {"link.cluster_ips": end == "there"})
    write_stack_files(tmp_path, mn=config)
    module = program()
    found = run(
        lambda: module.main(directory=tmp_path, engine=MOCKS),
        stack="mn",
        config=engine_config_of(config),
        preview=False,
        stacks={"de": {"link": LINKS["de"], "offers": {"cluster_ips": end == "here"}}},
    )
    assert [item.name for item in found.registrations if "10.43.0.0/16" in item.raw] == ["isthmus-guard"]
    assert not [item for item in found.registrations if "isthmus-de-services" in item.raw]
    own = [item.name for item in found.registrations if "isthmus-mn-services" in item.raw]
    assert own == ([] if end == "here" else ["isthmus-mn-services", "isthmus-mn-services-resource"])
    values = found.one("Release", "isthmus-cilium").inputs["values"]
    assert values["bpf"] == {"masquerade": True, **({"lbExternalClusterIP": True} if end == "there" else {})}
    assert found.outputs["offers"].value == {"cluster_ips": end == "there"}
    where = {"here": "here", "there": "at de"}[end]
    assert (
        found.outputs["links"]
        .value["de"]["message"]
        .endswith(f"; without ClusterIPs: link.cluster_ips is false {where}")
    )


def test_peer_without_a_stack_is_pending(tmp_path: Path) -> None:
    write_stack_files(tmp_path)
    module = program()
    found = run(
        lambda: module.main(directory=tmp_path, engine=MOCKS),
        stack="de",
        config=engine_config_of(DE),
        preview=True,
        stacks={},
    )
    assert found.outputs["links"].value["mn"]["message"] == (
        "link pending: there is no stack mn yet; run `pulumi up -s mn`, then this stack again"
    )
    assert found.of("StackReference") == []


def test_a_computed_mtu_is_one_that_the_peer_takes(tmp_path: Path) -> None:
    """On its own mn would give Cilium 1480, of whose packets de's private network takes no more."""
    wide = {"netbird": {"underlay_mtu": 1500}}
    config = changed(MN, wide)
    write_stack_files(tmp_path, de=changed(DE, wide), mn=config)
    module = program()
    found = run(
        lambda: module.main(directory=tmp_path, engine=MOCKS),
        stack="mn",
        config=engine_config_of(config),
        preview=True,
        stacks={"de": {"link": LINKS["de"]}},
    )
    assert found.one("Release", "isthmus-cilium").inputs["values"]["MTU"] == 1450


def test_link_is_what_the_peer_reads(tmp_path: Path) -> None:
    link = run_stack(tmp_path, "de").outputs["link"]
    assert link.value == LINKS["de"]
    assert not link.secret


def test_outputs(tmp_path: Path) -> None:
    outputs = run_stack(tmp_path, "mn").outputs
    assert outputs["kubeconfig"].secret
    assert "server: https://192.168.7.11:6443" in outputs["kubeconfig"].value
    assert outputs["node_ips"].value == {"mn-1": "192.168.7.11", "mn-2": "192.168.7.12"}
    assert outputs["router_peers"].value == {"mn-2": "100.92.0.8"}
    assert outputs["links"].value == {
        "de": {
            "status": "linked",
            "message": "linked: pods 10.42.0.0/16, services 10.43.0.0/16 and zone astring-de.internal by 100.92.0.7",
        }
    }


def test_outputs_of_a_first_preview_are_unknown(tmp_path: Path) -> None:
    outputs = run_stack(tmp_path, "de", preview=True).outputs
    assert not outputs["link"].known
    assert not outputs["kubeconfig"].known
    assert outputs["kubeconfig"].secret
    assert outputs["node_ips"].known


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_nothing_uses_a_default_provider(tmp_path: Path, stack: str, config: dict[str, Any], preview: bool) -> None:
    found = run_stack(tmp_path, stack, config=config, preview=preview)
    names = {"hcloud": "hcloud", "command": "command", "kubernetes": stack}
    checked = 0
    for item in found.registrations:
        package = item.type.partition(":")[0]
        if package in names:
            assert f"pulumi:providers:{package}::{names[package]}::" in item.provider, item
            checked += 1
    assert checked > 10


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_no_secret_is_plain(tmp_path: Path, stack: str, config: dict[str, Any], preview: bool) -> None:
    found = run_stack(tmp_path, stack, config=config, preview=preview)
    keys = ClusterKeys.derive(CLUSTER_SECRET, stack)
    hidden = [CLUSTER_SECRET, NETBIRD_TOKEN, HCLOUD_TOKEN, KEEPER_KEY, "c2VjcmV0LWtleQ==", keys.k3s_token]
    hidden += [*keys.ssh_private_key.splitlines()[1:3], *SSH_PRIVATE_KEY.splitlines()[1:-1]]
    for item in found.registrations:
        for secret in hidden:
            assert secret not in item.raw, item.name
    # The same search finds them where the wrappers are taken off, so it would have found a plain one.
    everything = "".join(str(item.inputs) for item in found.registrations)
    assert NETBIRD_TOKEN in everything
    assert (KEEPER_KEY in everything) is not preview


@pytest.mark.parametrize(("stack", "config"), CASES)
def test_children_belong_to_their_components(tmp_path: Path, stack: str, config: dict[str, Any]) -> None:
    found = run_stack(tmp_path, stack, config=config)
    at_the_top = {item.type for item in found.registrations if item.parent == STACK_URN.format(stack=stack)}
    assert at_the_top
    allowed = ("isthmus:", "pulumi:providers:", "pulumi:pulumi:StackReference")
    assert {kind for kind in at_the_top if not kind.startswith(allowed)} == set()


def _protected(key: str) -> str:
    """The same key behind a passphrase."""
    loaded = load_ssh_private_key(key.encode(), password=None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")).decode()


@pytest.fixture(scope="module")
def mn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """mn, linked with de."""
    return run_stack(tmp_path_factory.mktemp("mn"), "mn")


class TestOrder:
    """What has to exist before what; on destroy the same the other way round."""

    @pytest.mark.parametrize(
        ("later", "earlier"),
        [
            ("machines-mn-2", "machines-mn-1"),
            ("machines-kubeconfig", "machines-mn-1"),
            ("machines-kubeconfig", "machines-mn-2-uninstall"),
            ("isthmus-cilium", "machines-kubeconfig"),
            ("cilium-deny-metadata", "isthmus-cilium"),
            ("isthmus-netbird-operator", "isthmus-cilium"),
            ("isthmus-netbird-operator", "netbird-operator-api-key"),
            ("networkrouter-isthmus-mn", "isthmus-netbird-operator"),
            ("networkrouter-isthmus-mn", "mn.routers.isthmus.internal"),
            ("networkrouter-isthmus-mn", "isthmus-mn-routers"),
            ("setupkey-isthmus-mn-router", "isthmus-mn-routers"),
            ("setupkey-isthmus-mn-router", "isthmus-netbird-operator"),
            ("isthmus-mn-peers", "setupkey-isthmus-mn-router"),
            ("isthmus-mn-pods-resource", "networkrouter-isthmus-mn"),
            ("isthmus-mn-to-de-pods", "isthmus-mn-peers"),
            ("isthmus-mn-to-de-pods", "isthmus-mn-pods-resource"),
            ("isthmus-guard", "cilium-agents"),
            ("isthmus-to-de", "isthmus-mn-to-de-dns-tcp"),
            ("isthmus-to-de", "isthmus-guard"),
            ("isthmus-dns-relay", "isthmus-guard"),
            ("isthmus-dns-relay", "isthmus-mn-peers"),
            ("dns-coredns", "dns-zones"),
        ],
    )
    def test_after(self, mn: Run, later: str, earlier: str) -> None:
        assert earlier in _all_before(mn, later)


def _all_before(found: Run, name: str) -> set[str]:
    """Everything that a resource waits for, directly or not."""
    direct: dict[str, set[str]] = {}
    for item in found.registrations:
        direct.setdefault(item.name, set()).update(item.depends_on - {item.name})
        if item.provider:
            direct[item.name].add(item.provider.rpartition("::")[0].rpartition("::")[2])
    seen: set[str] = set()
    todo = {name}
    while todo:
        for one in direct.get(todo.pop(), set()) - seen:
            seen.add(one)
            todo.add(one)
    return seen


class TestRefusals:
    """What is wrong stops the program before anything is registered, all of it at once and without a traceback."""

    def refused(self, directory: Path, stack: str = "de", **stacks: dict[str, Any]) -> str:
        write_stack_files(directory, **stacks)
        module = program()
        config = engine_config_of({"de": DE, "mn": MN, **stacks}[stack])
        caught: list[str] = []

        async def body() -> None:
            with pytest.raises(pulumi.RunError) as refusal:
                await module.main(directory=directory, engine=MOCKS)
            caught.append(str(refusal.value))

        found = run(body, stack=stack, config=config, preview=True, stacks={"mn": {}, "de": {}})
        assert found.registrations == []
        return caught[0]

    def test_all_problems_of_all_stack_files(self, tmp_path: Path) -> None:
        said = self.refused(
            tmp_path,
            de=changed(DE, {"hetzner.routers": 0}),
            mn=changed(MN, {"network.pod_cidr": "10.42.0.0/16", "surprise": 1, "netbirdApiToken": REMOVE}),
        )
        lines = said.splitlines()
        assert lines[0] == f"{len(lines) - 1} problems in the stack files; nothing was changed:"
        assert any(line.startswith("de: hetzner.routers 0 ") for line in lines)
        assert any("network.pod_cidr 10.42.0.0/16 overlaps" in line for line in lines)
        assert any(line.startswith("mn: surprise is not a setting of this program") for line in lines)
        assert any(line.startswith("mn: netbirdApiToken is missing") for line in lines)

    def test_one_problem(self, tmp_path: Path) -> None:
        said = self.refused(tmp_path, mn=changed(MN, {"surprise": 1}))
        assert said.splitlines()[0] == "a problem in the stack files; nothing was changed:"

    @pytest.mark.parametrize(
        ("config", "secret", "value", "message"),
        [
            (
                DE,
                "isthmus:clusterSecret",
                "tooshort",
                (
                    "de: clusterSecret has 8 characters, not 64; set it anew: `openssl rand -hex 32 | pulumi config "
                    "set --secret clusterSecret -s de`. [Pulumi.de.yaml:"
                ),
            ),
            (
                DE,
                "hcloud:token",
                "alsoshort",
                (
                    "de: hcloud:token has 9 characters; Hetzner's tokens have 64; set it anew: `pulumi config set "
                    "--secret hcloud:token -s de`. [Pulumi.de.yaml:"
                ),
            ),
            (
                MN,
                "isthmus:sshPrivateKey",
                _protected(SSH_PRIVATE_KEY),
                (
                    "mn: sshPrivateKey is protected by a passphrase, and nobody is there to type it; set it anew: "
                    "`pulumi config set --secret sshPrivateKey -s mn < KEYFILE`. [Pulumi.mn.yaml:"
                ),
            ),
            (
                GIVEN,
                "isthmus:kubeconfig",
                KUBECONFIG,
                (
                    "mn: on_premise.kubeconfig.context mn is no context of the secret kubeconfig; its contexts are: "
                    "default. [Pulumi.mn.yaml:"
                ),
            ),
        ],
    )
    def test_secret_of_the_wrong_form(
        self, tmp_path: Path, config: dict[str, Any], secret: str, value: str, message: str
    ) -> None:
        stack = "de" if config is DE else "mn"
        with pytest.raises(pulumi.RunError) as refusal:
            run_stack(tmp_path, stack, config=config, secrets={**SECRET_VALUES, secret: value}, preview=True)
        caught = str(refusal.value).splitlines()
        assert caught[0] == "a problem in the stack files; nothing was changed:"
        assert caught[1].startswith(message)
        assert value not in str(refusal.value)

    def test_values_of_the_engine_count_for_the_own_stack(self, tmp_path: Path) -> None:
        write_stack_files(tmp_path)
        module = program()
        caught: list[str] = []

        async def body() -> None:
            with pytest.raises(pulumi.RunError) as refusal:
                await module.main(directory=tmp_path, engine=MOCKS)
            caught.append(str(refusal.value))

        other = changed(DE, {"network.pod_cidr": "10.52.0.0/16"})
        run(body, stack="de", config=engine_config_of(other), preview=True)
        assert "10.52.0.0/16 overlaps" in caught[0]

    @pytest.mark.parametrize(
        ("link", "message"),
        [
            (
                {"schema_version": 3},
                (
                    f"schema_version 3 is too new, Isthmus {VERSION} reads 1, 2; take the version of the program that "
                    "raised mn."
                ),
            ),
            (
                {"pod_cidr": "10.42.0.0/17"},
                "pod_cidr 10.42.0.0/17 overlaps network.pod_cidr 10.42.0.0/16; linked clusters need distinct ranges.",
            ),
        ],
    )
    @pytest.mark.parametrize("preview", [True, False])
    def test_unusable_link(self, tmp_path: Path, link: dict[str, Any], message: str, preview: bool) -> None:
        write_stack_files(tmp_path)
        module = program()
        caught: list[str] = []

        async def body() -> None:
            with pytest.raises(pulumi.RunError) as refusal:
                await module.main(directory=tmp_path, engine=MOCKS)
            caught.append(str(refusal.value))

        stacks = {"mn": {"link": {**LINKS["mn"], **link}}}
        found = run(body, stack="de", config=engine_config_of(DE), preview=preview, stacks=stacks)
        assert caught == [f"de: link of mn: {message}"]
        if not preview:
            assert [one.type for one in found.registrations if one.type != "pulumi:pulumi:Stack"] == []


ADDRESS = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?![0-9.])")
NOBODYS_ADDRESSES = {
    *("0.0.0.0/0", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.1", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("192.0.0.0/24", "198.18.0.0/15", "224.0.0.0/3", "255.255.255.255/32"),  # of no host
    "192.0.2.1",  # of texts, and reached by the default route
    "169.254.169.254",  # metadata services
    "172.31.1.1",  # Hetzner's gateway
    *("10.42.0.0/16", "172.17.0.0/16"),  # where k3s and Docker have their own
}


def constants(source: str) -> Iterator[str]:
    """The texts of a program, without docstrings and without what only shows how to write a setting."""
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        if isinstance(node, ast.keyword) and node.arg in ("examples", "description"):
            skipped.update(ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


def test_the_program_names_no_stack_and_no_address() -> None:
    """What differs between clusters is in their stack files. A sentence may give an example."""
    gc.collect()  # what the runs above left; see conftest.py
    files = [ROOT / "__main__.py", *(ROOT / "components").glob("*.py"), *(ROOT / "domain").rglob("*.py")]
    assert len(files) > 40
    found = [
        (file.name, one)
        for file in files
        for one in constants(file.read_text(encoding="utf-8"))
        if one in ("de", "mn")
        or (" " not in one.strip() and any(address not in NOBODYS_ADDRESSES for address in ADDRESS.findall(one)))
    ]
    assert found == [("starter_text.py", "192.168.7.0/24")]  # like what a blank of a new stack file looks


def test_a_stack_or_an_address_would_be_seen() -> None:
    source = 'x = "10.1.2.3"\ny = {"de": 1}\nz = Field(examples=["mn"])\n"""10.9.9.9"""\nw = f"https://10.1.2.4:{y}"\n'
    assert list(constants(source)) == ["10.1.2.3", "de", "https://10.1.2.4:"]
    assert ADDRESS.findall("https://10.1.2.4:") == ["10.1.2.4"]


def test_samples_of_this_test_are_secret() -> None:
    assert len(SSH_PRIVATE_KEY.splitlines()) > 5
    assert "c2VjcmV0LWtleQ==" in KUBECONFIG
