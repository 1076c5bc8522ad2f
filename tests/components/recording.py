"""Runs the program or a component under the SDK's mocks and keeps everything that was registered."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast
from unittest import mock

import grpc
import pulumi
import pytest
from pulumi.runtime import mocks, resource, rpc
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import reset_options
from pulumi.runtime.stack import run_pulumi_func

from components import joined_cluster, keeper_program
from components.engine import MOCKS
from domain import cloud_init, node_files
from tests.domain.samples import CLUSTER_SECRET, DE, GIVEN, MN, SSH_PRIVATE_KEY, link_of_mn, text

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]
SECRET_KEY: Final = "4dabf18193072939515e22adb298388d"

HCLOUD_TOKEN: Final = "h" * 64
NETBIRD_TOKEN: Final = "nbp_token_of_the_tests"
KEEPER_KEY: Final = "c0ffee" * 10 + "cafe"
SECRET_VALUES: Final = {
    "isthmus:clusterSecret": CLUSTER_SECRET,
    "isthmus:netbirdApiToken": NETBIRD_TOKEN,
    "isthmus:sshPrivateKey": SSH_PRIVATE_KEY,
    "hcloud:token": HCLOUD_TOKEN,
}

STACK_URN: Final = "urn:pulumi:{stack}::isthmus::pulumi:pulumi:Stack::isthmus-{stack}"

KUBECONFIG: Final = """\
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Y2E=}}]
users: [{name: default, user: {client-certificate-data: Y2VydA==, client-key-data: c2VjcmV0LWtleQ==}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""
"""As k3s leaves it on a server."""
GIVEN_KUBECONFIG: Final = KUBECONFIG.replace(
    "contexts: [", "contexts: [{name: mn, context: {cluster: default, user: default}}, "
)
"""That of an existing cluster: with the context of the samples."""
PEER_ADDRESSES: Final = {
    "de-agent-1": "100.92.0.7",
    "mn-1": "100.92.0.9",
    "mn-2": "100.92.0.8",
    "worker-b": "100.92.0.8",
}

OFFERS: Final = {"cluster_ips": True}
"""What both stacks say beside it."""
LINKS: Final[dict[str, dict[str, Any]]] = {
    "de": {
        "schema_version": 1,
        "cluster": "de",
        "pod_cidr": "10.42.0.0/16",
        "service_cidr": "10.43.0.0/16",
        "dns_zone": "astring-de.internal",
        "node_ips": ["10.0.1.11", "10.0.1.31"],
        "routers": [{"node": "de-agent-1", "node_ip": "10.0.1.31", "peer_ip": "100.92.0.7"}],
    },
    "mn": link_of_mn("100.92.0.8"),
}


@dataclass(frozen=True)
class Registration:
    """A resource as the engine would see it. ``inputs`` have wire names and no secret wrappers; ``secret_inputs`` names
    the top-level inputs that are secret; ``raw`` is the text of the inputs with every secret taken out.
    """

    type: str
    name: str
    inputs: dict[str, Any]
    secret_inputs: frozenset[str]
    raw: str
    urn: str
    parent: str
    provider: str
    protect: bool
    depends_on: frozenset[str]
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    delete_before_replace: bool
    additional_secret_outputs: tuple[str, ...]
    retain_on_delete: bool
    deleted_with: str
    timeouts: dict[str, str]


@dataclass
class Recorder(MockMonitor):
    """A monitor that records and answers as the providers would."""

    preview: bool
    stacks: Mapping[str, Mapping[str, Any]]
    registrations: list[Registration] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(_Answers(self.preview, self.stacks))

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (the name is the SDK's)
        """As the SDK does it, with a note of what was asked."""
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object)
            self.registrations.append(
                Registration(
                    type=request.type,
                    name=request.name,
                    inputs=_plain(inputs),
                    secret_inputs=frozenset(key for key, value in inputs.items() if _is_secret(value)),
                    raw=json.dumps(_without_secrets(inputs), default=str),
                    urn=response.urn,
                    parent=request.parent,
                    provider=request.provider,
                    protect=request.protect,
                    depends_on=frozenset(urn.rpartition("::")[2] for urn in request.dependencies),
                    ignore_changes=tuple(request.ignoreChanges),
                    replace_on_changes=tuple(request.replaceOnChanges),
                    delete_before_replace=request.deleteBeforeReplace,
                    additional_secret_outputs=tuple(request.additionalSecretOutputs),
                    retain_on_delete=request.retainOnDelete,
                    deleted_with=request.deletedWith,
                    timeouts={
                        key: getattr(request.customTimeouts, key)
                        for key in ("create", "update", "delete")
                        if getattr(request.customTimeouts, key)
                    },
                )
            )
        return response

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """The one function that is called: whether a stack exists."""
        assert request.tok == "pulumi:pulumi:readStackOutputs", request.tok
        stack = rpc.deserialize_properties(request.args)["name"]
        if stack.rpartition("/")[2] not in self.stacks:
            raise _EngineError(f'unknown stack "{stack}"')
        return super().Invoke(request)  # type: ignore[no-untyped-call]


class _EngineError(grpc.RpcError):  # type: ignore[misc]
    """An error as gRPC gives it."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


class _Answers(Mocks):
    def __init__(self, preview: bool, stacks: Mapping[str, Mapping[str, Any]]) -> None:
        self._preview = preview
        self._stacks = stacks
        self._count = 100

    def call(self, args: Any) -> Any:
        return {"outputs": dict(self._stacks[str(args.args["name"]).rpartition("/")[2]])}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self._count += 1
        state = dict(args.inputs)
        if args.typ == "pulumi:pulumi:StackReference":
            outputs = self._stacks[str(args.inputs["name"]).rpartition("/")[2]]
            return args.name, {"name": args.inputs["name"], "outputs": outputs, "secretOutputNames": []}
        if self._preview:
            return "", {key: value for key, value in state.items() if value is not None}
        if args.typ == "hcloud:index/server:Server":
            state["ipv4Address"] = f"198.51.100.{self._count}"
        if args.typ == "command:remote:Command":
            state |= {"stdout": KUBECONFIG, "stderr": ""}
        if args.typ.startswith("kubernetes:netbird.io/"):
            state["metadata"] = {**state["metadata"], "uid": f"uid-of-{args.name}"}
            state["status"] = {"networkID": f"network-of-{args.name}"}
        if args.typ.endswith(":StackInstance"):
            state["instance"] = "0" * 32
        if args.typ.endswith(":KeeperKey"):
            state["key"] = KEEPER_KEY
        if args.typ.endswith(":NetbirdSetupKey"):
            state["renewals"] = 0
        if args.typ.endswith(":NodeSettings"):
            state["number"] = 1
        if args.typ.endswith(":NetbirdRouterPeers"):
            state["peers"] = {node: PEER_ADDRESSES[node] for node in state["hostnames"]}
        return str(self._count), state


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and SECRET_KEY in value


def _plain(value: Any) -> Any:
    if _is_secret(value):
        return _plain(value["value"])
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _without_secrets(value: Any) -> Any:
    if _is_secret(value):
        return "[secret]"
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return value


@dataclass(frozen=True)
class Value:
    """An output of the program: its value, whether it is secret, and whether it is known at all."""

    value: Any
    secret: bool
    known: bool


@dataclass(frozen=True)
class Run:
    """What a run registered and gave."""

    stack: str
    registrations: list[Registration]
    outputs: dict[str, Value]

    def one(self, type_: str, name: str | None = None) -> Registration:
        """The one resource of a type (its end will do), and of a name where there are several."""
        found = [item for item in self.of(type_) if name in (None, item.name)]
        assert len(found) == 1, (type_, name, [item.name for item in found])
        return found[0]

    def of(self, type_: str) -> list[Registration]:
        """All resources of a type (its end will do)."""
        return [item for item in self.registrations if item.type.endswith(type_)]

    def some(self, type_: str) -> list[Registration]:
        """All resources of a type, of which there has to be one: what is said of each of none is always true."""
        found = self.of(type_)
        assert found, f"there is no {type_} among {sorted({item.type for item in self.registrations})}"
        return found

    def tree(self) -> str:
        """Type and name of everything, indented below its parent, in a fixed order."""
        lines: list[str] = []

        def show(parent: str, depth: int) -> None:
            below = [item for item in self.registrations if item.parent == parent]
            for item in sorted(below, key=lambda item: (item.type, item.name)):
                lines.append(f"{'  ' * depth}{item.type} {item.name}")
                show(item.urn, depth + 1)

        show(STACK_URN.format(stack=self.stack), 0)
        return "\n".join(lines) + "\n"


def program() -> ModuleType:
    """``__main__.py``, imported under another name so that it registers nothing by itself."""
    spec = importlib.util.spec_from_file_location("isthmus_program", ROOT / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def engine_config_of(config: Mapping[str, Any], secrets: Mapping[str, str] = SECRET_VALUES) -> dict[str, str]:
    """A stack file's config as the engine hands it to the program."""
    result = {}
    for key, value in config.items():
        if key in secrets:
            result[key] = secrets[key]
        elif isinstance(value, dict | list):
            result[key] = json.dumps(value)
        else:
            result[key] = str(value)
    return result


def write_stack_files(directory: Path, **stacks: Mapping[str, Any]) -> Path:
    """Stack files in a directory; de and mn stand in where they are not given."""
    for name, config in {"de": DE, "mn": MN, **stacks}.items():
        (directory / f"Pulumi.{name}.yaml").write_text(text(config), encoding="utf-8")
    return directory


_YAML: Final[dict[str, str]] = {}


def _as_yaml(data: dict[str, Any]) -> str:
    """As the domain has it. Most runs render what one before has rendered, and PyYAML takes a tenth of a run for it."""
    key = json.dumps(data, sort_keys=True)
    if key not in _YAML:
        _YAML[key] = node_files.as_yaml(data)
    return _YAML[key]


class _Loop(asyncio.SelectorEventLoop):
    """What the SDK asks of the monitor is answered at once: with the mocks nothing is waited for, and a thread for each
    question is a tenth of a run. The program's own threads are threads.
    """

    def run_in_executor(  # type: ignore[override]  # how the types of the arguments hang together is the SDK's matter
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        if executor is not None or not str(func.__module__).startswith("pulumi."):
            return super().run_in_executor(executor, func, *args)
        answer = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            answer.set_exception(error)
        return answer


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of one that waits for nothing: the SDK runs a loop within the loop for what its mocks answer."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("an answer of the mocks waits for something")


_scrypt: Final = functools.cache(hashlib.scrypt)
"""Made to be slow; the runs ask it for one and the same."""
_keeper: Final = functools.cache(keeper_program.program)
"""Compressed once for all runs, as a run does it once."""


def _unsaid(*_: object, **__: object) -> None:
    pass


def run(
    body: Callable[[], Awaitable[dict[str, Any] | None]],
    *,
    stack: str,
    config: Mapping[str, str],
    preview: bool,
    stacks: Mapping[str, Mapping[str, Any]] | None = None,
    project: str = "isthmus",
) -> Run:
    """Runs a coroutine as the program of a stack. ``stacks`` are the outputs of the stacks that exist."""
    loop = _Loop()
    asyncio.set_event_loop(loop)
    reset_options()
    recorder = Recorder(preview=preview, stacks=stacks or {})
    set_mocks(
        recorder.mocks, project=project, stack=stack, preview=preview, monitor=recorder, organization="organization"
    )
    set_all_config(dict(config))
    outputs: dict[str, Value] = {}

    async def whole() -> None:
        for name, value in (await body() or {}).items():
            output = pulumi.Output.from_input(value)
            outputs[name] = Value(
                value=await output.future(with_unknowns=True),
                secret=await output.is_secret(),
                known=await output.is_known(),
            )

    try:
        with (
            # Where in the source a resource was made is told to the engine only; finding that out is a fifth of a run.
            mock.patch.object(resource, "_get_stack_trace", source_pb2.StackTrace),
            # Its debug messages go nowhere; those of the program are tested where it gives them.
            mock.patch.object(pulumi.log, "debug", _unsaid),
            mock.patch.object(mocks, "_sync_await", _at_once),
            mock.patch.object(cloud_init, "as_yaml", _as_yaml),
            mock.patch.object(hashlib, "scrypt", _scrypt),
            mock.patch.object(joined_cluster, "program", _keeper),
        ):
            loop.run_until_complete(run_pulumi_func(whole))
    finally:
        set_all_config({})
        reset_options()
        asyncio.set_event_loop(None)
        loop.close()
    return Run(stack, recorder.registrations, outputs)


def run_program(
    directory: Path,
    stack: str,
    config: Mapping[str, str],
    *,
    preview: bool,
    stacks: Mapping[str, Mapping[str, Any]],
) -> Run:
    """Runs the program on the stack files in ``directory``; ``config`` is what the engine makes of one of them."""
    module = program()
    return run(
        lambda: module.main(directory=directory, engine=MOCKS),
        stack=stack,
        config=config,
        preview=preview,
        stacks=stacks,
    )


def run_stack(
    directory: Path,
    stack: str,
    *,
    preview: bool = False,
    linked: bool = True,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] = SECRET_VALUES,
    others: Mapping[str, Mapping[str, Any]] | None = None,
    peer_outputs: Mapping[str, Any] | None = None,
) -> Run:
    """Runs the program for de or mn, or for ``config``; ``linked`` says whether the peers have been raised. ``others``
    are other stack files, ``peer_outputs`` what a peer's stack has besides its link.
    """
    chosen = config or {"de": DE, "mn": MN}[stack]
    write_stack_files(directory, **{**(others or {}), stack: chosen})
    values = engine_config_of(chosen, {"isthmus:kubeconfig": GIVEN_KUBECONFIG, **secrets})
    left = {"offers": OFFERS, **(peer_outputs or {})}
    stacks = {name: {"link": link, **left} if linked else {} for name, link in LINKS.items() if name != stack}
    return run_program(directory, stack, values, preview=preview, stacks=stacks)


def shared_run(
    stack: str, config: Mapping[str, Any] | None = None, *, preview: bool = False, linked: bool = True
) -> Run:
    """:func:`run_stack` for who only looks at what comes of it: made once in a process, and nobody changes it."""
    return _shared_run(stack, json.dumps(config or {"de": DE, "mn": MN}[stack]), preview, linked)


@functools.cache
def _shared_run(stack: str, config: str, preview: bool, linked: bool) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        return run_stack(Path(directory), stack, config=json.loads(config), preview=preview, linked=linked)


CASES: Final = [
    pytest.param("de", DE, id="hetzner"),
    pytest.param("mn", MN, id="on-premise"),
    pytest.param("mn", GIVEN, id="existing"),
]
"""The three ways to a cluster: the stack and its config."""
