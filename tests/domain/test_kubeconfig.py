from __future__ import annotations

import pytest
import yaml

from domain.kubeconfig import KubeconfigError, rewrite

K3S = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://127.0.0.1:6443
  name: default
contexts:
- context: {cluster: default, user: default}
  name: default
current-context: default
kind: Config
users:
- name: default
  user: {client-certificate-data: Q0VSVA==, client-key-data: aHVudGVyMg==}
"""


def test_rewrite() -> None:
    assert yaml.safe_load(rewrite(K3S, "198.51.100.101", "de")) == {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "de",
        "clusters": [
            {
                "name": "de",
                "cluster": {
                    "certificate-authority-data": "Q0E=",
                    "server": "https://198.51.100.101:6443",
                    "tls-server-name": "kubernetes.default.svc",
                },
            }
        ],
        "contexts": [{"name": "de", "context": {"cluster": "de", "user": "de"}}],
        "users": [{"name": "de", "user": {"client-certificate-data": "Q0VSVA==", "client-key-data": "aHVudGVyMg=="}}],
    }


def test_twice_gives_the_same_bytes() -> None:
    once = rewrite(K3S, "198.51.100.101", "de")
    assert rewrite(once, "198.51.100.101", "de") == once


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has not exactly one entry in clusters"),
        ("hunter2", "has not exactly one entry in clusters"),
        ("a: [hunter2", "is not YAML"),
        (K3S.replace("- cluster:", "- klaster:"), "has no cluster in clusters"),
        (K3S.replace("    server: https://127.0.0.1:6443\n", ""), "has no server"),
        (K3S.replace("certificate-authority-data", "x"), "has no certificate-authority-data"),
        (K3S + "- name: other\n  user: {}\n", "has not exactly one entry in users"),
    ],
)
def test_bad(text: str, says: str) -> None:
    with pytest.raises(KubeconfigError) as raised:
        rewrite(text, "198.51.100.101", "de")
    assert str(raised.value) == f"the machine's kubeconfig {says}"
