"""install-k3s as it ships, run in a folder: its paths are moved there, and systemctl, ip and the like are small
doubles that write down how they were called. uninstall-k3s deletes and kills by nature; here only what it would kill
is looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.node_files import environment, script
from tests.domain.moved_script import move_script, run_script
from tests.domain.samples import DE, plan_of, settings_of

SCRIPT = "install-k3s.sh"
K3S = b"#!/bin/sh\necho ok\n"

DOUBLES = {
    "id": "echo 0",
    "uname": "echo x86_64",
    "ip": 'cat "$ROOT/addresses"',
    "flock": "exit 0",
    "journalctl": """
        case "$*" in
        *cat*) printf '%s\\n' 'level=info msg=begins' 'time="3:01" level=fatal msg="no such flag"' Stopped ;;
        *) echo last lines ;;
        esac""",
    # Time passes with each sleep, half a minute at a time, so deadlines come soon; a second is what a download is
    # looked at with.
    "sleep": """
        echo sleep >>"$ROOT/log"
        [ "$1" = 1 ] && seconds=1 || seconds=30
        [ ! -e "$ROOT/restarts" ] || echo $(($(cat "$ROOT/restarts") + 1)) >"$ROOT/restarts"
        echo $(($(cat "$ROOT/clock") + seconds)) >"$ROOT/clock\"""",
    "date": 'cat "$ROOT/clock"',
    "curl": """
        echo curl >>"$ROOT/log"
        [ ! -e "$ROOT/down" ] || exit 7
        while [ "$1" != --output ]; do shift; done
        cp "$ROOT/mirror" "$2\"""",
    "systemctl": """
        echo "systemctl $*" >>"$ROOT/log"
        case "$*" in
        "is-active --quiet "*) [ -e "$ROOT/active" ] ;;
        is-active*) echo activating ;;
        show*) [ ! -e "$ROOT/restarts" ] || cat "$ROOT/restarts" ;;
        restart* | start*)
            [ ! -e "$ROOT/cut-off" ] || kill -KILL $PPID
            [ -e "$ROOT/broken" ] || touch "$ROOT/active" ;;
        disable*) exit 0 ;;
        esac""",
}


@dataclass(frozen=True)
class Machine:
    """A folder that stands for a machine."""

    root: Path

    def run(self, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
        (self.root / "clock").write_text("0")
        return run_script(self.root, SCRIPT, path)

    def stage(self, sha256: str, url: str) -> subprocess.CompletedProcess[str]:
        """As the program has it done before it touches any node."""
        (self.root / "clock").write_text("0")
        wanted = {"ISTHMUS_K3S_SHA256": sha256, "ISTHMUS_K3S_URL": url}
        return run_script(self.root, SCRIPT, os.environ["PATH"], "stage", environment=wanted)

    def calls(self) -> list[str]:
        """What was called since the last time, without the questions."""
        log = self.root / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if not re.match("systemctl (is-active|show|reset-failed)|sleep$", line)]

    def settings(self) -> Path:
        return self.root / "etc/config.yaml"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    paths = {
        "/usr/local/lib/isthmus": "lib",
        "/usr/local/bin/k3s": "k3s",
        "/etc/rancher/k3s": "etc",
        "/etc/rancher/node": "node",
        "/var/lib/isthmus": "start",
        "/etc/systemd/system": "units",
        "/run/systemd/system": "run",
    }
    move_script(tmp_path, SCRIPT, paths, DOUBLES)
    for folder in ("lib", "etc", "units", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "addresses").write_text("2: enp7s0    inet 10.0.1.11/32 brd 10.0.1.11 scope global enp7s0\n")
    (tmp_path / "mirror").write_bytes(K3S)
    (tmp_path / "etc/config.yaml").write_text("token: hunter2\n")
    (tmp_path / "units/k3s.service").write_text("[Unit]\n")
    (tmp_path / "lib/node-password").write_text("of-this-name\n")
    settings = settings_of("de", DE, {"k3s.sha256": hashlib.sha256(K3S).hexdigest()})
    (tmp_path / "lib/k3s.env").write_text(environment(plan := plan_of("de", DE), plan.nodes[0], settings))
    return Machine(tmp_path)


