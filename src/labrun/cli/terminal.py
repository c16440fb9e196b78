"""This terminal, lent to an experiment: keys go there, what it prints comes here, until it ends or somebody detaches.

Keys travel as bytes with an offset and output as bytes of the log with an offset, both by plain
requests: a server that dies in between costs a moment, and no key or character comes twice.
One thread shows the log; the main thread reads the keys, for signals arrive there.
"""

import base64
import os
import select
import signal
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from labrun.cli import show
from labrun.cli.attach import terminal_size
from labrun.cli.follow import Attached, Detached
from labrun.cli.output import Output, OutputClosed, OutputFailed, wait_writable, write_piece
from labrun.cli.signals import Interrupted, Signals
from labrun.client.api import Client
from labrun.core.errors import LabError, NotAllowedNow

LEAVE = b"\x1d"
"""Ctrl-]: after it `d` detaches, and a second one is sent on."""
LEAVE_SHOWN = "Ctrl-] d"
_SUSPEND = b"\x1a"
_READ_BYTES = 4096
_SEND_BYTES = 24_000
_ALIVE_S = 4.0
"""How often we say that we are still here, when nothing is typed; after 15 s of silence somebody else may type."""
_FULL_S = 0.2
"""Pause when the script does not read what was typed."""
_STOPS_S = 0.5
"""So long after Ctrl-Z we look whether it took effect."""
_WAIT_S = 20.0
_LIMIT_BYTES = 256 * 1024


class AttachedTerminal(Attached):
    """An experiment in a terminal, and the terminal that is lent to it.

    Args:
        client: For keys and questions.
        screen_client: For the log: it waits while keys are sent.
        output: Ours.
        experiment: As the server shows it.
        user: Who asks.
        is_looking_on: Type nothing.
        begin: First byte of the log to be shown.
    """

    def __init__(
        self,
        client: Client,
        screen_client: Client,
        output: Output,
        experiment: dict[str, Any],
        user: str,
        *,
        is_looking_on: bool = False,
        begin: int = 0,
    ) -> None:
        super().__init__(client, output, experiment, user)
        self._screen_client = screen_client
        self._is_looking_on = is_looking_on
        self._offsets["stdout"] = begin

    def _copy(self, signals: Signals) -> None:
        if self._wait_until_running(signals):
            screen = Screen(self._screen_client, self._run_id, self._attempt, self._offsets["stdout"])
            keyboard = Keyboard(self._client, self._run_id, self._output, is_looking_on=self._is_looking_on)
            screen.start()
            try:
                keyboard.converse(screen)
            except Detached:
                self._output.insist("", f"lab: detached; {self._label} goes on: `lab attach {self._label}`")
                raise
            finally:
                screen.leave()
            screen.join()
            self._offsets["stdout"] = screen.offset
            if screen.failure is not None:
                raise screen.failure
        super()._copy(signals)

    def _wait_until_running(self, signals: Signals) -> bool:
        """Wait for its turn; False when it is over instead. Ctrl-C asks, as for `lab run`."""
        seen = 0
        while True:
            number = signals.next()
            if number is not None:
                self._act_on(number, signals)
                continue
            experiment = self._client.experiment(self._run_id)["experiment"]
            if experiment["attempt"] != self._attempt or experiment["status"] in show.OVER:
                return False
            if experiment["step"] in ("running", "checking"):
                return bool(experiment["step"] == "running")
            self._tell_reason()
            try:
                with signals.waiting():
                    seen = self._client.events(self._run_id, after=seen, wait_s=_WAIT_S)["next"]
            except Interrupted:
                continue


class Screen(threading.Thread):
    """Shows the log as it grows, on a connection of its own."""

    def __init__(self, client: Client, run_id: str, attempt: int, offset: int) -> None:
        super().__init__(name="screen", daemon=True)
        self._client, self._run_id, self._attempt = client, run_id, attempt
        self.offset = offset
        """Next byte of the log to be shown; what lies before it was written to our terminal."""
        self.failure: Exception | None = None
        self._is_left = False
        self.over, self._over = os.pipe()
        """Readable when the log is over or cannot be shown."""

    def run(self) -> None:
        """Copy until the attempt is over."""
        try:
            is_over = False
            while not is_over and not self._is_left:
                piece = self._client.logs(
                    self._run_id, stdout=self.offset, attempt=self._attempt, wait_s=_WAIT_S, limit_bytes=_LIMIT_BYTES
                )
                for _, offset, content in piece.segments:
                    self.offset = offset  # a log over its quota goes on after its gap
                    self._show(memoryview(content))
                is_over = piece.is_over
        except (LabError, OutputClosed, OutputFailed) as error:
            self.failure = error
        finally:
            os.write(self._over, b"x")

    def _show(self, rest: memoryview) -> None:
        while rest and not self._is_left:
            try:
                wait_writable(1)
                written = write_piece(1, rest)
            except BrokenPipeError as error:
                raise OutputClosed from error
            except OSError as error:
                raise OutputFailed(error.strerror) from error
            rest = rest[written:]
            self.offset += written

    def leave(self) -> None:
        """Show no more; a long look that is under way is left to itself."""
        self._is_left = True


