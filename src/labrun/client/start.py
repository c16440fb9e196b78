"""Start the home's server when none listens: once, however many clients want it at the same time."""

import _socket
import contextlib
import hashlib
import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labrun.client.connection import NotListening, connect
from labrun.core.errors import LabError, ServerUnreachable, revive

START_S = 15.0
"""How long a server may take until it answers."""
_PAUSE_S = 0.02
_PATIENCE_S = 6.0
"""How long another client's start is waited for before trying it ourselves; the server's own lock keeps it at one."""
_TAIL_BYTES = 4096


def is_listening(socket: Path) -> bool:
    """Whether somebody accepts connections."""
    try:
        connect(socket, 5.0).close()
    except NotListening:
        return False
    return True


def ensure(
    home: Path, socket: Path, variables: Mapping[str, str], say: Callable[[str], None], *, is_inside: bool = False
) -> None:
    """Return when a server listens, starting one if need be.

    Args:
        home: The home it shall serve; made when it is not there.
        socket: Where it will listen.
        variables: Its whole environment.
        say: Told the server's notices, by the one client that started it.
        is_inside: The caller runs inside an experiment. A server started there would be killed with it.

    Raises:
        ServerUnreachable: None listens, and none is started from inside an experiment.
        LabError: It could not start, for the reason it gave itself.
    """
    if is_inside and not is_listening(socket):
        error = ServerUnreachable(str(socket), "and one started inside an experiment would be killed with it")
        error.hint = "start it outside with `lab serve --detach`"
        raise error
    started_at = time.monotonic()
    deadline = started_at + START_S
    while not is_listening(socket):
        now = time.monotonic()
        if now > deadline:
            raise ServerUnreachable(str(socket), f"none answered within {START_S:g} s")
        turn = _take_turn(home)
        if turn is None and now - started_at < _PATIENCE_S:
            time.sleep(_PAUSE_S)
            continue
        try:
            if not is_listening(socket) and not _start(home, socket, variables, deadline, say):
                time.sleep(_PAUSE_S * 5)  # the old server is still on its way out and holds the home
        finally:
            if turn is not None:
                turn.close()


def _take_turn(home: Path) -> _socket.socket | None:
    """Be the one client that starts the server; None when another one is at it.

    A name in the abstract namespace: it leaves no file behind and falls with its process.

    Source:
        unix(7), abstract sockets.
    """
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:32]
    turn = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        turn.bind(f"\0labrun-start-{os.getuid()}-{name}")
    except OSError:
        turn.close()
        return None
    return turn


def _start(home: Path, socket: Path, variables: Mapping[str, str], deadline: float, say: Callable[[str], None]) -> bool:
    """Start one and wait for its word; False when another server holds the home.

    Raises:
        LabError: It could not start.
    """
    import subprocess  # start-up time: needed once per server, not once per command

    reading, writing = os.pipe()
    talk = os.memfd_create("labrun-server-start")
    try:
        with contextlib.ExitStack() as closing:
            closing.callback(os.close, writing)
            command = [sys.executable, "-P", "-m", "labrun.cli.main", "serve", "--report-fd", str(writing)]
            child = subprocess.Popen(
                command,
                env={**variables, "LAB_HOME": str(home)},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=talk,
                stderr=talk,
                pass_fds=(writing,),
                start_new_session=True,
            )
        child.wait()  # it forks once more and is adopted by init: nothing of ours is left as its parent
        report = _read_report(reading, deadline)
        if "ready" in report:
            while not is_listening(socket) and time.monotonic() < deadline:
                time.sleep(_PAUSE_S / 4)
            for notice in report["ready"].get("notices", ()):
                say(str(notice))
            return True
        if "error" in report:
            told = report["error"]
            error = revive(told["code"], told["message"], told.get("hint"), told.get("details"))
            if error.code == "home_busy":
                return False
            raise error
        raise _silent(home, _tail(talk))
    finally:
        os.close(reading)
        os.close(talk)


def _read_report(reading: int, deadline: float) -> dict[str, Any]:
    """Read the one line a starting server writes; empty when it ended or stayed silent."""
    text = b""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while not text.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return {}
        piece = os.read(reading, 65536)
        if not piece:
            return {}
        text += piece
    found: dict[str, Any] = json.loads(text)
    return found


def _silent(home: Path, tail: str) -> LabError:
    lines = [line for line in tail.splitlines() if line.strip()]
    why = f"one was started and ended without a word; its last line: {lines[-1].strip()}" if lines else "it fell silent"
    return ServerUnreachable(str(home), why)


def _tail(talk: int) -> str:
    size = os.fstat(talk).st_size
    return os.pread(talk, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")