ENABLED = ["systemctl daemon-reload", "systemctl enable --quiet k3s.service"]
RESTARTED = [*ENABLED, "systemctl restart --no-block k3s.service"]
LEFT_ALONE = [*ENABLED, "systemctl start --no-block k3s.service"]


def test_first_run_and_a_second_without_change(machine: Machine) -> None:
    first = machine.run()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[-1] == "install-k3s: de-server-1 is up (server, k3s v1.34.9+k3s1)"
    assert machine.calls() == ["curl", *RESTARTED]
    assert (machine.root / "k3s").stat().st_mode & 0o777 == 0o755
    assert machine.run().returncode == 0
    assert machine.calls() == LEFT_ALONE
    assert "hunter2" not in first.stdout + first.stderr


@pytest.mark.parametrize("changed", ["etc/config.yaml", "units/k3s.service", "etc/registries.yaml"])
def test_changed_file_restarts(machine: Machine, changed: str) -> None:
    assert machine.run().returncode == 0
    machine.calls()
    if changed == "etc/registries.yaml":
        env = machine.root / "lib/k3s.env"
        env.write_text(env.read_text().replace("ISTHMUS_REGISTRIES=no", "ISTHMUS_REGISTRIES=yes"))
    (machine.root / changed).write_text("changed\n")
    assert machine.run().returncode == 0
    assert machine.calls() == RESTARTED
    assert machine.run().returncode == 0
    assert machine.calls() == LEFT_ALONE


def test_registries_that_are_not_wanted_any_more_go(machine: Machine) -> None:
    (machine.root / "etc/registries.yaml").write_text("mirrors: {}\n")
    assert machine.run().returncode == 0
    assert not (machine.root / "etc/registries.yaml").exists()


def test_a_node_gets_its_password_and_keeps_the_one_it_has(machine: Machine) -> None:
    """k3s takes what lies there, and refuses a node that comes with another than the time before."""
    assert machine.run().returncode == 0
    password = machine.root / "node/password"
    assert (password.read_text(), password.stat().st_mode & 0o777) == ("of-this-name\n", 0o600)
    password.write_text("made up by k3s\n")
    assert machine.run().returncode == 0
    assert password.read_text() == "made up by k3s\n"


def test_the_permission_to_begin_a_cluster_goes_once_the_server_is_ready(machine: Machine) -> None:
    permission = machine.root / "start/may-start"
    permission.parent.mkdir()
    permission.touch()
    (machine.root / "broken").touch()
    assert machine.run().returncode == 1
    assert permission.exists(), "it has not begun"
    (machine.root / "broken").unlink()
    assert machine.run().returncode == 0
    assert not permission.exists()


def test_a_staged_binary_is_taken_without_a_download(machine: Machine) -> None:
    """Staging changes nothing that runs, and needs the settings of before."""
    assert machine.run().returncode == 0
    machine.calls()
    new = K3S + b"# new\n"
    (machine.root / "mirror").write_bytes(new)
    sha256, url = hashlib.sha256(new).hexdigest(), "https://example.net/new/k3s"

    staged = machine.stage(sha256, url)

    assert (staged.returncode, staged.stderr) == (0, "")
    assert staged.stdout.splitlines()[-1] == "install-k3s: the binary of https://example.net/new/k3s is there"
    assert machine.calls() == ["curl"]
    assert (machine.root / "k3s").read_bytes() == K3S
    assert machine.stage(sha256, url).returncode == 0
    assert machine.calls() == []

    env = machine.root / "lib/k3s.env"
    before = hashlib.sha256(K3S).hexdigest()
    env.write_text(env.read_text().replace(before, sha256))
    (machine.root / "down").touch()
    assert machine.run().returncode == 0
    assert machine.calls() == RESTARTED
    assert (machine.root / "k3s").read_bytes() == new
    assert not (machine.root / "k3s.staged").exists()


def test_new_binary_restarts(machine: Machine) -> None:
    assert machine.run().returncode == 0
    machine.calls()
    new = K3S + b"# new\n"
    (machine.root / "mirror").write_bytes(new)
    env = machine.root / "lib/k3s.env"
    env.write_text(env.read_text().replace(hashlib.sha256(K3S).hexdigest(), hashlib.sha256(new).hexdigest()))
    assert machine.run().returncode == 0
    assert machine.calls() == ["curl", *RESTARTED]
    assert (machine.root / "k3s").read_bytes() == new