class Keyboard:
    """Reads keys and sends them, until the screen says that it is over.

    Args:
        client: For the keys; the screen has its own.
        run_id: Whose terminal it is.
        output: Talks to the person.
        is_looking_on: Send nothing, only look.
    """

    def __init__(self, client: Client, run_id: str, output: Output, *, is_looking_on: bool) -> None:
        self._client, self._run_id, self._output = client, run_id, output
        self._session = os.urandom(8).hex()
        self._pending = b""
        self._sent = 0
        self._is_looking_on = is_looking_on
        self._is_writer: bool | None = None
        self._has_left_key = False
        self._size: dict[str, int] | None = None
        self._signals: list[int] = []
        self._raw = Raw(output)
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def converse(self, screen: Screen) -> None:
        """Stay until the experiment is over.

        Raises:
            Detached: The person left, or the terminal is gone.
        """
        with self._catching(), self._raw:
            self._send()
            while not self._wait(screen):
                if self._signals:
                    self._act_on(self._signals.pop(0))
                self._send()

    def _wait(self, screen: Screen) -> bool:
        """Wait for a key, a signal, the end, or the time to say that we are here; whether it is the end."""
        is_unknown = self._is_writer is None and not self._is_looking_on
        pause_s = _FULL_S if self._pending or is_unknown else _ALIVE_S
        ready, _, _ = select.select([0, self._wake, screen.over], [], [], pause_s)
        if self._wake in ready:
            with suppress(BlockingIOError):
                os.read(self._wake, 64)
        if screen.over in ready:
            return True
        if 0 in ready:
            self._read()
        return False

    def _read(self) -> None:
        try:
            keys = os.read(0, _READ_BYTES)
        except OSError:
            keys = b""
        if not keys:
            self._leave(128 + signal.SIGHUP)
        for key in (keys[i : i + 1] for i in range(len(keys))):
            if self._has_left_key:
                self._has_left_key = False
                if key in (b"d", b"D"):
                    self._leave(0)
                self._pending += key if key == LEAVE else LEAVE + key
            elif key == LEAVE:
                self._has_left_key = True
            else:
                self._pending += key
        if self._is_looking_on or self._is_writer is False:
            self._pending = b""
        elif _SUSPEND in keys:
            self._send()
            self._suspend_with_it()

    def _leave(self, status: int) -> NoReturn:
        with suppress(LabError):
            self._say(is_leaving=True)
        raise Detached(status)

    def _act_on(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._size = None
        elif number != signal.SIGCONT:
            self._leave(128 + number)

    def _send(self) -> None:
        """Hand over what was typed, and that we are here."""
        if self._is_looking_on:
            return
        while True:
            try:
                answer = self._say()
            except NotAllowedNow:
                return  # it has just ended, or just begun; the screen knows
            self._note_role(is_writer=answer["is_writer"])
            if not self._pending or not answer["is_writer"] or not self._took:
                return

    def _say(self, *, is_leaving: bool = False) -> dict[str, Any]:
        part = self._pending[:_SEND_BYTES]
        keys: dict[str, Any] = {"session": self._session, "offset": self._sent}
        keys["input"] = base64.b64encode(part).decode()
        if is_leaving:
            keys["is_leaving"] = True
        size = self._size if is_leaving else terminal_size()  # the terminal may be gone
        if size != self._size:
            keys["size"] = size
        answer = self._client.type(self._run_id, keys)
        if answer["is_writer"]:
            self._size = size
            self._took = answer["received"] - self._sent
            self._sent, self._pending = answer["received"], self._pending[max(0, self._took) :]
        return answer

    _took = 0
    """Bytes the last request brought over."""

    def _note_role(self, *, is_writer: bool) -> None:
        if not is_writer:
            self._pending = b""
        if is_writer != self._is_writer and not (is_writer and self._is_writer is None):
            self._output.insist("", "lab: you may type now" if is_writer else "lab: somebody else types; you look on")
        if is_writer and not self._is_writer:
            self._size = None
        self._is_writer = is_writer

    def _suspend_with_it(self) -> None:
        """After Ctrl-Z: if the script stopped, stop too, as if it ran in this shell; wake it when we go on."""
        deadline = time.monotonic() + _STOPS_S
        try:
            while not self._say()["is_stopped"]:
                if time.monotonic() > deadline:
                    return  # an editor or a shell took the key for itself
                time.sleep(0.02)  # why: nothing tells when a script has stopped, and that it does not is no event
        except NotAllowedNow:
            return
        with self._raw.paused():
            self._output.insist("", "lab: stopped; `fg` goes on")
            os.killpg(0, signal.SIGTSTP)
        self._size = None
        with suppress(NotAllowedNow):
            self._client.signal(self._run_id, signal.SIGCONT)

    @contextmanager
    def _catching(self) -> Iterator[None]:
        """Note signals and wake the loop; TERM and HUP detach, a new window size is passed on."""
        wanted = (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        with suppress(BlockingIOError):
            os.write(self._waker, b"x")


class Raw:
    """Lets every key of this terminal pass as it is; restored whatever happens."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._before: list[Any] = []

    def __enter__(self) -> None:
        self._before = termios.tcgetattr(0)
        self._begin()

    def _begin(self) -> None:
        tty.setraw(0, termios.TCSADRAIN)
        self._output.line_end = "\r\n"

    def __exit__(self, *exc: object) -> None:
        self._output.line_end = "\n"
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """An ordinary terminal for a moment."""
        self.__exit__()
        try:
            yield
        finally:
            self._begin()
