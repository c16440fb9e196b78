"""One connection, one thread, group commit: what arrives while a commit runs shares the next one."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw

from labrun.core.errors import DiskFull, HomeBusy, InternalError, LabError, QueueMissing, ServerStopping
from labrun.store.queue.database import SQL, connect, connect_reader, take_epoch
from labrun.store.sql.calls import explain, fetch

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[apsw.Connection], Any]
_GROUP_LIMIT = 5000
"""Most changes of one transaction: bounds how long the first one waits for the last."""


class _Asked:
    """One change on its way, and who waits for it."""

    __slots__ = ("change", "future", "is_essential", "problem", "result")

    def __init__(self, change: Change, future: "asyncio.Future[Any]", *, is_essential: bool) -> None:
        self.change = change
        self.future = future
        self.is_essential = is_essential
        self.result: Any = None
        self.problem: Exception | None = None


class Committer:
    """Owns the queue's database. Every write transaction checks the epoch: a thawed old owner cannot write."""

    def __init__(
        self, path: Path, synchronous: str, label_floor: int = 0, make_room: Callable[[], bool] = lambda: False
    ) -> None:
        """Open the database and become its owner.

        Args:
            path: The database; it must be there.
            synchronous: SQLite's setting; anything below FULL loses acknowledged work in a power cut.
            label_floor: No label up to this number is given again.
            make_room: Frees what was kept in reserve on this disk; tells whether that changed anything.

        Raises:
            LabError: See `database.connect` and `database.take_epoch`.
        """
        self.path = path
        self._synchronous = synchronous
        self._make_room = make_room
        self._inbox: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._is_closed = False
        self._connection: apsw.Connection | None = None
        connection = connect(path, synchronous)
        try:
            self.epoch = take_epoch(connection, path, label_floor)
            # Stays open while the other one is replaced: so what a failed commit left in the log is never replayed.
            self._reader = connect_reader(path)
        except BaseException:
            connection.close(True)
            raise
        self._connection = connection
        self._inode = path.stat().st_ino
        self._thread = threading.Thread(target=self._run, name="queue committer", daemon=True)
        self._thread.start()

    async def commit(self, change: Callable[[apsw.Connection], T], *, is_essential: bool = True) -> T:
        """Run a change in the next transaction; returns after it is durable.

        Args:
            change: Runs in the committer's thread, perhaps more than once; only the last run counts.
            is_essential: Concerns work that was accepted before: on a full disk the reserve is used for it.

        Raises:
            LabError: What the change raised; others of its group are not touched by it.
            DiskFull: The commit found no space; nothing of the group happened.
            HomeBusy: Another owner took the home over; this one must not write any more.
            ServerStopping: The queue was closed before.
        """
        if self._is_closed:
            raise ServerStopping
        asked = _Asked(change, asyncio.get_running_loop().create_future(), is_essential=is_essential)
        self._inbox.put(asked)
        result: T = await asked.future
        return result

    def read(self, query: str, *values: Any) -> list[Any]:
        """Read what is committed, in the caller's thread.

        Raises:
            LabError: The database cannot be read.
        """
        try:
            return fetch(self._reader, query, *values)
        except apsw.Error as error:
            raise explain(error, self.path, "reading the queue", self._reader) from error

    async def aclose(self) -> None:
        """Carry out what was asked, checkpoint, close. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- the thread

    def _run(self) -> None:
        is_last = False
        while not is_last:
            group, is_last = self._gather()
            try:
                self._carry_out(group)
            except Exception as error:  # root of the thread: whoever waits must hear of it, and the next ones go on
                log.exception("queue commit failed")
                self._start_over()
                self._fail(group, InternalError(f"the queue's committer failed: {error!r}"))
            _tell(group)
        self._close()

    def _gather(self) -> tuple[list[_Asked], bool]:
        group: list[_Asked] = []
        asked = self._inbox.get()
        while asked is not None:
            group.append(asked)
            if len(group) == _GROUP_LIMIT:
                return group, False
            try:
                asked = self._inbox.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _carry_out(self, group: list[_Asked]) -> None:
        problem = self._attempt(group) if group else None
        essential = [asked for asked in group if asked.is_essential]
        if isinstance(problem, DiskFull) and essential:
            if self._make_room():
                log.warning("reserve used for accepted work", extra={"count": len(essential)})
            self._fail([asked for asked in group if not asked.is_essential], problem)
            group, problem = essential, self._attempt(essential)
        if problem is not None:
            log.error("queue commit failed", extra={"count": len(group), "why": problem.message})
            self._fail(group, problem)

    def _attempt(self, group: list[_Asked]) -> LabError | None:
        """Run one transaction; returns why nothing of it happened."""
        connection = self._connection
        try:
            if connection is None:
                connection = self._connection = connect(self.path, self._synchronous)
                with suppress(apsw.Error):  # on a full disk the log cannot grow: begin it anew if that is possible
                    fetch(connection, "PRAGMA wal_checkpoint(RESTART)")
            if self.path.stat().st_ino != self._inode:
                raise QueueMissing(str(self.path))  # we would write into a file that has no name any more
            connection.execute("BEGIN IMMEDIATE")
            if fetch(connection, SQL["epoch"])[0][0] != self.epoch:
                raise HomeBusy(str(self.path.parent), "a newer server that took it over")
            for asked in group:
                self._apply(connection, asked)
            connection.execute("COMMIT")
        except FileNotFoundError:
            problem: LabError = QueueMissing(str(self.path))
        except (apsw.Error, OSError, LabError) as error:
            problem = explain(error, self.path, "writing the queue", connection)
        else:
            return None
        self._start_over()
        return problem

    def _apply(self, connection: apsw.Connection, asked: _Asked) -> None:
        asked.problem = None
        connection.execute("SAVEPOINT one")
        try:
            asked.result = asked.change(connection)
        except (LabError, apsw.ConstraintError) as error:
            is_ours = isinstance(error, LabError)
            asked.problem = error if is_ours else InternalError(f"the queue contradicts itself: {error}")
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def _start_over(self) -> None:
        """After a failed commit nothing is assumed: what is on disk counts, read by a new connection.

        Source:
            Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
        """
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(True)
        self._connection = None

    @staticmethod
    def _fail(group: list[_Asked], problem: LabError) -> None:
        for asked in group:
            asked.problem = asked.problem or problem

    def _close(self) -> None:
        """The reader goes first: the last connection folds the log into the file."""
        self._reader.close(True)
        connection = self._connection
        if connection is None:
            return
        with suppress(apsw.Error, OSError):  # an unclean end: the next owner checks the file
            is_owner = fetch(connection, SQL["epoch"])[0][0] == self.epoch
            if is_owner and self.path.stat().st_ino == self._inode:
                connection.execute(SQL["set_clean"], (1,))
        with suppress(apsw.Error):
            connection.close(True)


def _tell(group: list[_Asked]) -> None:
    """Wake everybody who waits, once per loop."""

    def resolve(waiting: list[_Asked]) -> None:
        for asked in waiting:
            if asked.future.done():
                continue
            if asked.problem is not None:
                asked.future.set_exception(asked.problem)
            else:
                asked.future.set_result(asked.result)

    for loop in {asked.future.get_loop() for asked in group}:
        with suppress(RuntimeError):  # the loop was closed: nobody is left to tell
            loop.call_soon_threadsafe(resolve, [asked for asked in group if asked.future.get_loop() is loop])
