"""The certificates of a node, all derived from the token, so that nodes need not speak to each other for them."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.standins.k3s.files import write_file
from lab.standins.k3s.settings import Settings, is_ipv4

VALID_FROM = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2055, 1, 1, tzinfo=dt.UTC)


class CertificateAuthority:
    """A certificate authority that every holder of the token derives alike: the same key and the same bytes."""

    def __init__(self, token: str, name: str) -> None:
        self.name = name
        seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"k3s-stand-in", info=name.encode()).derive(
            token.encode()
        )
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public_key = self._key.public_key()
        self._certificate = (
            _certificate_builder(subject, subject, serial_of(public_key_bytes(public_key)))
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, None)
        )

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        common_name: str,
        organizations: Sequence[str] = (),
        alternative_names: Sequence[str] = (),
    ) -> bytes:
        """A certificate (PEM) for a client, and for a server too when it has alternative names (addresses, host names).

        Equal input gives equal bytes: the kubeconfig of a node that starts again does not change.
        """
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if alternative_names:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        public_key = key.public_key()
        identity = [self.name, common_name, *organizations, *alternative_names]
        builder = (
            _certificate_builder(
                x509.Name(attributes),
                self._certificate.subject,
                serial_of(public_key_bytes(public_key) + "\n".join(identity).encode()),
            )
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternative_names:
            names: list[x509.GeneralName] = [
                x509.IPAddress(ipaddress.ip_address(name)) if is_ipv4(name) else x509.DNSName(name)
                for name in alternative_names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, None).public_bytes(serialization.Encoding.PEM)


def _certificate_builder(subject: x509.Name, issuer: x509.Name, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def public_key_bytes(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """A public key in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def serial_of(data: bytes) -> int:
    """A certificate's serial number: positive and at most 159 bits, as X.509 wants it."""
    return int.from_bytes(hashlib.sha256(data).digest()[:20], "big") >> 1 or 1


def ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key kept at PATH, made when it is not there."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    fresh = ec.generate_private_key(ec.SECP256R1())
    pem = fresh.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    write_file(path, pem)
    return fresh


@dataclass(frozen=True)
class KeyPair:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class EtcdFiles:
    """What a member and its clients need, among clients and among members."""

    authority: Path
    server: KeyPair
    client: KeyPair
    peer_authority: Path
    peer: KeyPair


class Certificates:
    """The certificates of one node, written below DIRECTORY (server/tls or agent)."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._directory = directory
        self._settings = settings
        self.server_ca = CertificateAuthority(settings.token, "k3s-server-ca")
        self.client_ca = CertificateAuthority(settings.token, "k3s-client-ca")
        self.server_ca_path = directory / "server-ca.crt"
        self.client_ca_path = directory / "client-ca.crt"
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        write_file(self.server_ca_path, self.server_ca.pem, 0o644)
        write_file(self.client_ca_path, self.client_ca.pem, 0o644)

    def client(self, name: str, common_name: str, *organizations: str) -> KeyPair:
        """A client's certificate, for the API."""
        return self._pair(f"client-{name}", self.client_ca, common_name, organizations, ())

    def serving(self, name: str, common_name: str, alternative_names: Sequence[str]) -> KeyPair:
        """A server's certificate."""
        return self._pair(f"serving-{name}", self.server_ca, common_name, (), alternative_names)

    def kubelet_client(self) -> KeyPair:
        """The kubelet's for the API, and this program's own on an agent."""
        return self.client("kubelet", f"system:node:{self._settings.node_name}", "system:nodes")

    def kubelet_serving(self) -> KeyPair:
        """The kubelet's for `kubectl exec` and `logs`."""
        names = dict.fromkeys((self._settings.node_name, "localhost", "127.0.0.1", self._settings.node_ip))
        return self.serving("kubelet", self._settings.node_name, tuple(names))

    def etcd(self) -> tuple[Path, KeyPair, KeyPair]:
        """The path of etcd's authority, the server's and the API server's pair."""
        authority = CertificateAuthority(self._settings.token, "etcd-server-ca")
        path = self._directory / "etcd-server-ca.crt"
        write_file(path, authority.pem, 0o644)
        server = self._pair("etcd-server", authority, "etcd-server", (), ("localhost", "127.0.0.1"))
        return path, server, self._pair("etcd-client", authority, "etcd-client", (), ())

    def etcd_member(self) -> EtcdFiles:
        """Those of a member that others reach."""
        authority, _, client = self.etcd()
        peers = CertificateAuthority(self._settings.token, "etcd-peer-ca")
        peer_authority = self._directory / "etcd-peer-ca.crt"
        write_file(peer_authority, peers.pem, 0o644)
        names = ("localhost", "127.0.0.1", self._settings.node_ip)
        servers = CertificateAuthority(self._settings.token, "etcd-server-ca")
        return EtcdFiles(
            authority,
            self._pair("etcd-member", servers, "etcd-server", (), names),
            client,
            peer_authority,
            self._pair("etcd-peer", peers, "etcd-peer", (), names),
        )

    def supervisor(self) -> KeyPair:
        """This program's own, for what k3s does by its join protocol."""
        return self.client("supervisor", "system:k3s-supervisor", "system:masters")

    def _pair(
        self,
        name: str,
        authority: CertificateAuthority,
        common_name: str,
        organizations: Sequence[str],
        alternative_names: Sequence[str],
    ) -> KeyPair:
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        key = ensure_key(pair.key)
        write_file(pair.certificate, authority.issue(key, common_name, organizations, alternative_names), 0o644)
        return pair


def api_server_names(settings: Settings) -> tuple[str, ...]:
    """The names and addresses that the API server's certificate holds."""
    return tuple(
        dict.fromkeys(
            (
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                f"kubernetes.default.svc.{settings.cluster_domain}",
                "localhost",
                settings.node_name,
                "127.0.0.1",
                settings.node_ip,
                str(ipaddress.IPv4Network(settings.service_cidr)[1]),
                *settings.tls_san,
            )
        )
    )
