"""The control files of attempts: `<run_id>.<n>.{order,lease,started,exit,sock}`, flat in one directory.

Order, start marker and exit record are one checksummed line each. A lease is a lock on an empty file:
held from before the claim until the supervisor is dead, whoever holds the descriptor in between.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.core.ids import AttemptId
from labrun.core.line import decode_line, encode_line
from labrun.engines.protocol import ExitRecord, LaunchOrder, StartedRecord

Record = TypeVar("Record", bound=Struct)

EVIDENCE = ("order", "started", "exit")


class _Groups(Struct, frozen=True):
    """What a start marker says beyond the protocol: the cgroups its supervisor made."""

    cgroups: tuple[str, ...] = ()


class ControlFiles:
    """One control directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, attempt: AttemptId, kind: str) -> Path:
        """Where a control file of an attempt is, or would be."""
        return self.directory / f"{attempt}.{kind}"

    def exists(self, attempt: AttemptId, kind: str) -> bool:
        """Whether it is there, whole or not."""
        return self.path(attempt, kind).exists()

    def attempts(self) -> set[AttemptId]:
        """Every attempt of which there is any file."""
        names = (path.name.split(".") for path in self.directory.iterdir())
        return {AttemptId(".".join(parts[:2])) for parts in names if len(parts) > 2}

    def write_order(self, order: LaunchOrder) -> None:
        """Write an order, unsynced, every field spelled out: the supervisor knows no defaults.

        Raises:
            OSError: No space, no directory.
        """
        fields = {name: getattr(order, name) for name in order.__struct_fields__}
        path = self.path(order.attempt_id, "order")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as stream:  # noqa: PTH123 - made 0600 in one step
            stream.write(encode_line(fields))

    def is_order_intact(self, attempt: AttemptId) -> bool:
        """Whether the order is there, whole and unaltered."""
        return self._read(attempt, "order", LaunchOrder) is not None

    def started(self, attempt: AttemptId) -> StartedRecord | None:
        """The start marker, None while it is not whole.

        Raises:
            OSError: It cannot be read just now, so nothing is known; all questions about files here say so.
        """
        return self._read(attempt, "started", StartedRecord)

    def exit(self, attempt: AttemptId) -> ExitRecord | None:
        """The exit record, None when there is none, or a damaged one."""
        return self._read(attempt, "exit", ExitRecord)

    def groups(self, attempt: AttemptId) -> tuple[str, ...]:
        """Cgroups its start marker names, as far as their names are this attempt's."""
        found = None
        with suppress(OSError):  # they can be found by name as well
            found = self._read(attempt, "started", _Groups)
        return tuple(path for path in found.cgroups if Path(path).name == f"labrun-{attempt}") if found else ()

    def _read(self, attempt: AttemptId, kind: str, record: type[Record]) -> Record | None:
        try:
            return decode_line(self.path(attempt, kind).read_bytes(), record)
        except (FileNotFoundError, StoreDamaged):
            return None

    def take_lease(self, attempt: AttemptId, *, is_new: bool = False) -> int:
        """Lock the lease and return its descriptor; the lock falls when the last copy of it is closed.

        Never unlocked explicitly: that would take it from every holder of a copy.

        Raises:
            BlockingIOError: Somebody else holds it: a supervisor, or a message on its way to one.
            FileNotFoundError: It is not there, and `is_new` is false.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if is_new else 0)
        lease = os.open(self.path(attempt, "lease"), flags, 0o600)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lease)
            raise
        return lease

    def remove(self, attempt: AttemptId) -> None:
        """Remove all of an attempt; the order first and the marker last, so that nothing in between can start it."""
        for kind in ("order", "lease", "sock", "exit.tmp", "exit", "started"):
            self.path(attempt, kind).unlink(missing_ok=True)
