"""What an `up` that was killed leaves behind, and how the next one gets over it."""

from __future__ import annotations

import base64
import datetime as dt
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.helm_records import INTERRUPTED, remove_records
from components.hetzner_client import HetznerClient, HetznerError
from components.hetzner_leftovers import remove_leftover, remove_leftover_subnet
from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from lab.standins.hetzner_api.backend import MemoryBackend
from tests.lab.hetzner_api.conftest import TOKEN, StandIn

INSTANCE = "0123456789abcdef0123456789abcdef"


class FakeKubernetes:
    """Helm's records as the API lists them."""

    def __init__(self, **records: str) -> None:
        self.records = records
        self.requests: list[tuple[str, str]] = []

    def request(self, method: str, path: str) -> dict[str, Any]:
        self.requests.append((method, path))
        if method == "DELETE":
            del self.records[path.rpartition("/")[2]]
            return {}
        return {"items": [{"metadata": {"name": n, "labels": {"status": s}}} for n, s in self.records.items()]}


class TestHelmRecords:
    def test_before_a_release_is_made_no_record_stays(self) -> None:
        api = FakeKubernetes(v1="deployed", v2="pending-upgrade")
        assert remove_records(api, "kube-system", "isthmus-cilium", None) == ["v1", "v2"]  # type: ignore[arg-type]
        assert api.requests[0] == (
            "GET",
            "/api/v1/namespaces/kube-system/secrets?labelSelector=owner%3Dhelm,name%3Disthmus-cilium",
        )
        assert api.records == {}

    def test_before_an_update_only_interrupted_ones_go(self) -> None:
        api = FakeKubernetes(v1="superseded", v2="deployed", v3="pending-upgrade", v4="failed")
        removed = remove_records(api, "kube-system", "isthmus-cilium", INTERRUPTED)  # type: ignore[arg-type]
        assert removed == ["v3"]
        assert list(api.records) == ["v1", "v2", "v4"]


@pytest.fixture
def hetzner(tmp_path: Path) -> Iterator[StandIn]:
    """Hetzner with nothing in it."""
    standin = StandIn(tmp_path, MemoryBackend())
    yield standin
    standin.stop()


def hetzner_client(hetzner: StandIn) -> HetznerClient:
    """A client that waits no longer than the stand-in's actions take."""
    return HetznerClient(TOKEN, hetzner.endpoint, sleep=lambda _: time.sleep(0.02))


class TestHetznerLeftovers:
    OURS = {"isthmus-instance": INSTANCE}  # noqa: RUF012

    def test_server_of_this_instance_goes(self, hetzner: StandIn) -> None:
        body = {"name": "de-agent-1", "server_type": "cx23", "image": "debian-12", "labels": self.OURS}
        assert hetzner.call("POST", "/servers", body).status_code == 201
        assert remove_leftover(hetzner_client(hetzner), "servers", "de-agent-1", INSTANCE)
        assert hetzner.call("GET", "/servers").json()["servers"] == []
        assert hetzner.call("POST", "/servers", body).status_code == 201, "the name is free again"

    def test_nothing_there(self, hetzner: StandIn) -> None:
        assert not remove_leftover(hetzner_client(hetzner), "servers", "de-agent-1", INSTANCE)

    @pytest.mark.parametrize("labels", [{}, {"isthmus-instance": "f" * 32}], ids=["none", "another"])
    def test_of_somebody_else_stays(self, hetzner: StandIn, labels: dict[str, str]) -> None:
        body = {"name": "isthmus-de", "ip_range": "10.0.0.0/16", "labels": labels}
        id_ = hetzner.call("POST", "/networks", body).json()["network"]["id"]
        with pytest.raises(HetznerError) as refusal:
            remove_leftover(hetzner_client(hetzner), "networks", "isthmus-de", INSTANCE)
        assert str(refusal.value) == (
            f"Hetzner: networks/{id_} is called isthmus-de already, and it was not made by this stack's state; "
            "delete or rename it, or bring back the state it belongs to"
        )
        assert len(hetzner.call("GET", "/networks").json()["networks"]) == 1

    def test_subnet_of_our_network(self, hetzner: StandIn) -> None:
        body = {
            "name": "isthmus-de",
            "ip_range": "10.0.0.0/16",
            "subnets": [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}],
        }
        id_ = hetzner.call("POST", "/networks", body).json()["network"]["id"]
        client = hetzner_client(hetzner)
        assert remove_leftover_subnet(client, id_, "10.0.1.0/24")
        assert hetzner.call("GET", f"/networks/{id_}").json()["network"]["subnets"] == []
        assert not remove_leftover_subnet(client, id_, "10.0.1.0/24")

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("delete", "servers/{id} is still there after its deletion"),
            ("act", "the action poweron of servers/{id} has not ended"),
        ],
    )
    def test_what_takes_too_long_is_named_and_the_next_time_it_goes_through(
        self, tmp_path: Path, kind: str, said: str
    ) -> None:
        """The machine that makes the server, or starts it, takes its time."""
        slow = StandIn(tmp_path / "slow", MemoryBackend(), action_seconds=1.0)
        try:
            body = {"name": "de-agent-1", "server_type": "cx23", "image": "debian-12", "start_after_create": False}
            id_ = slow.call("POST", "/servers", body).json()["server"]["id"]
            client = HetznerClient(TOKEN, slow.endpoint, sleep=lambda _: time.sleep(0.02), deadline_seconds=0.2)
            patient = HetznerClient(TOKEN, slow.endpoint, sleep=lambda _: time.sleep(0.02), deadline_seconds=20.0)

            def ask(one: HetznerClient) -> None:
                if kind == "delete":
                    one.delete("servers", id_)
                else:
                    one.act(f"/servers/{id_}/actions/poweron", {})

            def unlocked() -> None:
                end = time.monotonic() + 20
                while slow.call("GET", f"/servers/{id_}").json()["server"]["locked"]:
                    assert time.monotonic() < end
                    time.sleep(0.02)

            if kind == "act":
                unlocked()
            with pytest.raises(HetznerError) as refusal:
                ask(client)
            assert str(refusal.value) == (
                f"Hetzner: {said.format(id=id_)} within 0 s; the next `pulumi up` goes on from there"
            )
            if kind == "act":
                unlocked()
            ask(patient)
        finally:
            slow.stop()

    def test_refusal_carries_the_apis_words_and_no_token(self, hetzner: StandIn) -> None:
        with pytest.raises(HetznerError) as refusal:
            HetznerClient("short", hetzner.endpoint).by_name("servers", "x")
        assert str(refusal.value).startswith("Hetzner API: GET /servers?name=x: 401: ")
        assert "short" not in str(refusal.value)


