"""`lab run` after the submit: show the script's output, pass Ctrl-C on, say how it ended.

Bytes are counted after they were written, and signals are looked at only in between: whatever
happens to server, terminal or network, no byte is shown twice and none is left out.
"""

import signal
import sys
import time
from typing import Any

from labrun.cli import exit as statuses
from labrun.cli import show
from labrun.cli.output import Output, OutputClosed, OutputFailed, wait_writable, write_piece
from labrun.cli.signals import Interrupted, Signals
from labrun.cli.table import visible
from labrun.client.api import Client, Piece

_AGAIN_S = 2.0
"""A second Ctrl-C within this time cancels."""
_FIRST_WAIT_S = 1.0
_WAIT_S = 20.0
_CHECK_S = 5.0
"""Longest wait for the card of a failure; a full disk may put it off."""
_LIMIT_BYTES = 256 * 1024
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class Detached(Exception):
    """We leave; the experiment goes on."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
        """Our own exit status."""


class Attached:
    """One experiment and the terminal that looks at it."""

    def __init__(self, client: Client, output: Output, experiment: dict[str, Any], user: str) -> None:
        self._client = client
        self._output = output
        self._label: str = experiment["label"]
        self._run_id: str = experiment["run_id"]
        self._attempt: int = experiment["attempt"]
        self._user = user
        self._descriptors = {"stdout": 2, "stderr": 2} if output.face == "json" else _DESCRIPTORS
        self._offsets = {"stdout": 0, "stderr": 0}
        self._interrupts = 0
        self._interrupted_at = float("-inf")
        self._told_reason: str | None = None
        self._looked_at = time.monotonic()

    def follow(self) -> int:
        """Stay until the attempt is over; return the exit status of `lab run`."""
        with Signals() as signals:
            try:
                self._copy(signals)
                return self._close()
            except Detached as detached:
                return detached.status
            except OutputClosed:
                self._say_detached("nobody reads our output any more")
                return statuses.OUTPUT_CLOSED
            except OutputFailed as error:
                self._say_detached(f"our output cannot be written ({error})")
                return statuses.WORLD

    def _copy(self, signals: Signals) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            number = signals.next()
            if number is not None:
                self._act_on(number, signals)
                continue
            try:
                with signals.waiting():
                    piece = self._look(wait_s)
            except Interrupted:
                continue
            self._tell_gaps(piece)
            for stream, offset, content in piece.segments:
                self._offsets[stream] = offset
                self._write(stream, content, signals)
            if piece.is_over and not signals.has_pending:
                return
            if not piece.segments:
                self._tell_reason()
                wait_s = _WAIT_S

    def _look(self, wait_s: float) -> Piece:
        return self._client.logs(
            self._run_id,
            stdout=self._offsets["stdout"],
            stderr=self._offsets["stderr"],
            attempt=self._attempt,
            wait_s=wait_s,
            limit_bytes=_LIMIT_BYTES,
        )

    def _tell_gaps(self, piece: Piece) -> None:
        for gap in piece.gaps:
            self._output.insist(f"lab: {show.missing(gap)}")

    def _write(self, stream: str, content: bytes, signals: Signals) -> None:
        rest, descriptor = memoryview(content), self._descriptors[stream]
        while rest:
            try:
                with signals.waiting():
                    wait_writable(descriptor)
            except Interrupted:
                self._act_on(signals.next(), signals)
                continue
            written = self._write_some(descriptor, rest)
            rest = rest[written:]
            self._offsets[stream] += written

    def _write_some(self, descriptor: int, rest: memoryview) -> int:
        try:
            return write_piece(descriptor, rest)
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            raise OutputFailed(error.strerror) from error

    def _act_on(self, number: int | None, signals: Signals) -> None:
        if number == signal.SIGINT:
            self._interrupt(signals)
        elif number is not None:
            self._say_detached("hung up" if number == signal.SIGHUP else f"{signal.Signals(number).name} received")
            raise Detached(128 + number)

    def _interrupt(self, signals: Signals) -> None:
        from labrun.core.errors import NotAllowedNow  # start-up time: Ctrl-C is rare

        now = time.monotonic()
        self._interrupts = self._interrupts + 1 if now - self._interrupted_at < _AGAIN_S else 1
        self._interrupted_at = now
        try:
            if self._interrupts > 1:
                self._cancel(is_urgent=self._interrupts > 2)
                return
            self._client.signal(self._run_id, signal.SIGINT)
            self._output.say(f"lab: Ctrl-C went to {self._label}; again within {_AGAIN_S:g} s cancels it")
        except NotAllowedNow:
            self._interrupt_outside_running(signals)

    def _interrupt_outside_running(self, signals: Signals) -> None:
        experiment = self._client.experiment(self._run_id)["experiment"]
        if experiment["step"] == "waiting" and experiment["status"] not in show.OVER:
            self._ask(signals)
        elif experiment["status"] not in show.OVER:
            self._output.say(f"lab: {self._label} is about to start; Ctrl-C again within {_AGAIN_S:g} s cancels it")

    def _ask(self, signals: Signals) -> None:
        is_asking = sys.stdin is not None and sys.stdin.isatty() and self._output.face == "human"
        answer = ""
        if is_asking:
            question = f"\nlab: {self._label} is still waiting. Cancel it, or leave it in the queue? [c/L] "
            self._output.insist_part(question)
            try:
                with signals.waiting():
                    answer = sys.stdin.readline()
            except Interrupted:
                signals.next()  # a second Ctrl-C at the question: leaving loses nothing
        if answer.strip().lower() in ("c", "cancel"):
            self._cancel(is_urgent=False)
            return
        self._output.say(f"lab: {self._label} stays in the queue; `lab logs -f {self._label}` shows it later")
        # a script must not take the interrupt for a success; a person who chose to leave it may
        raise Detached(statuses.GOOD if is_asking else statuses.INTERRUPTED)

    def _cancel(self, *, is_urgent: bool) -> None:
        from labrun.core.errors import NotAllowedNow  # start-up time: Ctrl-C is rare

        try:
            self._client.cancel(self._run_id, by=self._user, is_urgent=is_urgent)
        except NotAllowedNow:
            return  # it ended by itself in this moment
        self._output.say(f"lab: {'killing' if is_urgent else 'cancelling'} {self._label}")

    def _tell_reason(self) -> None:
        """Say why it waits, when there is nothing else to show."""
        now = time.monotonic()
        if now - self._looked_at < _FIRST_WAIT_S / 2 or self._offsets["stdout"] or self._offsets["stderr"]:
            return
        self._looked_at = now
        experiment = self._client.experiment(self._run_id)["experiment"]
        if experiment["step"] == "waiting" and experiment["status"] not in show.OVER:
            reason = show.waiting(experiment)
            if reason != self._told_reason:
                self._told_reason = reason
                self._output.say(f"lab: {self._label} waits: {reason}")

    def _say_detached(self, why: str) -> None:
        self._output.insist(f"lab: {why}; {self._label} goes on: `lab logs -f {self._label}`")

    def _close(self) -> int:
        detail = self._checked()
        ours = [attempt for attempt in detail["attempts"] if attempt["attempt"] == self._attempt]
        ending = ours[0] if ours and ours[0]["ending"] else detail["experiment"]
        error_code = self._launch_error() if ending["ending"] == "never_started" else None
        if self._output.face == "json":
            self._output.json(detail)
        elif self._output.is_human:
            lines = [*told_after(detail), *show.closing(detail["experiment"], ending)]
            self._output.say(*(f"lab: {line}" for line in lines))
        return statuses.of_run(ending, error_code)

    def _checked(self) -> dict[str, Any]:
        """Everything about it; after a failure, or where outputs are expected, once its end was looked at."""
        detail = self._client.experiment(self._run_id)
        deadline, seen = time.monotonic() + _CHECK_S, 0
        while (
            (detail["experiment"]["status"] == "failed" or detail["expected_outputs"])
            and detail["experiment"]["step"] == "checking"
            and detail["experiment"]["attempt"] == self._attempt
            and time.monotonic() < deadline
        ):
            seen = self._client.events(self._run_id, after=seen, wait_s=1.0)["next"]
            detail = self._client.experiment(self._run_id)
        return detail

    def _launch_error(self) -> str | None:
        for event in reversed(self._client.events(self._run_id)["events"]):
            if event.get("event") == "ended":
                code: str | None = event["ending"].get("error_code")
                return code
        return None


def told_after(detail: dict[str, Any]) -> list[str]:
    """What is said after a failure, or of outputs that are missing. The log was just seen."""
    lines = [f"missing: nothing matches `{visible(glob)}`" for glob in detail["missing_outputs"]]
    if detail["card"] is not None and detail["card"]["failure"]["mode"] != "cancelled":
        from labrun.cli.card import card  # start-up time: only after a failure

        lines += card(detail["card"], is_brief=True)
    return lines
