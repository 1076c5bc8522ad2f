"""The calls to Kubernetes' API, against a real HTTPS server of the test's own that knows versions as the API does."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from keeper import kubernetes
from keeper.decision import NamePolicy
from keeper.kubernetes import Api, ApiProblem, Conflict, api_of_environment
from keeper.seen import PolicySeen
from tests.certificates import certified

LABEL = "isthmus.dev/router"
POLICY: dict[str, Any] = {
    "metadata": {"name": "isthmus-to-de", "resourceVersion": "7"},
    "spec": {
        "selectors": [{"podSelector": {}}],
        "destinationCIDRs": ["10.42.0.0/16"],
        "egressGateway": {"nodeSelector": {"matchLabels": {LABEL: "true"}}, "interface": "wt0"},
    },
}
PODS = [
    {"metadata": {"name": "networkrouter-isthmus-mn-1"}, "spec": {"nodeName": "mn-1"}},
    {"metadata": {"name": "networkrouter-isthmus-mn-2"}, "spec": {"nodeName": "mn-2"}},
    {"metadata": {"name": "netbird-operator-x"}, "spec": {"nodeName": "mn-1"}},
]


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class ApiServer:
    """As much of the API as a keeper calls."""

    def __init__(self, directory: Path) -> None:
        self.policy: dict[str, Any] = json.loads(json.dumps(POLICY))
        self.pods = list(PODS)
        self.events: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.connections = 0
        self.hang_up_after_answer = False
        self.silent = threading.Event()
        self.silent.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self) -> None:
                outer.silent.wait(10)
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                outer.calls.append((self.command, self.path))
                status, content = outer.answer(self.command, self.path, dict(self.headers), body)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                if outer.hang_up_after_answer:
                    self.close_connection = True

            do_GET = do_PATCH = do_POST = do_DELETE = _answer  # noqa: N815

        certificate(directory)
        (directory / "token").write_text("secret-token\n")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        if headers.get("Authorization") != "Bearer secret-token":
            return 401, {"message": "Unauthorized"}
        url = urlparse(path)
        match method, url.path:
            case "GET", kubernetes.POLICIES:
                return 200, {"items": [self.policy, merged(POLICY, {"metadata": {"name": "of-others"}})]}
            case "PATCH", "/apis/cilium.io/v2/ciliumegressgatewaypolicies/isthmus-to-de":
                assert headers["Content-Type"] == "application/merge-patch+json"
                assert parse_qs(url.query) == {"fieldManager": ["isthmus-keeper"]}
                if body["metadata"]["resourceVersion"] != self.policy["metadata"]["resourceVersion"]:
                    return 409, {"message": "the object has been modified"}
                self.policy = merged(self.policy, body)
                self.policy["metadata"]["resourceVersion"] = str(int(self.policy["metadata"]["resourceVersion"]) + 1)
                return 200, self.policy
            case "GET", "/api/v1/nodes/mn-1":
                return 200, {"metadata": {"name": "mn-1"}}
            case "GET", "/api/v1/nodes/mn-2":
                return 200, {"metadata": {"name": "mn-2", "labels": {"kubernetes.io/hostname": "mn-2.example.org"}}}
            case "GET", "/api/v1/namespaces/netbird/pods":
                node = parse_qs(url.query)["fieldSelector"][0].removeprefix("spec.nodeName=")
                return 200, {"items": [pod for pod in self.pods if pod["spec"]["nodeName"] == node]}
            case "DELETE", _:
                assert body == {"gracePeriodSeconds": 1}
                self.pods = [pod for pod in self.pods if not path.endswith("/" + pod["metadata"]["name"])]
                return 200, {}
            case "POST", "/api/v1/namespaces/default/events":
                self.events.append(body)
                return 201, body
            case _:
                return 404, {"message": f"no {path}"}

    def stop(self) -> None:
        self.silent.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def certificate(directory: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself."""
    own = certified("test", "127.0.0.1")
    (directory / "ca.crt").write_bytes(own.certificate)
    (directory / "tls.crt").write_bytes(own.certificate)
    (directory / "tls.key").write_bytes(own.key)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Iterator[Api]:
    api = Api("127.0.0.1", server.port, tmp_path)
    yield api
    api.close()


TAKE = NamePolicy("de", "mn-2", "7", "mn-2 9 100.92.0.9", move=True, reason="mn-1 is silent")


def test_policies_are_read_by_one_call(api: Api, server: ApiServer) -> None:
    wanted = {"de": "isthmus-to-de", "kz": "isthmus-to-kz"}
    assert api.policies(wanted, {}) == {"de": PolicySeen(None, "7", "")}
    assert api.policies(wanted, {}) == {"de": PolicySeen(None, "7", "")}
    assert (len(server.calls), server.connections) == (2, 1)