def test_earlier_run_that_was_cut_off(machine: Machine) -> None:
    (machine.root / "k3s.new").write_bytes(K3S[:5])
    (machine.root / "k3s").write_bytes(K3S[:7])
    (machine.root / "lib/applied.new").write_text("half")
    (machine.root / "active").touch()
    assert machine.run().returncode == 0
    assert (machine.root / "k3s").read_bytes() == K3S
    assert machine.calls() == ["curl", *RESTARTED]


def test_settings_of_before_after_a_run_that_was_cut_off(machine: Machine) -> None:
    """k3s may run with those between them, so it is started anew."""
    machine.run()
    machine.settings().write_text("token: hunter2\ndebug: true\n")
    (machine.root / "cut-off").touch()
    assert machine.run().returncode != 0
    machine.calls()
    (machine.root / "cut-off").unlink()
    machine.settings().write_text("token: hunter2\n")
    assert machine.run().returncode == 0
    assert machine.calls() == RESTARTED


def test_service_that_was_stopped_is_started(machine: Machine) -> None:
    assert machine.run().returncode == 0
    machine.calls()
    (machine.root / "active").unlink()
    assert machine.run().returncode == 0
    assert machine.calls() == LEFT_ALONE


def test_role_was_changed(machine: Machine) -> None:
    (machine.root / "units/k3s-agent.service").write_text("[Unit]\n")
    assert machine.run().returncode == 0
    assert "systemctl disable --now --quiet k3s-agent.service" in machine.calls()
    assert not (machine.root / "units/k3s-agent.service").exists()


def test_wrong_checksum(machine: Machine) -> None:
    (machine.root / "mirror").write_bytes(b"something else")
    result = machine.run()
    assert result.returncode == 1
    found, wanted = hashlib.sha256(b"something else").hexdigest(), hashlib.sha256(K3S).hexdigest()
    assert result.stderr == (
        "install-k3s: the checksum of https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/k3s is "
        f"{found}; the setting k3s.sha256 is {wanted}\n"
    )
    assert machine.calls() == ["curl"]
    assert not (machine.root / "k3s").exists()
    assert not (machine.root / "k3s.new").exists()


def test_no_network(machine: Machine) -> None:
    (machine.root / "down").touch()
    result = machine.run()
    assert result.returncode == 1
    source = "https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/k3s"
    *waiting, last = result.stderr.splitlines()
    assert last == f"install-k3s: could not download {source} within 900 s"
    assert set(waiting) == {f"install-k3s: waiting: the download of {source}"}
    calls = machine.calls()
    assert set(calls) == {"curl"}
    assert len(calls) > 5


def test_address_does_not_come(machine: Machine) -> None:
    (machine.root / "addresses").write_text("2: eth0    inet 110.0.1.11/32 scope global eth0\n")
    result = machine.run()
    assert result.returncode == 1
    assert result.stderr.endswith(
        "install-k3s: no interface has the node's address 10.0.1.11 after 300 s (addresses above)\n"
    )
    assert machine.calls() == []


def test_service_does_not_come_up(machine: Machine) -> None:
    (machine.root / "broken").touch()
    result = machine.run()
    assert result.returncode == 1
    assert result.stderr.endswith(
        "last lines\ninstall-k3s: k3s.service is activating and not ready after 900 s (its last lines above)\n"
    )
    assert "install-k3s: waiting: k3s.service, which is activating\n" in result.stderr


def test_a_service_that_ends_again_and_again_says_how_often_and_why(machine: Machine) -> None:
    (machine.root / "broken").touch()
    # It restarts between any two looks. What was counted before this run is of another time.
    (machine.root / "restarts").write_text("7\n")
    result = machine.run()
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if "activating" in line]
    why = ', last with: time="3:01" level=fatal msg="no such flag"'
    assert said[:2] == [
        f"install-k3s: waiting: k3s.service, which is activating and ends again and again (1 so far){why}",
        f"install-k3s: waiting: k3s.service, which is activating and ends again and again (2 so far){why}",
    ]
    assert said[-1] == (
        f"install-k3s: k3s.service is activating and ends again and again (30 so far){why} "
        "and not ready after 900 s (its last lines above)"
    )


