"""The scripts that run elsewhere, run here with stand-ins for the commands they call."""

from __future__ import annotations

import os
import re
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
    def script(self, root: Path, *, k3s: str | None, kubeconfig: str = "the kubeconfig\n") -> str:
        """The script for a machine whose files lie below ``root``."""
        text = (FILES / "print-kubeconfig.sh").read_text(encoding="utf-8")
        for path in ("/etc/rancher/k3s/k3s.yaml", "/usr/local/bin/k3s", "/var/log/isthmus-install-k3s.log"):
            assert f"={path}" in text
            text = text.replace(f"={path}", f"={root}{path}")
        if kubeconfig:
            file = root / "etc/rancher/k3s/k3s.yaml"
            file.parent.mkdir(parents=True)
            file.write_text(kubeconfig, encoding="utf-8")
        if k3s is not None:
            command(root / "usr/local/bin", "k3s", k3s)
        return text

    def run(self, root: Path, *, k3s: str | None, kubeconfig: str = "the kubeconfig\n") -> tuple[int, str, str]:
        """Exit code, standard output and error with a deadline that has passed."""
        text = self.script(root, k3s=k3s, kubeconfig=kubeconfig)
        done = subprocess.run(["sh", "-s", "--", "0"], input=text, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr.strip()

    READY = """case "$*" in
"kubectl get --raw /readyz") ;;
"kubectl --namespace kube-system get deployment coredns") ;;
*) exit 9;;
esac"""

    def test_ready(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, k3s=self.READY) == (0, "the kubeconfig\n", "")

    @pytest.mark.parametrize(
        ("k3s", "kubeconfig", "said"),
        [
            (None, "x", "k3s is not installed"),
            (READY, "", "k3s has not written its kubeconfig"),
            ("exit 1", "x", "the API server is not ready"),
            (READY.replace("coredns", "another"), "x", "k3s has not made CoreDNS"),
        ],
        ids=["no k3s", "no kubeconfig", "no API", "no CoreDNS"],
    )
    def test_deadline_with_the_last_state(self, tmp_path: Path, k3s: str | None, kubeconfig: str, said: str) -> None:
        code, out, err = self.run(tmp_path, k3s=k3s, kubeconfig=kubeconfig)
        assert (code, out) == (1, "")
        assert err == f"gave up after 0 s: {said}; journalctl -u k3s on this machine may say why"

    def test_a_first_boot_that_failed_is_shown(self, tmp_path: Path) -> None:
        log = tmp_path / "var/log/isthmus-install-k3s.log"
        log.parent.mkdir(parents=True)
        log.write_text("install-k3s: could not download\n", encoding="utf-8")
        code, out, err = self.run(tmp_path, k3s=None)
        assert (code, out) == (1, "")
        assert err.splitlines()[:2] == [f"the last lines of {log}:", "install-k3s: could not download"]

    def test_it_says_what_it_waits_for_and_goes_on_when_it_comes(self, tmp_path: Path) -> None:
        late = f"[ -e {tmp_path}/up ] || {{ touch {tmp_path}/up; exit 1; }}\n{self.READY}"
        text = self.script(tmp_path, k3s=late)
        done = subprocess.run(["sh", "-s", "--", "20"], input=text, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stdout) == (0, "the kubeconfig\n")
        assert re.fullmatch(r"waiting \(\d of 20 s\): the API server is not ready\n", done.stderr)

    def test_it_ends_when_nobody_listens_any_more(self, tmp_path: Path) -> None:
        """What a lost connection leaves running ends by itself, long before its deadline."""
        text = self.script(tmp_path, k3s=None)
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                ["sh", "-s", "--", "600"], input=text, stdout=subprocess.PIPE, stderr=writing, text=True, timeout=20
            )
        finally:
            os.close(writing)
        assert done.returncode != 0
        assert done.stdout == ""
