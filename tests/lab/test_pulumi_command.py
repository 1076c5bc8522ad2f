"""Running `pulumi`: what is streamed and logged, what Ctrl-C means, and what a killed run has left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cgroups, private_files, processes, project, pulumi_command, state
from lab.commands import wait_until, waited_for
from lab.errors import CommandFailed, LabInUse
from lab.project import Tools
from lab.pulumi_command import Pulumi, PulumiFailed

FAKE = """#!/bin/sh
# A pulumi that says what it was called with, and stops in an orderly way when asked.
echo "called $*"
case "$*" in
*" up "*)
    trap 'echo cancelling; exit 1' INT
    echo started
    [ -e "$FAKE_FAILS" ] && { echo "no such thing" >&2; exit 255; }
    [ -e "$FAKE_WAITS" ] && while :; do sleep 0.05; done
    echo finished ;;
*" stack init "*)
    touch "$FAKE_BEGUN"
    [ -e "$FAKE_WAITS" ] && sleep 60
    while [ -e "$FAKE_HOLDS" ]; do sleep 0.02; done
    touch "$FAKE_DONE" ;;
*" cancel "*) echo "$*" >> "$FAKE_CANCELS" ;;
*" config set "*) cat >> "$FAKE_STDIN" ;;
esac
"""


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A run of the tests in the background of a script ignores Ctrl-C, and what it starts would do the same."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    monkeypatch.setattr(state, "STATE", tmp_path / "state")
    monkeypatch.setattr(project, "at_workstation", list)
    program = tmp_path / "pulumi"
    program.write_text(FAKE)
    program.chmod(0o755)
    # No lab that may be up beside the tests is looked at.
    monkeypatch.setattr(cgroups, "processes", lambda name="": set[int]())
    for name in ("FAILS", "WAITS", "CANCELS", "STDIN", "BEGUN", "HOLDS", "DONE"):
        monkeypatch.setenv(f"FAKE_{name}", str(tmp_path / name.lower()))
    (tmp_path / "state/project").mkdir(parents=True)
    return Pulumi(tools=Tools(pulumi_bin=tmp_path, kubectl=Path("/none/kubectl")))


def test_output_is_handed_on_line_by_line_and_kept(pulumi: Pulumi, tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "logs/up.log"
    pulumi.stream("up", "--yes", "-s", "de", log=log, on_line=lines.append)
    assert lines == [
        f"called -C {tmp_path}/state/project up --yes -s de --non-interactive --color never",
        "started",
        "finished",
    ]
    assert log.read_text().splitlines() == ["$ pulumi up --yes -s de", *lines]


def test_a_failure_names_the_log(pulumi: Pulumi, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    lines: list[str] = []
    log = tmp_path / "up.log"
    with pytest.raises(PulumiFailed) as caught:
        pulumi.stream("up", "-s", "de", log=log, on_line=lines.append)
    assert str(caught.value) == f"`pulumi up -s de` ended with code 255; it says why above and in {log}"
    assert lines[-1] == "no such thing"
    assert (caught.value.said, caught.value.code) == (tuple(lines), 255)


def test_an_interruption_lets_pulumi_finish_what_it_has_begun(pulumi: Pulumi, tmp_path: Path) -> None:
    (tmp_path / "waits").touch()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "started":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pulumi.stream("up", "-s", "de", log=tmp_path / "up.log", on_line=on_line)
    assert lines[-1] == "cancelling"
    assert "Pulumi finishes what it has begun" in lines[-2]
    assert not (state.STATE / "pulumi/running.json").exists()


def test_a_second_interruption_ends_it(pulumi: Pulumi, tmp_path: Path) -> None:
    (tmp_path / "waits").touch()

    def on_line(line: str) -> None:
        if line in ("started", "cancelling"):
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pulumi.stream("up", "-s", "de", log=tmp_path / "up.log", on_line=on_line)
    assert time.monotonic() - start < 10


def test_a_short_command_that_hangs_is_ended_and_named(pulumi: Pulumi, tmp_path: Path) -> None:
    (tmp_path / "waits").touch()
    with pytest.raises(CommandFailed, match=r"^`pulumi stack init de` did not end within 0\.2 s$"):
        pulumi.run("stack", "init", "de", deadline_seconds=0.2)


def test_an_interruption_lets_a_short_command_finish(pulumi: Pulumi, tmp_path: Path) -> None:
    """What it writes is a stack file or a state: half of one would need a person."""
    (tmp_path / "holds").touch()

    def interrupt() -> None:
        wait_until((tmp_path / "begun").exists, what="the command begins", deadline_seconds=30)
        os.kill(os.getpid(), signal.SIGINT)
        (tmp_path / "holds").unlink()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        pulumi.run("stack", "init", "de")
    interrupting.join()
    assert (tmp_path / "done").exists()


def test_what_a_long_command_said_last_is_what_is_waited_for(pulumi: Pulumi, tmp_path: Path) -> None:
    seen: list[str] = []
    pulumi.stream("up", log=tmp_path / "up.log", on_line=lambda _: seen.append(waited_for()))
    assert seen[1:] == ["pulumi, which said last: started", "pulumi, which said last: finished"]
    assert waited_for() == ""


def test_secrets_go_through_standard_input_and_only_when_missing(pulumi: Pulumi, tmp_path: Path) -> None:
    project.stack_file("de").write_text("config:\n  isthmus:clusterSecret: {secure: x}\n")
    pulumi.set_secrets("de", {"isthmus:clusterSecret": "old", "isthmus:netbirdApiToken": "tok"})
    assert (tmp_path / "stdin").read_text() == "tok"


def test_what_a_killed_run_has_left_is_ended_and_its_lock_removed(pulumi: Pulumi, tmp_path: Path) -> None:
    locks = project.backend_directory() / ".pulumi/locks/organization/isthmus/de"
    locks.mkdir(parents=True)
    (locks / "1234.json").write_text("{}")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
    try:
        pulumi_command._remember(child.pid)
        pulumi.release_locks()
        assert child.wait(timeout=5) == -signal.SIGKILL
    finally:
        child.poll()
        if child.returncode is None:
            child.kill()
            child.wait()
    assert (tmp_path / "cancels").read_text().split(" --")[0].endswith("cancel")
    assert "-s de" in (tmp_path / "cancels").read_text()


def test_another_process_with_that_number_is_left_alone(pulumi: Pulumi) -> None:
    own = processes.identity(os.getpid())
    assert own is not None
    record = f'{{"pid": {own.pid}, "start_time": {own.start_time - 1}}}'
    private_files.write_secret(state.STATE / "pulumi/running.json", record)
    pulumi.release_locks()
    assert not (state.STATE / "pulumi/running.json").exists()


def lock_of(pid: int) -> Path:
    """A lock of de as Pulumi writes it."""
    path = project.backend_directory() / ".pulumi/locks/organization/isthmus/de/1234.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": pid, "username": "root", "hostname": "here"}))
    return path


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A `pulumi` of somebody else."""
    child = subprocess.Popen(["pulumi", "600"], executable="/bin/sleep")
    wait_until(lambda: processes.command_line(child.pid)[:1] == ["pulumi"], what="it runs", deadline_seconds=30)
    yield child
    child.kill()
    child.wait()


