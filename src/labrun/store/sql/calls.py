"""Ask SQLite something, and put what goes wrong into our words."""

import errno
from pathlib import Path
from typing import Any

import apsw

from labrun.core.errors import DiskFull, LabError, StoreDamaged, WorldError


def fetch(connection: apsw.Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return all its rows, untyped: the tables are STRICT, columns are what they say.

    One statement at a time where one returns rows: `execute` of several stops at the first row and drops the rest.

    Source:
        apsw, Connection.execute: "returns when the first row is available or all statements have completed".
    """
    return connection.execute(statement, values).fetchall()


def explain(error: Exception, path: Path, doing: str, connection: apsw.Connection | None = None) -> LabError:
    """Turn what SQLite or the system said into an error of ours.

    Args:
        error: As it was caught; one of ours is returned as it is.
        path: The database.
        doing: What failed, as in "writing the queue".
        connection: Where it happened: knows the system's error number.
    """
    if isinstance(error, LabError):
        return error
    number = error.errno if isinstance(error, OSError) else connection.system_errno if connection is not None else 0
    if isinstance(error, apsw.FullError) or (
        isinstance(error, apsw.IOError | OSError) and number in (errno.ENOSPC, errno.EDQUOT)
    ):
        return DiskFull(str(path.parent), doing)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.SQLError | LookupError):
        return StoreDamaged(str(path), str(error))
    return WorldError(f"{doing} failed at `{path}`: {error}", hint="`lab doctor` looks at the home and its disk")
