"""Which failures of a `pulumi up` are tried again, and which are shown at once."""

from __future__ import annotations

import pytest

from lab.failed_up import ATTEMPTS, Verdict, errors_of, given_up, judge, passing, tried_again


def failed(*errors: str) -> list[str]:
    """What a `pulumi up` says that ends with these errors, each of a resource of its own."""
    lines = ["Updating (de):", " +  kubernetes:batch/v1:Job wait creating (300s) error: said twice", "", "Diagnostics:"]
    for number, text in enumerate(errors):
        first, *more = text.split("\n")
        lines += [f"  kubernetes:core/v1:ConfigMap (number-{number}):", f"    error: {first}"]
        lines += [f"    \t{line}" for line in more]
        lines += [" "]
    return [
        *lines,
        "  pulumi:pulumi:Stack (isthmus-de):",
        "    error: update failed",
        "",
        "Resources:",
        "    + 3 created",
    ]


PASSING = [
    (
        '1 error occurred:\n* the Kubernetes API server reported that "netbird/wait" failed to fully initialize or '
        "become live: Job was active longer than specified deadline\n[DeadlineExceeded] Job was active longer than "
        "specified deadline"
    ),
    "resource mn-1 not within 900 s; last seen: k3s is activating",
    "after 60 failed attempts: dial tcp 192.168.7.11:22: connect: connection refused",
    (
        "configured Kubernetes cluster is unreachable: unable to load schema information from the API server: Get "
        '"https://198.51.100.101:6443/openapi/v2?timeout=32s": net/http: TLS handshake timeout'
    ),
    'Get "https://198.51.100.101:6443/api": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
    "rpc error: code = Unavailable desc = error reading from server: EOF",
    'Internal error occurred: failed calling webhook "mpod.netbird.io": no endpoints available',
    "etcdserver: request timed out",
    "the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file",
    'http2: server sent GOAWAY and closed the connection; LastStreamID=5, ErrCode=NO_ERROR, debug=""',
    "stream error: stream ID 7; INTERNAL_ERROR; received from peer",
    "rpc error: code = Unavailable desc = the resource plugin went away",
    "NetBird gave no answer to GET /api/policies: [Errno 113] No route to host",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)",
    "Temporary failure resolving 'deb.debian.org'",
    "context deadline exceeded",
    "cannot re-use a name that is still in use",
    "NetBird: GET /api/peers: 503 Service Unavailable",
]
REFUSED = [
    "2 problems in the stack files; nothing was changed:\nPulumi.de.yaml: network.pod_cidr 10.0.0.0/8 timed out",
    "kube-system/coredns-custom: a.server is needed\nNothing was changed. Take it out; it did not answer in 3 s",
    "NetBird: GET /api/peers: 401 Unauthorized",
    (
        'Get "https://198.51.100.101:6443/api": tls: failed to verify certificate: x509: certificate signed by unknown '
        "authority"
    ),
    "ssh: handshake failed: ssh: host key mismatch, connection closed",
    'ConfigMap "x" is invalid: metadata.name: Invalid value: "X"',
    (
        "Server-Side Apply field conflict detected. See https://example.org\nThe resource managed by field manager "
        '"isthmus" had an apply conflict: Apply failed with 1 conflict'
    ),
    "Program failed with an unhandled exception:\nTraceback (most recent call last):\nKeyError: 'x'",
    "something that nobody has seen before",
]


@pytest.mark.parametrize("error", PASSING)
def test_a_matter_of_time_is_tried_again(error: str) -> None:
    verdict = judge(failed(error), 255)
    assert verdict.again
    assert verdict.reason.split()[-1].rstrip(".") in error


@pytest.mark.parametrize("error", REFUSED)
def test_a_refusal_is_not(error: str) -> None:
    verdict = judge(failed(error), 255)
    assert not verdict.again
    assert verdict.reason.startswith(error.partition("\n")[0][:40])


@pytest.mark.parametrize("error", REFUSED)
def test_nor_is_one_beside_a_matter_of_time(error: str) -> None:
    verdict = judge(failed(PASSING[0], error, PASSING[1]), 255)
    assert not verdict.again
    assert verdict.reason.startswith(error.partition("\n")[0][:40]), "the refusal is the reason, not what came first"


def test_what_only_says_that_there_was_an_error_counts_for_nothing() -> None:
    said = failed("update failed", "Resource monitor has terminated, shutting down", "context canceled", PASSING[2])
    assert judge(said, 255) == Verdict(again=True, reason=PASSING[2])


def test_the_end_by_a_signal() -> None:
    assert judge(["Updating (de):"], -9) == Verdict(again=True, reason="it was ended by signal 9")
    assert judge(["Updating (de):"], 137) == Verdict(again=True, reason="it was ended by signal 9")
    assert judge(["Updating (de):"], 255) == Verdict(again=False, reason="it gave no reason")
    assert not judge(failed(REFUSED[0]), -9).again


def test_before_there_are_diagnostics() -> None:
    locked = "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end"
    assert judge([locked], 255) == Verdict(again=True, reason=locked.removeprefix("error: "))


def test_colours_and_warnings_are_no_part_of_an_error() -> None:
    said = [
        "\x1b[38;5;13mDiagnostics:\x1b[0m",
        "  pulumi:pulumi:Stack (isthmus-de):",
        "    \x1b[33mwarning: \x1b[0mmn: timed out",
        "    \x1b[31merror: \x1b[0mfirst",
        "    \tof two lines",
        "    error: second",
        "Outputs:",
        "    links: 1",
    ]
    assert errors_of(said) == ["first\nof two lines", "second"]


def test_a_long_reason_is_cut() -> None:
    assert judge(failed("x" * 999), 255).reason == "x" * 297 + "..."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Networks: machine mn-1 boots: not within 600 s. Last seen: starting", True),
        ("mirror ended by itself; it said last:\nKilled", True),
        ("This machine can't carry the lab.\n  - There is no /dev/net/tun", False),
        ("apt-get ended with code 100: Could not connect to deb.example:80, connection timed out", True),
        ("ip -netns x link add ended with code 2: RTNETLINK answers: File exists", False),
    ],
)
def test_steps_of_the_lab(text: str, expected: bool) -> None:
    assert passing(text) is expected


def test_what_is_said() -> None:
    verdict = Verdict(again=True, reason="connection refused")
    assert tried_again("pulumi up -s de", verdict, 1) == (
        f"pulumi up -s de failed: connection refused\nThat may pass: again (2 of {ATTEMPTS})."
    )
    assert given_up("pulumi up -s de", verdict, 1, "/x.log") == (
        "pulumi up -s de failed: connection refused\nAll that it said is above and in /x.log. With the cause gone, "
        "`./isthmus lab up` goes on from there."
    )
    assert given_up("pulumi up -s de", verdict, ATTEMPTS, "/x.log").startswith(
        "pulumi up -s de failed, for the third time: connection refused\n"
    )
