"""The queue's database file: how it is made, opened, checked, and told from a stranger's."""

import os
from pathlib import Path

import apsw

from labrun.core.errors import HomeUnusable, LabError, QueueMissing, StoreDamaged
from labrun.store.sql import queries
from labrun.store.sql.calls import explain, fetch

SQL = queries("queue.sql")
APPLICATION_ID = 1818322545  # "labq"
SCHEMA_VERSION = 1
BUSY_MS = 5000
_CHECKED_BYTES = 64 * 2**20
"""Largest database that is read through after an unclean end; that takes about a tenth of a second. With a larger one a
restart with 100,000 waiting experiments would miss its budget; SQLite still checks each page it comes to use."""
_WAL_PAGES = 1000
"""Checkpoint after so many pages of 4 KiB: bounds the log and what a restart must replay."""
_WAL_KEPT_BYTES = 16 * 2**20


def create(path: Path) -> None:
    """Make an empty queue: after any crash the file is whole or not there.

    Raises:
        LabError: It cannot be made.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        for name in (temporary.name, f"{temporary.name}-wal", f"{temporary.name}-shm"):
            temporary.with_name(name).unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(temporary), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            fetch(connection, "PRAGMA journal_mode = WAL")
            with connection:
                connection.execute(SQL["schema"])
        finally:
            connection.close()
        _sync(temporary)
        temporary.rename(path)
        _sync(path.parent)
    except (apsw.Error, OSError) as error:
        raise explain(error, path, "making the queue") from error


def connect(path: Path, synchronous: str) -> apsw.Connection:
    """Open the one read-write connection; never makes a file.

    Raises:
        QueueMissing: There is no file, or an empty one.
        LabError: It is damaged, a stranger's, or of a newer labrun.
    """
    try:
        if path.stat().st_size == 0:
            raise QueueMissing(str(path))
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except FileNotFoundError as error:
        raise QueueMissing(str(path)) from error
    except (apsw.Error, OSError) as error:
        raise explain(error, path, "opening the queue") from error
    try:
        connection.set_busy_timeout(BUSY_MS)
        _check_identity(connection, path)
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "foreign_keys = ON",
            "secure_delete = ON",  # variables hold secrets: what is deleted is overwritten, not only unlinked
            f"wal_autocheckpoint = {_WAL_PAGES}",
            f"journal_size_limit = {_WAL_KEPT_BYTES}",
        ):
            fetch(connection, f"PRAGMA {pragma}")
    except (apsw.Error, LabError) as error:
        problem = explain(error, path, "opening the queue", connection)
        connection.close(True)
        raise problem from error
    return connection


def connect_reader(path: Path) -> apsw.Connection:
    """Open a connection that only reads; whoever uses it keeps its transactions to single statements."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def take_epoch(connection: apsw.Connection, path: Path, label_floor: int) -> int:
    """Become the owner: whoever opened the queue before cannot write any more.

    Raises:
        StoreDamaged: The last owner did not close it, and a page or an index does not fit.
        LabError: It cannot be written.
    """
    try:
        if not fetch(connection, SQL["is_clean"])[0][0] and path.stat().st_size <= _CHECKED_BYTES:
            verdict = fetch(connection, "PRAGMA quick_check(1)")[0][0]
            if verdict != "ok":
                raise StoreDamaged(str(path), str(verdict))
        with connection:
            connection.execute(SQL["set_clean"], (0,))
            connection.execute(SQL["raise_label"], (label_floor,))
            epoch: int = fetch(connection, SQL["take_epoch"])[0][0]
    except (apsw.Error, OSError, IndexError) as error:
        raise explain(error, path, "taking over the queue", connection) from error
    return epoch


def _check_identity(connection: apsw.Connection, path: Path) -> None:
    application = fetch(connection, "PRAGMA application_id")[0][0]
    version = fetch(connection, "PRAGMA user_version")[0][0]
    if application != APPLICATION_ID:
        raise StoreDamaged(str(path), "it is a database, but not a queue of labrun")
    if version > SCHEMA_VERSION:
        why = f"its format is {version}, this labrun knows {SCHEMA_VERSION}"
        raise HomeUnusable(str(path), why, "use the newer labrun")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
