from __future__ import annotations

import pytest
import yaml

from domain.kubeconfig import KubeconfigError, access, rewrite

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


SEVERAL = """\
current-context: de
contexts:
- {name: de, context: {cluster: one, user: me}}
- {name: other, context: {cluster: two, user: you}}
clusters:
- {name: one, cluster: {server: "https://198.51.100.101:6443"}}
- {name: two, cluster: {server: "https://api.example.net"}}
users:
- {name: me, user: {token: hunter2}}
- {name: you, user: {token: hunter3}}
"""


@pytest.mark.parametrize(
    ("context", "address", "token"),
    [
        (None, ("198.51.100.101", 6443), "hunter2"),
        ("de", ("198.51.100.101", 6443), "hunter2"),
        ("other", ("api.example.net", 443), "hunter3"),
    ],
)
def test_a_context_leads_to_its_cluster_and_its_user(context: str | None, address: tuple[str, int], token: str) -> None:
    found = access(SEVERAL, context)
    assert (found.address, found.user) == (address, {"token": token})
    assert "hunter" not in repr(found)


@pytest.mark.parametrize(
    ("text", "context", "says"),
    [
        ("a: [hunter2", None, "the kubeconfig is not YAML"),
        ("hunter2", None, "the kubeconfig has no current context"),
        (SEVERAL.replace("current-context: de", "current-context: []"), None, "the kubeconfig has no current context"),
        (SEVERAL, "mn", "the kubeconfig has no mn among its contexts"),
        (SEVERAL.replace("- {name: one, cluster: ", "- {name: one, klaster: "), "de", "leads to no cluster"),
        (SEVERAL.replace("- {name: me", "- {name: them"), "de", "leads to no user"),
        (SEVERAL.replace("users:", "losers:"), "de", "leads to no user"),
    ],
)
def test_a_context_that_leads_nowhere(text: str, context: str | None, says: str) -> None:
    with pytest.raises(KubeconfigError) as raised:
        access(text, context)
    assert str(raised.value).endswith(says)
    assert "hunter" not in str(raised.value)


@pytest.mark.parametrize("server", ['""', "198.51.100.101", "https://", "https://a:b:c", "[]"])
def test_a_cluster_without_a_server(server: str) -> None:
    found = access(SEVERAL.replace('"https://198.51.100.101:6443"', server))
    with pytest.raises(KubeconfigError, match="the kubeconfig names no server"):
        _ = found.address