def test_python_downloads_where_there_is_neither_curl_nor_wget(machine: Machine) -> None:
    (machine.root / "bin/curl").unlink()
    (machine.root / "tools").mkdir()
    for name in ("sh", "grep", "cut", "sha256sum", "cat", "chmod", "mkdir", "cp", "mv", "rm", "touch", "timeout"):
        tool = shutil.which(name)
        assert tool is not None
        (machine.root / "tools" / name).symlink_to(tool)
    # Our own, since a python3 on the path may be a script that needs further tools (pyenv).
    (machine.root / "tools/python3").symlink_to(sys.executable)
    env = machine.root / "lib/k3s.env"
    source = "https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/k3s"
    env.write_text(env.read_text().replace(source, f"file://{machine.root}/mirror"))
    result = machine.run(path=f"{machine.root}/tools")
    assert result.returncode == 0, result.stderr
    assert (machine.root / "k3s").read_bytes() == K3S


def test_another_run_is_waited_for_and_named(machine: Machine) -> None:
    (machine.root / "lib/lock").write_text("process 77 since 14:03:09\n")
    (machine.root / "bin/flock").write_text(
        '#!/bin/sh\nn=$(cat "$ROOT/tries" || echo 0); echo $((n + 1)) >"$ROOT/tries"\n[ "$n" -ge 3 ]\n'
    )
    (machine.root / "bin/flock").chmod(0o755)
    (machine.root / "tries").write_text("0")
    result = machine.run()
    assert result.returncode == 0
    waiting = "install-k3s: waiting: another run on this machine (process 77 since 14:03:09)"
    assert result.stderr.splitlines()[:2] == [waiting] * 2
    assert re.fullmatch(r"process \d+ since \d+\n", (machine.root / "lib/lock").read_text())


def test_another_run_that_does_not_end(machine: Machine) -> None:
    (machine.root / "lib/lock").write_text("process 77 since 14:03:09\n")
    (machine.root / "bin/flock").write_text("#!/bin/sh\nexit 1\n")
    result = machine.run()
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "install-k3s: another run is at work on this machine (process 77 since 14:03:09) and did not end within 300 s; "
        "it ends by itself after 1500 s at the latest, try again then"
    )
    assert machine.calls() == []


