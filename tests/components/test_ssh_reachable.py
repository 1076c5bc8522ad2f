"""Waiting for a machine's SSH server: what is said meanwhile, and the reason in the end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pulumi
import pytest

from components.ssh_reachable import SshWait, UnreachableError, wait_for_ssh, why_no_agent, why_no_ssh

WAITED = SshWait("mn-2", 60.0, "start the machine")


@contextmanager
def server(*said: bytes, hang_up: bool = False) -> Iterator[int]:
    """A TCP server that says this to whoever comes; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            for part in said:
                connection.sendall(part)
            if not hang_up:
                done.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_an_ssh_server_is_known_by_what_it_says() -> None:
    with server(b"SSH-2.0-OpenSSH_9.2p1\r\n") as port:
        assert why_no_ssh("127.0.0.1", port) is None
    with server(b"Welcome.\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n") as port:
        assert why_no_ssh("127.0.0.1", port) is None


def test_a_server_that_says_nothing_holds_nobody_up() -> None:
    with server() as port:
        assert why_no_ssh("127.0.0.1", port, 0.2) == "no answer"


def test_one_that_says_something_else_and_then_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Said before it is waited for: a server of its own might come to its turn too late.
    ours, its = socket.socketpair()
    with its:
        its.sendall(b"220 ready\r\n")
        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: ours)
        assert why_no_ssh("127.0.0.1", 22, 0.2) == "what it says is not SSH"


def test_other_answers() -> None:
    with server(hang_up=True) as port:
        assert why_no_ssh("127.0.0.1", port, 5.0) == "it hangs up before it says that it is an SSH server"
    with socket.socket() as nobody:
        # Bound, so that no other server gets the port, and not listening.
        nobody.bind(("127.0.0.1", 0))
        assert why_no_ssh("127.0.0.1", nobody.getsockname()[1], 5.0) == "Connection refused"


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def waits(*reasons: str | None) -> tuple[list[str], float]:
    """What is said while these are the answers, the last one for good; and when it was over."""
    clock, said, left = Clock(), list[str](), list(reasons)

    def look(_host: str, _port: int) -> str | None:
        return left.pop(0) if len(left) > 1 else left[0]

    wait_for_ssh("192.168.7.12", 22, WAITED, said.append, now=clock.now, sleep=clock.sleep, look=look)
    return said, clock.time


def test_nothing_is_said_when_it_is_there() -> None:
    assert waits(None) == ([], 0.0)


def test_it_says_what_it_waits_for_when_that_changes_and_every_few_seconds() -> None:
    said, ended = waits(*["no answer"] * 6, "Connection refused", None)
    assert said == [
        "mn-2: waiting for SSH at 192.168.7.12:22 (0 of 60 s): no answer",
        "mn-2: waiting for SSH at 192.168.7.12:22 (10 of 60 s): no answer",
        "mn-2: waiting for SSH at 192.168.7.12:22 (12 of 60 s): Connection refused",
    ]
    assert ended == 14.0


def test_the_deadline_names_the_machine_the_reason_and_the_fix_and_the_next_time_it_goes_through() -> None:
    with pytest.raises(UnreachableError) as refusal:
        waits("No route to host")
    assert str(refusal.value) == (
        "mn-2: no SSH at 192.168.7.12:22 within 60 s: No route to host; start the machine. Nothing of this stands in "
        "the way of the next `pulumi up`"
    )
    assert waits(None) == ([], 0.0)


class TestAgent:
    def test_none(self) -> None:
        assert why_no_agent(None) is None
        assert why_no_agent("") is None

    def test_one_that_answers(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.bind(str(tmp_path / "agent"))
            agent.listen()
            assert why_no_agent(str(tmp_path / "agent")) is None

    def test_one_that_is_gone(self, tmp_path: Path) -> None:
        path = str(tmp_path / "agent")
        assert why_no_agent(path) == (
            f"SSH_AUTH_SOCK is {path}, where no SSH agent answers (No such file or directory); the command provider "
            "asks it although it has a key, and fails. Run `unset SSH_AUTH_SOCK`, then the same command again"
        )


def test_hooks_run_before_a_command_is_made_or_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not before it is deleted: that hook would need the program at `pulumi destroy`."""
    import components.ssh_reachable as module

    hooks: list[object] = []

    class Hook:
        def __init__(self, name: str, callback: object) -> None:
            self.name, self.callback = name, callback
            hooks.append(self)

    monkeypatch.setattr(pulumi, "ResourceHook", Hook)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    binding = module.ssh_hooks("machines", "192.168.7.12", 22, WAITED)
    (hook,) = hooks
    assert binding.before_create == binding.before_update == [hook]
    assert not binding.before_delete
    with pytest.raises(UnreachableError, match=r"^mn-2: SSH_AUTH_SOCK is .*/gone, where no SSH agent answers"):
        asyncio.run(hook.callback(None))  # type: ignore[attr-defined]