class TestKubernetesClient:
    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        """An API server whose certificate is for kubernetes.default.svc and that wants a client certificate."""
        authority_key, authority = _certificate("ca", None, None)
        server_key, server = _certificate("kubernetes.default.svc", authority_key, authority)
        client_key, client = _certificate("admin", authority_key, authority)
        (tmp_path / "server.pem").write_bytes(server + server_key)
        (tmp_path / "ca.pem").write_bytes(authority)

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                subject = self.connection.getpeercert()["subject"]
                text = json.dumps({"path": self.path, "subject": subject}).encode()
                self.send_response(200 if self.path == "/fine" else 403)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        context.load_verify_locations(tmp_path / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        encoded = {
            name: base64.b64encode(data).decode()
            for name, data in (("ca", authority), ("crt", client), ("key", client_key))
        }
        yield {
            "clusters": [
                {
                    "name": "de",
                    "cluster": {
                        "server": f"https://127.0.0.1:{listener.server_address[1]}",
                        "tls-server-name": "kubernetes.default.svc",
                        "certificate-authority-data": encoded["ca"],
                    },
                }
            ],
            "users": [
                {"name": "de", "user": {"client-certificate-data": encoded["crt"], "client-key-data": encoded["key"]}}
            ],
            "contexts": [{"name": "de", "context": {"cluster": "de", "user": "de"}}],
            "current-context": "de",
        }
        listener.shutdown()
        thread.join()
        listener.server_close()

    def test_by_client_certificate_and_tls_server_name(self, api: dict[str, Any]) -> None:
        answer = KubernetesClient(yaml.safe_dump(api)).request("GET", "/fine")
        assert answer == {"path": "/fine", "subject": [[["commonName", "admin"]]]}

    def test_refusal(self, api: dict[str, Any]) -> None:
        where = api["clusters"][0]["cluster"]["server"].removeprefix("https://")
        with pytest.raises(KubernetesError) as refusal:
            KubernetesClient(yaml.safe_dump(api)).request("GET", "/other")
        assert str(refusal.value) == f"Kubernetes API at {where}: GET /other: 403 Forbidden"

    def test_wrong_name_in_the_certificate(self, api: dict[str, Any]) -> None:
        api["clusters"][0]["cluster"]["tls-server-name"] = "example.org"
        with pytest.raises(KubernetesError, match="certificate verify failed"):
            KubernetesClient(yaml.safe_dump(api)).request("GET", "/fine")

    def test_unreachable(self, api: dict[str, Any]) -> None:
        api["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
        with pytest.raises(
            KubernetesError, match=r"^Kubernetes API at 127\.0\.0\.1:9: GET /fine: .*Connection refused$"
        ):
            KubernetesClient(yaml.safe_dump(api)).request("GET", "/fine")

    def test_login_by_a_program_is_not_spoken(self, api: dict[str, Any]) -> None:
        api["users"][0]["user"] = {"exec": {"command": "login"}}
        with pytest.raises(UnsupportedKubeconfigError, match="neither client-certificate-data nor token"):
            KubernetesClient(yaml.safe_dump(api))

    def test_unknown_context(self, api: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedKubeconfigError, match="the kubeconfig has no mn among its contexts"):
            KubernetesClient(yaml.safe_dump(api), "mn")

    def test_a_kubeconfig_that_can_not_be_read_shows_nothing_of_itself(self) -> None:
        with pytest.raises(UnsupportedKubeconfigError, match=r"^the kubeconfig is not YAML$"):
            KubernetesClient("users: [hunter2")


def _certificate(name: str, issuer_key: bytes | None, issuer: bytes | None) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key if issuer_key is None else serialization.load_pem_private_key(issuer_key, None)
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else x509.load_pem_x509_certificate(issuer).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(IPv4Address("192.0.2.1"))]), critical=False
        )
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, built.public_bytes(serialization.Encoding.PEM)
