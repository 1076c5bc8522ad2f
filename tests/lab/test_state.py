"""Who has the lab, and taking it down from half states. These tests make labs of their own, so none may be up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import base, cgroups, processes, state
from lab.commands import run, wait_until
from lab.errors import LabInUse

REPOSITORY = Path(__file__).parents[2]

link = [
    pytest.mark.link,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root"),
]


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own; nothing outside of it is made or changed."""
    directory = tmp_path / "isthmus-lab"
    monkeypatch.setattr(state, "STATE", directory)
    monkeypatch.setattr(state, "NETNS_DIRECTORY", tmp_path / "netns")
    monkeypatch.setattr(state, "SHARED_SETTINGS", ())
    monkeypatch.setattr(state, "RAISED_SETTINGS", {})
    return directory


def test_a_claim_is_recorded_and_may_be_repeated(state_directory: Path) -> None:
    lab = state.claim(Path("/srv/one"))
    assert (lab.checkout, lab.pid, lab.namespaces) == ("/srv/one", os.getpid(), ())
    assert lab.of_this_boot
    assert state.claim(Path("/srv/one")) == lab == state.read()
    assert state_directory.stat().st_mode & 0o777 == 0o700


def test_a_claim_that_was_killed_before_its_end_is_completed(
    state_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the third machine finds no inotify instance, and nobody knows why."""
    setting = tmp_path / "max_user_instances"
    setting.write_text("128\n")
    monkeypatch.setattr(state, "SHARED_SETTINGS", ("max_user_instances",))
    monkeypatch.setattr(state, "RAISED_SETTINGS", {"max_user_instances": 1024})
    monkeypatch.setattr(state, "_setting", lambda name: tmp_path / name)
    state.claim(Path("/srv/one"))
    assert setting.read_text() == "1024"

    setting.write_text("128\n")
    state_directory.chmod(0o755)
    state.claim(Path("/srv/one"))
    assert setting.read_text() == "1024"
    assert state_directory.stat().st_mode & 0o777 == 0o700


def test_another_checkouts_lab_is_refused_with_who_has_it(state_directory: Path) -> None:
    lab = state.claim(Path("/srv/one"))
    with pytest.raises(LabInUse) as refused:
        state.claim(Path("/srv/two"))
    assert str(refused.value) == (
        f"The lab of /srv/one is up since {lab.started} (process {os.getpid()}); one lab at a time fits on a machine. "
        f"Take it down with `./isthmus lab down` first."
    )


def test_a_lab_from_before_the_last_boot_must_be_taken_down(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.claim(Path("/srv/one"))
    monkeypatch.setattr(state, "_boot_id", lambda: "another")
    with pytest.raises(
        LabInUse, match=r"from before this machine's last boot was not taken down: `\./isthmus lab down`"
    ):
        state.claim(Path("/srv/one"))


def test_namespaces_that_nobody_recorded_are_refused_and_kept(state_directory: Path) -> None:
    foreign = state.NETNS_DIRECTORY / "isthmus-old"
    foreign.mkdir(parents=True)
    with pytest.raises(LabInUse, match="The network namespaces isthmus-old are there, and no lab records them"):
        state.claim(Path("/srv/one"))
    assert foreign.exists()


def test_namespaces_are_recorded_before_and_forgotten_after(state_directory: Path) -> None:
    state.claim(Path("/srv/one"))
    state.record_namespace("isthmus-a")
    state.record_namespace("isthmus-b")
    state.record_namespace("isthmus-a")
    state.forget_namespace("isthmus-a")
    lab = state.read()
    assert lab is not None
    assert lab.namespaces == ("isthmus-b",)


def test_nothing_is_recorded_without_a_lab(state_directory: Path) -> None:
    with pytest.raises(LabInUse, match="No lab is up"):
        state.record_namespace("isthmus-a")


def test_two_may_not_raise_a_lab_at_once(state_directory: Path) -> None:
    with (
        state.exclusive(),
        pytest.raises(LabInUse, match="A lab is being raised or taken down by someone else just now; wait for its end"),
        state.exclusive(),
    ):
        pytest.fail("both had it")
    with state.exclusive():
        pass


def test_written_files_are_whole_and_for_root_only(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file.json"
    assert state.read_json(path) is None
    state.write_json(path, {"a": 1})
    state.write_json(path, {"a": 2})
    assert state.read_json(path) == {"a": 2}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


class TestAnotherLab:
    """A lab in a container has its state directory under the same name, and this machine's /proc shows its machines."""

    pytestmark = link
    GROUP = f"isthmus-test-{os.getpid()}"

    @pytest.fixture
    def theirs(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The control group of a lab that is not at the root of the hierarchies, as a container has it."""
        monkeypatch.setattr(cgroups, "GROUP", self.GROUP)
        hierarchy = next(
            candidate
            for candidate in cgroups.hierarchies()
            if candidate.version == 2 or "pids" in candidate.controllers
        )
        container = hierarchy.mount / f"{self.GROUP}-container"
        theirs = container / self.GROUP
        theirs.mkdir(parents=True)
        yield theirs
        cgroups.remove()
        # Busy while a process in it is still being reaped.
        wait_until(lambda: all(map(_is_removed, (theirs, container))), what="the groups go", deadline_seconds=60)

    def machine(self, directory: Path) -> subprocess.Popen[bytes]:
        """A process that has a file system below the state directory, in a mount namespace of its own."""
        layers = {name: directory / name for name in ("lower", "upper", "work", "root")}
        for layer in layers.values():
            layer.mkdir(parents=True)
        options = ",".join(f"{name}dir={layers[name]}" for name in ("lower", "upper", "work"))
        mount = f"mount -t overlay -o {options} machine {layers['root']} && exec sleep 600"
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", mount])
        wait_for_name(process.pid, "sleep")
        return process

    def test_its_machines_are_not_left_of_ours(self, state_directory: Path, theirs: Path) -> None:
        (ours, strayed, other) = machines = [self.machine(state_directory / name) for name in ("a", "b", "c")]
        try:
            for directory in cgroups.make("a"):
                (directory / "cgroup.procs").write_text(str(ours.pid))
            (theirs / "cgroup.procs").write_text(str(other.pid))
            assert [cgroups.of_another_lab(process.pid) for process in machines] == [False, False, True]
            assert state._in_machines() == sorted([ours.pid, strayed.pid])
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()


def _is_removed(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        directory.rmdir()
    return not directory.exists()


class TestTeardown:
    """With a real lab, made and killed at several moments."""

    pytestmark = link

    SCRIPT = textwrap.dedent("""
        import sys
        from ipaddress import IPv4Address
        from pathlib import Path
        from lab import cgroups, machines, network, processes, state

        def at(moment):
            if moment == sys.argv[2]:
                print("here", flush=True)
                sys.stdin.read()

        with state.exclusive():
            state.claim(Path(sys.argv[1]))
            cgroups.join()
            at("claimed")
            network.create_internet()
            at("internet")
            processes.spawn("helper", ["sleep", "600"], netns="isthmus-services")
            network.create_all()
            at("networks")
            spec = machines.MachineSpec(
                name="test", hostname="test", interfaces=(machines.Public(address=IPv4Address("198.51.100.201")),),
            )
            machines.create(spec)
            at("created")
            machines.start("test")
            at("booting")
            machines.wait_boot("test")
            at("booted")
    """)

    @pytest.fixture(autouse=True)
    def no_lab(self) -> Iterator[None]:
        if state.read() is not None:
            pytest.skip("a lab is up; these tests take labs down")
        base.ensure_machine_tree()
        yield
        with state.exclusive():
            state.teardown()

    @pytest.mark.parametrize("moment", ["claimed", "internet", "networks", "created", "booting", "booted"])
    def test_nothing_is_left_after_sigkill(self, moment: str) -> None:
        settings = self.settings()
        namespaces, links = self.namespaces(), self.links()
        process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(REPOSITORY), moment],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            assert process.stdout.readline() == b"here\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert state.leftovers() != []
        start = time.monotonic()
        with state.exclusive():
            assert state.teardown() == []
        # It waits for no clean shutdown, which a machine has 90 s for.
        assert time.monotonic() - start < 60
        assert state.leftovers() == []
        assert self.settings() == settings
        assert (self.namespaces(), self.links()) == (namespaces, links)
        assert not any(path.is_dir() for path in self.groups())
        with state.exclusive():
            assert state.teardown() == [], "a second time"

    def test_teardown_names_what_it_could_not_remove_and_spares_what_is_not_the_labs(self) -> None:
        with state.exclusive():
            state.claim(REPOSITORY)
            state.record_namespace("isthmus-test")
            run(["ip", "netns", "add", "isthmus-test"])
            # Not started by the lab: not in its control group, and so not ended.
            stranger = subprocess.Popen(["nsenter", "--net=/run/netns/isthmus-test", "sleep", "60"])
            try:
                wait_for_name(stranger.pid, "sleep")
                left = state.teardown()
                assert left == [f"process {stranger.pid} (sleep) still uses the network namespace isthmus-test"]
                assert stranger.poll() is None
            finally:
                stranger.kill()
                stranger.wait()
        assert state.leftovers() == []

    def test_a_file_system_that_somebody_mounted_at_the_states_directory_stays(self) -> None:
        state.STATE.mkdir()
        run(["mount", "-t", "tmpfs", "somebody", str(state.STATE)])
        try:
            with state.exclusive():
                state.claim(REPOSITORY)
                below = state.STATE / "below"
                below.mkdir()
                run(["mount", "-t", "tmpfs", "ours", str(below)])
                assert state.leftovers() == [f"mount {below}", f"directory {state.STATE}"]
                assert state.teardown() == []
            assert state.STATE.is_mount()
            assert list(state.STATE.iterdir()) == []
            assert state.leftovers() == []
        finally:
            run(["umount", str(state.STATE)])
            state.STATE.rmdir()

    def test_a_namespace_with_our_prefix_that_is_not_recorded_is_reported_and_kept(self) -> None:
        made = not state.NETNS_DIRECTORY.exists()
        with state.exclusive():
            state.claim(REPOSITORY)
            run(["ip", "netns", "add", "isthmus-foreign"])
            try:
                assert state.teardown() == ["network namespace isthmus-foreign"]
                assert (state.NETNS_DIRECTORY / "isthmus-foreign").exists()
            finally:
                run(["ip", "netns", "delete", "isthmus-foreign"])
                if made:
                    state._remove_netns_directory()

    def test_helpers_are_found_again_and_stopped(self) -> None:
        with state.exclusive():
            state.claim(REPOSITORY)
            first = processes.spawn("one", ["sh", "-c", "echo $VALUE; exec sleep 600"], environment={"VALUE": "said"})
            assert processes.spawn("one", ["sleep", "600"]) == first
            assert processes.running("one")
            assert processes.names() == ["one"]
            assert first.pid in cgroups.processes(cgroups.HELPERS)
            wait_for_name(first.pid, "sleep")
            assert processes.log_path("one").read_text() == "said\n"
            processes.stop("one")
            assert not first.alive
            assert processes.names() == []
            processes.stop("one")
            stubborn = processes.spawn("two", ["sh", "-c", "trap '' TERM; sleep 600 & wait; wait"])
            processes.stop("two", deadline_seconds=0.5)
            assert not stubborn.alive
            assert state.teardown() == []

    @staticmethod
    def settings() -> dict[str, str]:
        return {
            name: state._setting(name).read_text() for name in state.SHARED_SETTINGS if state._setting(name).exists()
        }

    @staticmethod
    def namespaces() -> list[str]:
        return sorted(path.name for path in state.NETNS_DIRECTORY.glob("*"))

    @staticmethod
    def links() -> str:
        return run(["ip", "-brief", "link"])

    @staticmethod
    def groups() -> list[Path]:
        return [hierarchy.group for hierarchy in cgroups.hierarchies()]


def wait_for_name(pid: int, name: str) -> None:
    """Waits until the process has become the program that it executes."""
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}/comm").read_text().strip() != name:
        assert time.monotonic() < end
        time.sleep(0.01)
