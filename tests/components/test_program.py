"""The whole program under mocks: what it registers for each kind of cluster, and what it refuses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
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
    Run,
    engine_config_of,
    program,
    run,
    run_stack,
    shared_run,
    write_stack_files,
)
from tests.domain.samples import CLUSTER_SECRET, DE, GIVEN, MN, REMOVE, SSH_PRIVATE_KEY, changed
from tests.parsing import parsed

BOTH = pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_no_secret_is_plain(stack: str, config: dict[str, Any], preview: bool) -> None:
    found = shared_run(stack, config, preview=preview)
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


def refused(
    directory: Path,
    config: dict[str, str],
    *,
    stack: str = "de",
    files: Mapping[str, Mapping[str, Any]] | None = None,
    **given: Any,
) -> tuple[str, Run]:
    """Why the program refuses the stack with this config, and what it had registered by then. ``files`` are stack files
    of their own.
    """
    write_stack_files(directory, **(files or {}))
    module = program()
    caught: list[str] = []

    async def body() -> None:
        with pytest.raises(pulumi.RunError) as refusal:
            await module.main(directory=directory, engine=MOCKS)
        caught.append(str(refusal.value))

    found = run(body, stack=stack, config=config, **given)
    (refusal,) = caught
    return refusal, found


def _protected(key: str) -> str:
    """The same key behind a passphrase."""
    loaded = load_ssh_private_key(key.encode(), password=None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")).decode()


class TestRefusals:
    """What is wrong stops the program before anything is registered, all of it at once and without a traceback."""

    def refused(self, directory: Path, stack: str = "de", **stacks: dict[str, Any]) -> str:
        config = engine_config_of({"de": DE, "mn": MN, **stacks}[stack])
        said, found = refused(directory, config, stack=stack, files=stacks, preview=True, stacks={"mn": {}, "de": {}})
        assert found.registrations == []
        return said

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
        other = changed(DE, {"network.pod_cidr": "10.52.0.0/16"})
        refusal, _ = refused(tmp_path, engine_config_of(other), preview=True)
        assert "10.52.0.0/16 overlaps" in refusal

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
        stacks = {"mn": {"link": {**LINKS["mn"], **link}}}
        refusal, found = refused(tmp_path, engine_config_of(DE), preview=preview, stacks=stacks)
        assert refusal == f"de: link of mn: {message}"
        if not preview:
            assert [
                registration.type for registration in found.registrations if registration.type != "pulumi:pulumi:Stack"
            ] == []


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
    tree = parsed(source)
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
    files = [ROOT / "__main__.py", *(ROOT / "components").glob("*.py"), *(ROOT / "domain").rglob("*.py")]
    assert len(files) > 40
    found = [
        (file.name, constant)
        for file in files
        for constant in constants(file.read_text(encoding="utf-8"))
        if constant in ("de", "mn")
        or (
            " " not in constant.strip()
            and any(address not in NOBODYS_ADDRESSES for address in ADDRESS.findall(constant))
        )
    ]
    assert found == [("starter_text.py", "192.168.7.0/24")]  # like what a blank of a new stack file looks


def test_a_stack_or_an_address_would_be_seen() -> None:
    source = 'x = "10.1.2.3"\ny = {"de": 1}\nz = Field(examples=["mn"])\n"""10.9.9.9"""\nw = f"https://10.1.2.4:{y}"\n'
    assert list(constants(source)) == ["10.1.2.3", "de", "https://10.1.2.4:"]
    assert ADDRESS.findall("https://10.1.2.4:") == ["10.1.2.4"]


def test_samples_of_this_test_are_secret() -> None:
    assert len(SSH_PRIVATE_KEY.splitlines()) > 5
    assert "c2VjcmV0LWtleQ==" in KUBECONFIG