def test_two_runs_at_once(machine: Machine) -> None:
    """With the real flock: the second waits, and does its work after the first."""
    (machine.root / "bin/flock").unlink()
    machine.run()
    holder = subprocess.Popen(
        ["sh", "-c", 'exec 9>>"$1"; flock 9; echo held; read -r _', "-", str(machine.root / "lib/lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    refused = machine.run()
    assert refused.returncode == 1
    assert "another run is at work on this machine (process " in refused.stderr
    holder.communicate("go\n", timeout=20)
    assert machine.run().returncode == 0


def test_the_whole_has_an_end(machine: Machine) -> None:
    """Each wait alone is allowed more than the whole: they share it."""
    text = (machine.root / SCRIPT).read_text()
    (machine.root / SCRIPT).write_text(text.replace("total_seconds=1500", "total_seconds=90"))
    (machine.root / "broken").touch()
    result = machine.run()
    assert result.returncode == 1
    assert "not ready after" in result.stderr.splitlines()[-1]
    assert int((machine.root / "clock").read_text()) < 150


@pytest.mark.parametrize("what", ["address", "service", "download"])
def test_it_ends_when_nobody_listens_any_more(machine: Machine, what: str) -> None:
    """What a lost connection leaves running ends by itself, and what it started ends with it."""
    if what == "address":
        (machine.root / "addresses").write_text("none\n")
    elif what == "service":
        (machine.root / "broken").touch()
    else:
        # A transfer that hangs; it writes down who it is.
        hanging = '#!/bin/sh\necho $$ >"$ROOT/transfer"\nexec tail -f /dev/null\n'
        (machine.root / "bin/curl").write_text(hanging)
        (machine.root / "bin/sleep").write_text(
            '#!/bin/sh\nuntil [ -s "$ROOT/transfer" ]; do :; done\necho $(($(cat "$ROOT/clock") + 30)) >"$ROOT/clock"\n'
        )
    (machine.root / "clock").write_text("0")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            ["/bin/sh", machine.root / SCRIPT],
            env={"PATH": f"{machine.root}/bin:{os.environ['PATH']}", "ROOT": str(machine.root)},
            stdout=subprocess.DEVNULL,
            stderr=writing,
            timeout=30,
        )
    finally:
        os.close(writing)
    assert done.returncode != 0
    assert int((machine.root / "clock").read_text()) < 300, "long before its deadline"
    if what == "download":
        assert not alive(int((machine.root / "transfer").read_text()))


def alive(pid: int, deadline_seconds: float = 10.0) -> bool:
    """Whether a process that was told to end is still there at the deadline."""
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True


def test_other_architecture(machine: Machine) -> None:
    (machine.root / "bin/uname").write_text("#!/bin/sh\necho aarch64\n")
    result = machine.run()
    assert (result.returncode, result.stderr) == (
        1,
        "install-k3s: this machine is aarch64; the binary and its checksum are for x86_64\n",
    )
    env = machine.root / "lib/k3s.env"
    env.write_text(env.read_text().replace("/k3s\n", "/k3s-arm64\n"))
    assert machine.run().returncode == 0


@pytest.mark.parametrize("name", ["install-k3s.sh", "join-k3s.sh", "say-k3s-settings.sh", "uninstall-k3s.sh"])
def test_shellcheck(name: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    result = subprocess.run([shellcheck, "-s", "sh", "-"], input=script(name), capture_output=True, text=True)
    assert result.stdout == ""


PROCESSES = """\
    1     0 /sbin/init
  100     1 /var/lib/rancher/k3s/data/x/bin/containerd-shim-runc-v2 -address /run/k3s/containerd/containerd.sock
  101   100 /pause
  102   100 /coredns -conf /etc/coredns/Corefile
  103   102 a child
  200     1 /usr/bin/containerd-shim-runc-v2 -namespace moby -address /run/containerd/containerd.sock
  201   200 postgres
  300     1 sshd
"""


def test_uninstall_kills_pods_of_k3s_only(tmp_path: Path) -> None:
    text = script("uninstall-k3s.sh")
    start = text.index("pods_processes() {")
    function = text[start : text.index("\n}\n", start) + 3]
    (tmp_path / "ps").write_text(f"#!/bin/sh\ncat <<'END'\n{PROCESSES}END\n")
    (tmp_path / "ps").chmod(0o755)
    result = subprocess.run(
        ["sh", "-eu", "-c", f"{function}\npods_processes"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(map(int, result.stdout.split())) == [100, 101, 102, 103]


def test_a_machine_that_is_to_be_a_node_again_keeps_the_binary_and_the_scripts(tmp_path: Path) -> None:
    """And nothing else; install-k3s takes the binary where its checksum is right."""
    text = script("uninstall-k3s.sh")
    start = text.index("remove_files() {")
    function = re.sub(r"/(?=(etc|opt|run|usr|var)/)", f"{tmp_path}/", text[start : text.index("\n}\n", start) + 3])
    directory = tmp_path / "usr/local/lib/isthmus"

    def remove(word: str) -> set[str]:
        for path in (
            "usr/local/bin/k3s", "usr/local/lib/isthmus/uninstall-k3s", "usr/local/lib/isthmus/applied",
            "etc/rancher/node/password", "var/lib/rancher/k3s/server/db/data", "var/lib/netbird-router/key",
            "var/lib/isthmus/may-start", "srv/somebody",
        ):  # fmt: skip
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("k3s" if path.endswith("bin/k3s") else "")
        variables = f"directory={directory}; router_state={tmp_path}/var/lib/netbird-router"
        subprocess.run(["sh", "-eu", "-c", f"{variables}\n{function}\nremove_files '{word}'"], check=True)
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    again = {"usr/local/bin/k3s.staged", "usr/local/lib/isthmus/uninstall-k3s", "srv/somebody"}
    assert remove("anew") == again
    assert (tmp_path / "usr/local/bin/k3s.staged").read_text() == "k3s"
    (tmp_path / "usr/local/bin/k3s").unlink(missing_ok=True)
    subprocess.run(
        ["sh", "-eu", "-c", f"directory={directory}; router_state=/nowhere\n{function}\nremove_files anew"], check=True
    )
    assert (tmp_path / "usr/local/bin/k3s.staged").read_text() == "k3s", "begun anew, it is still there"
    assert remove("") == {"srv/somebody"}
