"""The certificates that nodes of one token make for themselves."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lab.standins.k3s.certificates import (
    VALID_FROM,
    VALID_UNTIL,
    CertificateAuthority,
    Certificates,
    api_server_names,
    ensure_key,
    public_key_bytes,
)
from lab.standins.k3s.settings import parse_settings
from tests.lab.k3s.samples import AGENT, TOKEN, server_settings

TOKENS_SERVER_CA_KEY = "3e0e68b202a5963bfc7cc810b0fe43516fb0d2bf54e305e565bb44a582356614"


class TestCertificates:
    def test_authorities_of_one_token_are_equal_and_of_others_differ(self) -> None:
        first = CertificateAuthority(TOKEN, "k3s-server-ca")
        assert first.pem == CertificateAuthority(TOKEN, "k3s-server-ca").pem
        assert first.pem != CertificateAuthority(TOKEN, "k3s-client-ca").pem
        assert first.pem != CertificateAuthority(TOKEN + "0", "k3s-server-ca").pem

    def test_the_authority_of_a_token_never_changes(self) -> None:
        # A new derivation would lock the agents of a cluster out.
        certificate = x509.load_pem_x509_certificate(CertificateAuthority(TOKEN, "k3s-server-ca").pem)
        key = certificate.public_key()
        assert isinstance(key, ed25519.Ed25519PublicKey)
        assert public_key_bytes(key).hex()[-64:] == TOKENS_SERVER_CA_KEY

    def test_the_api_servers_certificate_has_every_name(self) -> None:
        settings = server_settings(**{"tls-san": ["api.example.com", "203.0.113.7"]})
        assert api_server_names(settings) == (
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "de-server-1",
            "127.0.0.1",
            "10.0.1.10",
            "10.43.0.1",
            "api.example.com",
            "203.0.113.7",
        )

    def test_files_survive_a_restart_unchanged(self, tmp_path: Path) -> None:
        settings = server_settings()

        def make() -> dict[str, bytes]:
            certificates = Certificates(settings, tmp_path / "tls")
            certificates.etcd()
            certificates.kubelet_client()
            certificates.kubelet_serving()
            return {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}

        assert make() == make()
        keys = list((tmp_path / "tls").glob("*.key"))
        assert keys
        for path in keys:
            assert path.stat().st_mode & 0o777 == 0o600

    def test_a_nodes_certificate_speaks_for_that_node(self, tmp_path: Path) -> None:
        certificates = Certificates(parse_settings("agent", AGENT, "de-agent-1"), tmp_path / "tls")
        certificate = x509.load_pem_x509_certificate(certificates.kubelet_client().certificate.read_bytes())
        assert certificate.subject.rfc4514_string() == "CN=system:node:de-agent-1,O=system:nodes"
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]

    async def _handshake(self, server: ssl.SSLContext, client: ssl.SSLContext) -> str:
        seen: list[str] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peercert")
            seen.append(peer["subject"][-1][0][1])
            writer.close()

        listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server)
        port = listener.sockets[0].getsockname()[1]
        async with listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            await reader.read()
            writer.close()
        return seen[0]

    def test_an_agents_certificate_is_taken_by_a_server_of_the_same_token(self, tmp_path: Path) -> None:
        """Two nodes that have never spoken: a real TLS handshake, both sides verified, OpenSSL's strict rules on."""
        settings = server_settings()
        on_server = Certificates(settings, tmp_path / "server")
        on_agent = Certificates(parse_settings("agent", AGENT, "de-agent-1"), tmp_path / "agent")
        serving = on_server.serving("kube-apiserver", "kube-apiserver", api_server_names(settings))
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(on_server.client_ca_path))
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_cert_chain(str(serving.certificate), str(serving.key))
        client = ssl.create_default_context(cafile=str(on_agent.server_ca_path))
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        pair = on_agent.kubelet_client()
        client.load_cert_chain(str(pair.certificate), str(pair.key))
        assert asyncio.run(self._handshake(server, client)) == "system:node:de-agent-1"

    def test_a_key_is_made_once(self, tmp_path: Path) -> None:
        path = tmp_path / "service.key"
        first = ensure_key(path)
        assert isinstance(first.curve, ec.SECP256R1)
        assert ensure_key(path).private_numbers() == first.private_numbers()

    def test_certificates_are_valid_now(self) -> None:
        assert VALID_FROM < dt.datetime.now(dt.UTC) < VALID_UNTIL