def test_somebody_elses_pulumi_is_not_disturbed(
    pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: subprocess.Popen[bytes]
) -> None:
    monkeypatch.setattr(pulumi_command, "OTHERS_SECONDS", 0.5)
    lock_of(other.pid)
    said = (
        rf"^There is a pulumi \(process {other.pid}\) that is at work on the stack de, for more than 0 minutes\. Wait"
    )
    with pytest.raises(LabInUse, match=said):
        pulumi.release_locks()
    assert other.poll() is None
    assert not (tmp_path / "cancels").exists()


def test_it_is_waited_for(pulumi: Pulumi, tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    lock = lock_of(other.pid)
    waiting = threading.Thread(target=pulumi.release_locks)
    waiting.start()
    what = f"the end of a pulumi (process {other.pid}) that is at work on the stack de"
    end = time.monotonic() + 30
    while waited_for() != what:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert waiting.is_alive()
    lock.unlink()
    waiting.join(30)
    assert not waiting.is_alive()
    assert not (tmp_path / "cancels").exists(), "it has taken its lock away itself"


def test_the_number_of_a_lock_may_be_another_programs_by_now(pulumi: Pulumi, tmp_path: Path) -> None:
    lock_of(os.getpid())
    pulumi.release_locks()
    assert "-s de" in (tmp_path / "cancels").read_text()


def test_plugins_go_with_their_pulumi_and_not_before(pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone they would go on with what a killed `pulumi` had them do, beside the next `up`."""
    orphan = subprocess.Popen(["/plugins/pulumi-resource-kubernetes", "60"], executable="/bin/sleep")
    script = "sleep 60 & echo $!; wait"
    parent = subprocess.Popen(["pulumi", "-c", script], executable="/bin/sh", stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    lines = {orphan.pid: ["/plugins/pulumi-resource-kubernetes", "60"], child: ["sh", "/p/pulumi-resource-x"]}
    real = processes.command_line
    monkeypatch.setattr(cgroups, "processes", lambda name="": {os.getpid(), orphan.pid, child, parent.pid})
    monkeypatch.setattr(processes, "command_line", lambda pid: lines.get(pid) or real(pid))
    try:
        wait_until(lambda: real(parent.pid)[:1] == ["pulumi"], what="it runs", deadline_seconds=30)
        assert [plugin.pid for plugin in pulumi_command.orphaned_plugins()] == [orphan.pid]
        pulumi.release_locks()
        assert orphan.wait(timeout=30) == -signal.SIGKILL
        assert Path(f"/proc/{child}").exists()
    finally:
        for process in (orphan, parent):
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_nothing_to_release_runs_nothing(pulumi: Pulumi, tmp_path: Path) -> None:
    pulumi.release_locks()
    assert not (tmp_path / "cancels").exists()
