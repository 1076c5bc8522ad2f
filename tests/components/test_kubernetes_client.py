"""The small client of the Kubernetes API: how it logs in, and what it says when it can't."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from tests.certificates import certified


class TestKubernetesClient:
    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        """An API server whose certificate is for kubernetes.default.svc and that wants a client certificate."""
        authority = certified("ca")
        server = certified("kubernetes.default.svc", "192.0.2.1", issuer=authority)
        client = certified("admin", issuer=authority)
        (tmp_path / "server.pem").write_bytes(server.pem)
        (tmp_path / "ca.pem").write_bytes(authority.certificate)

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
            for name, data in (("ca", authority.certificate), ("crt", client.certificate), ("key", client.key))
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