def test_naming_adds_one_label_and_leaves_the_rest(api: Api, server: ApiServer) -> None:
    assert api.name_policy("isthmus-to-de", TAKE, {}) == PolicySeen("mn-2", "8", "mn-2 9 100.92.0.9")
    expected = merged(POLICY, {"metadata": {"resourceVersion": "8", "annotations": {kubernetes.STAMP: TAKE.stamp}}})
    expected["spec"]["egressGateway"]["nodeSelector"]["matchLabels"]["kubernetes.io/hostname"] = "mn-2"
    assert server.policy == expected
    assert api.policies({"de": "isthmus-to-de"}, {}) == {"de": PolicySeen("mn-2", "8", "mn-2 9 100.92.0.9")}


def test_a_node_whose_hostname_is_not_its_name(api: Api, server: ApiServer) -> None:
    """As the kubelet of another distribution, or a cloud, may have it."""
    hostnames = api.hostnames(["mn-1", "mn-2", "mn-3"])
    assert hostnames == {"mn-1": "mn-1", "mn-2": "mn-2.example.org"}, "mn-3 is no Node yet"
    assert api.name_policy("isthmus-to-de", TAKE, hostnames).node == "mn-2"
    assert server.policy["spec"]["egressGateway"]["nodeSelector"]["matchLabels"] == {
        LABEL: "true",
        "kubernetes.io/hostname": "mn-2.example.org",
    }
    assert api.policies({"de": "isthmus-to-de"}, hostnames)["de"].node == "mn-2"


def test_a_stamp_alone_changes_no_selector(api: Api, server: ApiServer) -> None:
    api.name_policy("isthmus-to-de", NamePolicy("de", None, "7", "mn-1 5 100.92.0.7", move=False, reason="new"), {})
    assert server.policy["spec"] == POLICY["spec"]


def test_of_two_that_take_it_at_once_one_is_refused(api: Api, server: ApiServer) -> None:
    api.name_policy("isthmus-to-de", TAKE, {})
    with pytest.raises(Conflict, match="the object has been modified"):
        api.name_policy("isthmus-to-de", NamePolicy("de", "mn-3", "7", "", move=True, reason=""), {})
    assert api.policies({"de": "isthmus-to-de"}, {})["de"].node == "mn-2"


def test_the_agent_of_the_own_node_alone_is_started_anew(api: Api, server: ApiServer) -> None:
    assert api.restart_agent("mn-1") == ["networkrouter-isthmus-mn-1"]
    assert [pod["metadata"]["name"] for pod in server.pods] == ["networkrouter-isthmus-mn-2", "netbird-operator-x"]


def test_an_event_is_about_the_node(api: Api, server: ApiServer) -> None:
    api.event("mn-1", "LinkMoved", "because", warning=True)
    (event,) = server.events
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "mn-1", "uid": "mn-1"}
    assert (event["reason"], event["message"], event["type"]) == ("LinkMoved", "because", "Warning")
    assert datetime.fromisoformat(event["lastTimestamp"]).tzinfo is not None


def test_a_connection_that_was_closed_is_made_anew(api: Api, server: ApiServer) -> None:
    server.hang_up_after_answer = True
    for _ in range(3):
        assert api.policies({"de": "isthmus-to-de"}, {})["de"].version == "7"
    assert server.connections == 3


def test_an_api_that_is_silent_is_given_up_and_asked_again(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "PATIENCE_SECONDS", 0.2)
    server.silent.clear()
    with pytest.raises(ApiProblem, match="TimeoutError"):
        api.policies({}, {})
    server.silent.set()
    assert api.policies({}, {}) == {}


def test_what_is_refused_says_why(api: Api, server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(ApiProblem, match=r"404 no /apis/"):
        api.name_policy("isthmus-to-kz", TAKE, {})
    (tmp_path / "token").write_text("another")
    with pytest.raises(ApiProblem, match="401 Unauthorized"):
        api.policies({}, {})
    (tmp_path / "token").unlink()
    with pytest.raises(ApiProblem, match="service account's token"):
        api.policies({}, {})


def test_a_server_that_the_account_does_not_vouch_for_is_not_spoken_to(server: ApiServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certificate(other)
    (other / "token").write_text("secret-token")
    with pytest.raises(ApiProblem, match="CERTIFICATE_VERIFY_FAILED"):
        Api("127.0.0.1", server.port, other).policies({}, {})
    assert server.calls == []


def test_the_api_is_where_kubernetes_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_of_environment() is None
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.43.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert api_of_environment() is not None
