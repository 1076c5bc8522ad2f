"""The k3s stand-in: config files in, component settings out, and the parts that run without a machine."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lab.standins import k3s

TOKEN = "0123456789abcdef0123456789abcdef"
TOKENS_SERVER_CA_KEY = "3e0e68b202a5963bfc7cc810b0fe43516fb0d2bf54e305e565bb44a582356614"
SERVER = {
    "token": TOKEN,
    "node-ip": "10.0.1.10",
    "flannel-backend": "none",
    "disable-network-policy": True,
    "disable-kube-proxy": True,
}
AGENT = {"token": TOKEN, "node-ip": "10.0.1.11", "server": "https://10.0.1.10:6443"}


def server_settings(**changes: object) -> k3s.Settings:
    return k3s.parse_settings("server", SERVER | changes, "de-server-1")


class TestConfigFiles:
    def test_later_files_replace_and_a_plus_appends(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text("token: a\nnode-label: [one=1]\ndisable: traefik\n")
        folder = tmp_path / "config.yaml.d"
        folder.mkdir()
        (folder / "20.yaml").write_text("node-label+: [three=3]\ntoken: c\n")
        (folder / "10.yaml").write_text("node-label+: two=2\ndisable+:\n- servicelb\ntoken: b\n")
        (folder / "ignored.txt").write_text("token: d\n")
        assert k3s.read_config(config) == {
            "token": "c",
            "node-label": ["one=1", "two=2", "three=3"],
            "disable": ["traefik", "servicelb"],
        }

    def test_no_file_is_an_empty_config(self, tmp_path: Path) -> None:
        assert k3s.read_config(tmp_path / "config.yaml") == {}

    def test_an_error_names_the_line_and_not_its_text(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(f"node-ip: 10.0.0.1\ntoken: '{TOKEN}\n")
        with pytest.raises(k3s.StandInError) as caught:
            k3s.read_config(config)
        assert str(caught.value).startswith(f"{config}: not YAML (line ")
        assert TOKEN not in str(caught.value)


class TestSettings:
    def test_a_server_with_defaults_derived_from_its_service_range(self) -> None:
        settings = server_settings(**{"service-cidr": "10.53.0.0/16", "disable": "traefik,servicelb"})
        assert settings == k3s.Settings(
            role="server",
            token=TOKEN,
            node_name="de-server-1",
            node_ip="10.0.1.10",
            service_cidr="10.53.0.0/16",
            cluster_dns="10.53.0.10",
            disable=("traefik", "servicelb"),
        )
        assert TOKEN not in repr(settings)

    def test_an_agent_forwards_to_its_server_and_a_server_to_itself(self) -> None:
        assert k3s.parse_settings("agent", AGENT, "a").api_server == ("10.0.1.10", 6443)
        assert server_settings().api_server == ("127.0.0.1", 6443)

    @pytest.mark.parametrize(
        ("role", "config", "message"),
        [
            (
                "server",
                SERVER | {"node-lable": "x"},
                "unknown setting node-lable: k3s server has no such flag, or this stand-in does not do it",
            ),
            (
                "agent",
                AGENT | {"cluster-cidr": "10.42.0.0/16"},
                "unknown setting cluster-cidr: k3s agent has no such flag, or this stand-in does not do it",
            ),
            (
                "server",
                SERVER | {"server": "https://10.0.1.9:6443"},
                "unknown setting server: k3s server has no such flag, or this stand-in does not do it",
            ),
            ("server", SERVER | {"token": ""}, "token: required; it is what the certificates are derived from"),
            ("server", SERVER | {"node-ip": "fd00::1"}, "node-ip: fd00::1 is not one IPv4 address"),
            (
                "server",
                SERVER | {"flannel-backend": "vxlan"},
                "flannel-backend: must be none, flannel is not in this stand-in",
            ),
            (
                "server",
                SERVER | {"disable-kube-proxy": False},
                "disable-kube-proxy: must be true, what it switches off is not in this stand-in",
            ),
            (
                "server",
                SERVER | {"disable": ["treafik"]},
                "disable: treafik is none of coredns, servicelb, traefik, local-storage, metrics-server, runtimes",
            ),
            ("server", SERVER | {"cluster-cidr": "10.42.0.1/16"}, "cluster-cidr: 10.42.0.1/16 has host bits set"),
            ("server", SERVER | {"write-kubeconfig-mode": "rw"}, "write-kubeconfig-mode: rw is not an octal mode"),
            ("server", SERVER | {"cluster-init": "yes please"}, "cluster-init: expected true or false"),
            ("agent", AGENT | {"server": "10.0.1.10"}, "server: required on an agent, as https://HOST:6443"),
            ("agent", AGENT | {"node-name": ["a"]}, "node-name: expected one value"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, role: str, config: dict[str, object], message: str) -> None:
        with pytest.raises(k3s.StandInError) as caught:
            k3s.parse_settings(role, config, "name")
        assert str(caught.value) == message

    def test_all_errors_come_at_once(self) -> None:
        with pytest.raises(k3s.StandInError) as caught:
            k3s.parse_settings("agent", {"x": 1}, "name")
        assert len(str(caught.value).split("; ")) == 5  # One message has a semicolon of its own.

    def test_taints(self) -> None:
        assert k3s.parse_taint("a/b=c:NoSchedule") == {"key": "a/b", "value": "c", "effect": "NoSchedule"}
        assert k3s.parse_taint("a:NoExecute") == {"key": "a", "effect": "NoExecute"}
        with pytest.raises(k3s.StandInError, match="node-taint: a=b is not KEY=VALUE:EFFECT"):
            k3s.parse_taint("a=b")


class TestCertificates:
    def test_authorities_of_one_token_are_equal_and_of_others_differ(self) -> None:
        first = k3s.CertificateAuthority(TOKEN, "k3s-server-ca")
        assert first.pem == k3s.CertificateAuthority(TOKEN, "k3s-server-ca").pem
        assert first.pem != k3s.CertificateAuthority(TOKEN, "k3s-client-ca").pem
        assert first.pem != k3s.CertificateAuthority(TOKEN + "0", "k3s-server-ca").pem

    def test_the_authority_of_a_token_never_changes(self) -> None:
        # A new derivation would lock the agents of a cluster out.
        certificate = x509.load_pem_x509_certificate(k3s.CertificateAuthority(TOKEN, "k3s-server-ca").pem)
        key = certificate.public_key()
        assert isinstance(key, ed25519.Ed25519PublicKey)
        assert k3s.public_key_bytes(key).hex()[-64:] == TOKENS_SERVER_CA_KEY

    def test_the_api_servers_certificate_has_every_name(self) -> None:
        settings = server_settings(**{"tls-san": ["api.example.com", "203.0.113.7"]})
        assert k3s.api_server_names(settings) == (
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
            certificates = k3s.Certificates(settings, tmp_path / "tls")
            certificates.etcd()
            certificates.kubelet_client()
            certificates.kubelet_serving()
            return {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}

        assert make() == make()
        for path in (tmp_path / "tls").glob("*.key"):
            assert path.stat().st_mode & 0o777 == 0o600

    def test_a_nodes_certificate_speaks_for_that_node(self, tmp_path: Path) -> None:
        certificates = k3s.Certificates(k3s.parse_settings("agent", AGENT, "de-agent-1"), tmp_path / "tls")
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
        on_server = k3s.Certificates(settings, tmp_path / "server")
        on_agent = k3s.Certificates(k3s.parse_settings("agent", AGENT, "de-agent-1"), tmp_path / "agent")
        serving = on_server.serving("kube-apiserver", "kube-apiserver", k3s.api_server_names(settings))
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
        first = k3s.ensure_key(path)
        assert isinstance(first.curve, ec.SECP256R1)
        assert k3s.ensure_key(path).private_numbers() == first.private_numbers()

    def test_certificates_are_valid_now(self) -> None:
        assert k3s.VALID_FROM < dt.datetime.now(dt.UTC) < k3s.VALID_UNTIL


class TestComponents:
    def test_no_component_sees_the_token(self, tmp_path: Path) -> None:
        settings = server_settings()
        certificates = k3s.Certificates(settings, tmp_path / "tls")
        authority, etcd_server, etcd_client = certificates.etcd()
        key = tmp_path / "service.key"
        arguments = [
            *k3s.etcd_arguments(tmp_path, authority, etcd_server, ()),
            *k3s.api_server_arguments(settings, certificates, authority, etcd_client, key),
            *k3s.controller_manager_arguments(settings, tmp_path / "c", certificates.server_ca_path, key),
            *k3s.scheduler_arguments(settings, tmp_path / "s"),
            *k3s.kubelet_arguments(settings, tmp_path / "k", tmp_path / "kk"),
        ]
        assert not [argument for argument in arguments if TOKEN in argument]
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text()]

    def test_extra_arguments_come_last_so_that_they_win(self, tmp_path: Path) -> None:
        settings = server_settings(**{"kubelet-arg": ["node-ip=10.0.1.99", "v=4"], "node-label": ["a=b", "c=d"]})
        assert k3s.kubelet_arguments(settings, tmp_path / "k", tmp_path / "kk")[-3:] == [
            "--node-labels=a=b,c=d",
            "--node-ip=10.0.1.99",
            "--v=4",
        ]

    def test_the_kubelet_is_told_its_dns_and_taints(self, tmp_path: Path) -> None:
        settings = server_settings(**{"node-taint": "router=true:NoSchedule"})
        pair = k3s.KeyPair(tmp_path / "a", tmp_path / "b")
        config = k3s.kubelet_config(settings, "10.43.0.10", "cluster.local", tmp_path / "ca", pair)
        assert config["clusterDNS"] == ["10.43.0.10"]
        assert config["registerWithTaints"] == [{"key": "router", "value": "true", "effect": "NoSchedule"}]
        assert config["cgroupDriver"] == "cgroupfs"

    def test_a_kubeconfig_in_k3s_shape(self, tmp_path: Path) -> None:
        certificates = k3s.Certificates(server_settings(), tmp_path / "tls")
        pair = certificates.client("admin", "system:admin", "system:masters")
        text = k3s.kubeconfig("https://127.0.0.1:6443", certificates.server_ca_path, pair, embed=True)
        document = yaml.safe_load(text)
        assert document["clusters"][0]["cluster"].keys() == {"certificate-authority-data", "server"}
        assert document["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}
        assert document["current-context"] == document["contexts"][0]["name"] == "default"


class TestRegistries:
    def test_a_mirror_becomes_containerds_hosts_file(self) -> None:
        mirrors = {
            "docker.io": {"endpoint": ["http://198.51.100.30"]},
            "quay.io": {"endpoint": ["http://198.51.100.30/cache/", "https://other.example.com"]},
            "*": {"endpoint": ["http://198.51.100.30"]},
        }
        files = k3s.hosts_toml({"mirrors": mirrors})
        assert files["docker.io"] == (
            'server = "https://registry-1.docker.io"\n\n'
            '[host."http://198.51.100.30"]\n  capabilities = ["pull", "resolve"]\n'
        )
        assert files["quay.io"] == (
            'server = "https://quay.io"\n\n'
            '[host."http://198.51.100.30/cache"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n\n'
            '[host."https://other.example.com"]\n  capabilities = ["pull", "resolve"]\n'
        )
        assert files["_default"] == '[host."http://198.51.100.30"]\n  capabilities = ["pull", "resolve"]\n'

    def test_what_the_stand_in_does_not_do_is_refused(self) -> None:
        with pytest.raises(k3s.StandInError, match="configs is not in this stand-in, only mirrors"):
            k3s.hosts_toml({"configs": {}})
        with pytest.raises(k3s.StandInError, match=r"mirrors\.docker\.io: only endpoint is in this stand-in"):
            k3s.hosts_toml({"mirrors": {"docker.io": {"rewrite": {}}}})
        with pytest.raises(k3s.StandInError, match=r"mirrors\.a: endpoint 198\.51\.100\.30 is not an http\(s\) URL"):
            k3s.hosts_toml({"mirrors": {"a": {"endpoint": ["198.51.100.30"]}}})


class TestCoreDns:
    def test_the_packaged_corefile(self) -> None:
        by_kind = {document["kind"]: document for document in k3s.coredns_objects("10.43.0.10", "cluster.local")}
        corefile = by_kind["ConfigMap"]["data"]["Corefile"]
        assert "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n" in corefile
        assert "    import /etc/coredns/custom/*.override\n}\nimport /etc/coredns/custom/*.server\n" in corefile
        assert by_kind["Service"]["spec"]["clusterIP"] == "10.43.0.10"
        volumes = by_kind["Deployment"]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "custom-config-volume", "configMap": {"name": "coredns-custom", "optional": True}} in volumes

    def test_node_hosts_are_internal_addresses_in_order(self) -> None:
        def node(name: str, *addresses: tuple[str, str]) -> dict[str, object]:
            listed = [{"type": kind, "address": address} for kind, address in addresses]
            return {"metadata": {"name": name}, "status": {"addresses": listed}}

        document = k3s.node_hosts_object(
            [
                node("b", ("Hostname", "b"), ("InternalIP", "10.0.1.11")),
                node("a", ("InternalIP", "10.0.1.10"), ("ExternalIP", "198.51.100.1")),
            ]
        )
        assert document["data"] == {"NodeHosts": "10.0.1.10 a\n10.0.1.11 b\n"}

    def test_every_object_has_a_path(self) -> None:
        documents = [*k3s.coredns_objects("10.43.0.10", "c"), *k3s.agent_config_objects(server_settings())]
        assert [k3s.object_path(document) for document in documents] == [
            "/api/v1/namespaces/kube-system/serviceaccounts/coredns",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Acoredns",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system%3Acoredns",
            "/api/v1/namespaces/kube-system/configmaps/coredns",
            "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
            "/api/v1/namespaces/kube-system/services/kube-dns",
            "/api/v1/namespaces/kube-public/configmaps/k3s-agent-config",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/roles/k3s-agent-config",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/k3s-agent-config",
        ]


class TestProcesses:
    def test_a_component_that_ends_is_started_again_and_ends_with_the_rest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(k3s, "CHILD_BACKOFF_SECONDS", (0.01,))
        starts = tmp_path / "starts"

        async def scenario() -> None:
            supervisor = k3s.Supervisor()
            script = f"echo x >> {starts}; [ $(wc -l < {starts}) -ge 3 ] || exit 1; exec sleep 60"
            child = supervisor.start("flapping", ("sh", "-c", script))
            async with asyncio.timeout(10):
                while not starts.exists() or starts.read_text().count("x") < 3:  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.01)
            assert child.process is not None
            await supervisor.stop()
            assert child.process.returncode is not None

        asyncio.run(scenario())
        assert starts.read_text().count("x") == 3

    def test_the_forwarder_passes_bytes_both_ways_and_the_end_of_a_stream(self) -> None:
        async def scenario() -> bytes:
            async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write((await reader.read())[::-1])
                writer.close()

            target = await asyncio.start_server(reverse, "127.0.0.1", 0)
            port = free_port()
            forwarder = await k3s.serve_forwarder(("127.0.0.1", target.sockets[0].getsockname()[1]), port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bytes(range(256)) * 4000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            forwarder.close()
            target.close()
            return answer

        assert asyncio.run(scenario()) == (bytes(range(256)) * 4000)[::-1]

    def test_the_forwarder_closes_when_its_target_is_not_there(self) -> None:
        async def scenario() -> bytes:
            port = free_port()
            forwarder = await k3s.serve_forwarder(("127.0.0.1", free_port()), port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await reader.read()
            writer.close()
            forwarder.close()
            return answer

        assert asyncio.run(scenario()) == b""

    def test_readiness_goes_to_the_service_manager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            k3s.notify("READY=1")
            assert manager.recv(100) == b"READY=1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestCommandLine:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(k3s.__file__), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)

    def test_version(self) -> None:
        result = self.run("--version")
        assert (result.returncode, result.stdout) == (0, "k3s version v1.34.2+k3s1 (stand-in)\n")

    def test_a_wrong_config_is_one_line_and_code_1(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(AGENT | {"nod-ip": "x"}))
        result = self.run("agent", "--config", str(config))
        assert result.returncode == 1
        assert result.stderr == (
            'level=fatal msg="unknown setting nod-ip: k3s agent has no such flag, or this stand-in does not do it"\n'
        )

    def test_an_unknown_flag_is_refused(self) -> None:
        result = self.run("server", "--tls-san", "x")
        assert result.returncode == 1
        assert "unknown flag --tls-san" in result.stderr

    def test_a_machine_without_the_programs_is_told_which(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(AGENT))
        result = self.run("agent", "--config", str(config))
        assert result.returncode == 1
        assert "missing on this machine: /usr/libexec/isthmus-lab/kubelet" in result.stderr
