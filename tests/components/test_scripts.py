"""The scripts that run elsewhere, run here with stand-ins for the commands they call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.components.recording import ROOT

FILES = ROOT / "components" / "files"


def command(directory: Path, name: str, text: str) -> Path:
    """An executable in a directory of its own."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def wait_for_route(
    tmp_path: Path, address: str, route: str, routes: str = "10.42.0.1", seconds: int = 0
) -> tuple[int, str]:
    """Exit code and standard error of the script; ``address`` and ``route`` are what `ip` answers."""
    command(
        tmp_path / "bin",
        "ip",
        f'case "$*" in\n"-4 addr show dev wt0") {address};;\n"-4 route get 10.42.0.1") {route};;\n*) exit 9;;\nesac',
    )
    done = subprocess.run(
        ["sh", str(FILES / "wait-for-route.sh")],
        env={
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "INTERFACE": "wt0",
            "ROUTES": routes,
            "DEADLINE_SECONDS": str(seconds),
        },
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, done.stderr.strip()


HAS_ADDRESS = "echo '    inet 100.92.0.8/16 brd 100.92.255.255 scope global wt0'"
BY_WT0 = "echo '10.42.0.1 dev wt0 table 7120 src 100.92.0.8 uid 0'"


class TestWaitForRoute:
    def test_there(self, tmp_path: Path) -> None:
        assert wait_for_route(tmp_path, HAS_ADDRESS, BY_WT0) == (0, "")

    def test_interface_only(self, tmp_path: Path) -> None:
        assert wait_for_route(tmp_path, HAS_ADDRESS, "exit 9", routes="") == (0, "")

    @pytest.mark.parametrize(
        ("address", "route", "said"),
        [
            ("echo 'Device \"wt0\" does not exist.' >&2; exit 1", BY_WT0, "gave up: wt0 has no address"),
            ("echo '5: wt0: <POINTOPOINT> mtu 1280'", BY_WT0, "gave up: wt0 has no address"),
            (
                HAS_ADDRESS,
                "echo '10.42.0.1 via 172.31.1.1 dev eth0 src 198.51.100.7'",
                "gave up: the way to 10.42.0.1 is: 10.42.0.1 via 172.31.1.1 dev eth0 src 198.51.100.7",
            ),
            (
                HAS_ADDRESS,
                "echo 'RTNETLINK answers: Network is unreachable' >&2; exit 2",
                "gave up: the way to 10.42.0.1 is: RTNETLINK answers: Network is unreachable",
            ),
        ],
        ids=["no interface", "no address", "another way", "no way"],
    )
    def test_deadline_with_the_last_state(self, tmp_path: Path, address: str, route: str, said: str) -> None:
        assert wait_for_route(tmp_path, address, route) == (1, said)

    def test_goes_on_when_it_appears(self, tmp_path: Path) -> None:
        late = f"if [ -e {tmp_path}/up ]; then {BY_WT0}; else touch {tmp_path}/up; fi"
        assert wait_for_route(tmp_path, HAS_ADDRESS, late, seconds=10) == (0, "")

    def test_a_name_that_only_begins_like_the_interface(self, tmp_path: Path) -> None:
        code, _ = wait_for_route(tmp_path, HAS_ADDRESS, "echo '10.42.0.1 dev wt01 src 100.92.0.8'")
        assert code == 1


class TestPrintKubeconfig:
    def run(
        self, root: Path, *nodes: str, k3s: str | None, kubeconfig: str = "the kubeconfig\n"
    ) -> tuple[int, str, str]:
        """Exit code, standard output and error; the machine's files lie below ``root``."""
        text = (FILES / "print-kubeconfig.sh").read_text(encoding="utf-8")
        assert "=/etc/rancher/k3s/k3s.yaml" in text
        assert "=/usr/local/bin/k3s" in text
        text = text.replace("=/etc/", f"={root}/etc/").replace("=/usr/", f"={root}/usr/")
        if kubeconfig:
            file = root / "etc/rancher/k3s/k3s.yaml"
            file.parent.mkdir(parents=True)
            file.write_text(kubeconfig, encoding="utf-8")
        if k3s is not None:
            command(root / "usr/local/bin", "k3s", k3s)
        done = subprocess.run(["sh", "-s", "--", "0", *nodes], input=text, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr.strip()

    READY = """case "$*" in
"kubectl get --raw /readyz") ;;
"kubectl get nodes --output name") echo node/mn-1; echo node/mn-2;;
"kubectl --namespace kube-system get deployment coredns") ;;
*) exit 9;;
esac"""

    def test_ready(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "mn-1", "mn-2", k3s=self.READY) == (0, "the kubeconfig\n", "")

    @pytest.mark.parametrize(
        ("k3s", "kubeconfig", "said"),
        [
            (None, "x", "gave up: k3s is not installed"),
            (READY, "", "gave up: k3s has not written its kubeconfig"),
            ("exit 1", "x", "gave up: the API server is not ready"),
            (READY.replace("echo node/mn-2", ":"), "x", "gave up: node mn-2 has not registered; there are: node/mn-1"),
            (READY.replace("coredns", "another"), "x", "gave up: k3s has not made CoreDNS"),
        ],
        ids=["no k3s", "no kubeconfig", "no API", "no node", "no CoreDNS"],
    )
    def test_deadline_with_the_last_state(self, tmp_path: Path, k3s: str | None, kubeconfig: str, said: str) -> None:
        code, out, err = self.run(tmp_path, "mn-1", "mn-2", k3s=k3s, kubeconfig=kubeconfig)
        assert (code, out, err) == (1, "", said)
