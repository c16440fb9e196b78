"""The index: a cache over ended experiments. Deleting it loses nothing.

Committed with `synchronous=NORMAL`: a power cut may take the last moments from it, never its
soundness; what is missing is read again from the labs' chains, whose length consumed is kept here.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from labrun.core.errors import StoreDamaged
from labrun.core.ids import label_number
from labrun.core.rerun import script_of
from labrun.store.search import Key, build_search, facets_of, seconds_of
from labrun.store.sql import queries
from labrun.store.sql.calls import explain, fetch
from labrun.store.trash import Tombstone
from labrun.wire.requests import Order, Search
from labrun.wire.responses import Experiment

log = logging.getLogger(__name__)

T = TypeVar("T")
_SQL = queries("index.sql")
_SHOWN = msgspec.json.Decoder(Experiment)
_TOMBSTONE = msgspec.json.Decoder(Tombstone)
_IDENTITY = (1818322537, 5)
_ABOVE_ALL = 2**62
_NEWEST_FIRST = Order()
_DAMAGE = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SQLError,
    apsw.ConstraintError,
    apsw.MismatchError,
    msgspec.DecodeError,
    UnicodeDecodeError,
)
"""What SQLite, or we, say to a file whose bytes were altered: not only SQLITE_CORRUPT."""


class Index:
    """One connection, used from one thread. Every method may raise `LabError` when the disk fails."""

    def __init__(self, connection: apsw.Connection, path: Path, *, is_fresh: bool) -> None:
        self._db = connection
        self._path = path
        self.is_fresh = is_fresh
        """It was made anew by `open`: what it should hold must be folded in from the journals' beginnings."""
        self.is_partial = False
        """It was found damaged while in use and made anew: it lacks what it held before, until `clear` and a
        rebuild, or a restart. So that a restart begins the journals anew, what is consumed is not noted."""

    @classmethod
    def open(cls, path: Path) -> "Index":
        """Open the index; one that is missing, damaged or of another version is made anew, and that is logged.

        Raises:
            LabError: None can be made there.
        """
        if path.exists():
            try:
                return cls(_connect_known(path), path, is_fresh=False)
            except (*_DAMAGE, apsw.CantOpenError, apsw.IOError, StoreDamaged) as error:
                why = str(error)
            log.warning("index made anew", extra={"path": str(path), "why": why})
        return cls(_make(path), path, is_fresh=True)

    def apply(self, experiments: Sequence[Experiment], *, consumed: Mapping[str, int]) -> None:
        """Take views in, replacing older ones, and note how far journals are folded in, in one transaction.

        Args:
            experiments: Ended ones.
            consumed: Bytes of each journal, by its path, that are folded in once this returns.
        """

        def change() -> None:
            with self._db:
                for shown in experiments:
                    self._put(shown)
                for journal, size in consumed.items() if not self.is_partial else ():
                    fetch(self._db, _SQL["set_consumed"], journal, size)

        self._guard(change, "writing the index")

    def _put(self, shown: Experiment) -> None:
        number = label_number(shown.label)
        fetch(self._db, _SQL["forget"], number, shown.run_id)
        folded = shown.name.lower() if shown.name is not None else None
        columns = (number, shown.run_id, shown.lab, shown.name, folded, shown.status, shown.folder, shown.definition)
        ended = shown.ended_at.timestamp() if shown.ended_at is not None else None
        times = (shown.queued_at.timestamp(), seconds_of(shown), ended)
        fetch(self._db, _SQL["insert"], *columns, script_of(shown.command), *times, msgspec.json.encode(shown))
        for facet in facets_of(shown):
            fetch(self._db, _SQL["insert_facet"], facet, number)
        for name, last in shown.metrics.items():
            fetch(self._db, _SQL["insert_metric"], name, number, last)

    def remove(self, run_id: str) -> None:
        """Take an experiment out: it is open again."""
        if self.get(run_id) is not None:
            self._guard(lambda: fetch(self._db, _SQL["forget"], None, run_id), "writing the index")

    def bury(self, tombstones: Sequence[Tombstone], *, consumed: Mapping[str, int]) -> None:
        """Take what was deleted out of every list, or back in, and remember its last words; as `apply`."""

        def change() -> None:
            with self._db:
                for line in tombstones:
                    if line.did == "undeleted":
                        fetch(self._db, _SQL["unbury"], line.run_id)
                        continue
                    number = label_number(line.experiment.label)
                    fetch(self._db, _SQL["forget"], number, line.run_id)
                    fetch(self._db, _SQL["bury"], line.run_id, number, line.experiment.lab, msgspec.json.encode(line))
                for journal, size in consumed.items() if not self.is_partial else ():
                    fetch(self._db, _SQL["set_consumed"], journal, size)

        self._guard(change, "writing the index")

    def tombstone(self, run_id: str) -> Tombstone | None:
        """A deleted experiment by its run id."""
        return next(map(_buried, self._rows("tombstone", run_id)), None)

    def tombstone_by_label(self, number: int) -> Tombstone | None:
        """A deleted experiment by its label number."""
        return next(map(_buried, self._rows("tombstone_by_label", number)), None)

    def tombstones(self, lab: str) -> list[Tombstone]:
        """Every deleted experiment of a lab, purged ones too; in no order."""
        return [_buried(row) for row in self._rows("tombstones", lab)]

    def consumed(self, journal: str) -> int:
        """Bytes of a journal folded in so far."""
        found = self._rows("consumed", journal)
        return found[0][0] if found else 0

    def get(self, run_id: str) -> Experiment | None:
        """By run id."""
        return self._one("by_run_id", run_id)

    def by_label(self, number: int) -> Experiment | None:
        """By label number."""
        return self._one("by_label", number)

    def by_folder(self, folder: str) -> Experiment | None:
        """By absolute folder."""
        return self._one("by_folder", folder)

    def by_definition(self, definition: str, lab: str, limit: int = 20) -> list[Experiment]:
        """Those of the same definition, newest first."""
        return self._many("by_definition", definition, lab, limit) if definition else []

    def by_prefix(self, prefix: str, limit: int) -> list[Experiment]:
        """By the first characters of the run id, in order of ids."""
        return self._many("by_prefix", prefix, prefix + "\U0010ffff", limit)

    def by_name(self, name: str, lab: str, limit: int) -> list[Experiment]:
        """By exact name, newest first."""
        return self._many("by_name", name, lab, limit)

    def newest(self, lab: str, limit: int) -> list[int]:
        """The highest label numbers of a lab."""
        return [number for (number,) in self._rows("newest", lab, limit)]

    def page(
        self,
        lab: str,
        *,
        limit: int,
        before_label_number: int | None = None,
        status: str | None = None,
        name_contains: str | None = None,
    ) -> list[Experiment]:
        """Give a page of a lab, newest first.

        Args:
            lab: Its name.
            limit: Most experiments of the page.
            before_label_number: Only those below it: the last one of the page before.
            status: Only those.
            name_contains: Only names that hold it; upper and lower case are the same.
        """
        before = before_label_number if before_label_number is not None else _ABOVE_ALL
        if name_contains:
            return self._many("page_by_words", lab, before, name_contains.lower(), status, limit)
        if status is not None:
            return self._many("page_by_status", lab, status, before, limit)
        return self._many("page", lab, before, limit)

    def search(
        self, lab: str, search: Search, order: Order = _NEWEST_FIRST, *, limit: int, after: Key | None = None
    ) -> list[Experiment]:
        """Give a page of what a search finds in a lab.

        Args:
            lab: Its name.
            search: What must hold.
            order: What lacks the thing it is ordered by is left out.
            limit: Most experiments of the page.
            after: `key_of` the last experiment of the page before.
        """

        def find() -> list[Experiment]:
            query, values = build_search(lab, search, order, after, lambda *ask: fetch(self._db, *ask)[0][0])
            return [_SHOWN.decode(row[0]) for row in fetch(self._db, query, *values, limit)]

        return self._guard(find)

    def ended(self, lab: str, limit: int, since: float = 0.0) -> list[Experiment]:
        """What ended last, the last one first; of what ended since then, in Unix seconds."""
        return self._many("ended", lab, since, limit)

    def count_ended(self, lab: str, since: float, limit: int) -> int:
        """How many ended since then; at most `limit`."""
        number: int = self._rows("count_ended", lab, since, limit)[0][0]
        return number

    def has_metric(self, name: str) -> bool:
        """Whether any experiment has this metric."""
        return bool(self._rows("has_metric", name)[0][0])

    def success_before(self, label: int, lab: str, definition: str | None, script: str) -> Experiment | None:
        """The newest success of a definition, else of a script, that was queued before a label."""
        same = self._one("success_of_definition", definition, lab, label) if definition else None
        return same or self._one("success_of_script", lab, script, label)

    def counts(self, lab: str) -> dict[str, int]:
        """Experiments of a lab by status."""
        return {status: number for status, number in self._rows("counts", lab)}

    def count(self) -> int:
        """All experiments."""
        number: int = self._rows("count")[0][0]
        return number

    def high_water(self) -> int:
        """The highest label number seen, 0 without any."""
        number: int = self._rows("high_water")[0][0]
        return number

    def clear(self) -> None:
        """Throw everything away; the caller folds all in again."""
        with suppress(apsw.Error):
            self._db.close(True)
        self._db = _make(self._path)
        self.is_partial = False

    def close(self) -> None:
        """Let go of the file."""
        with suppress(apsw.Error):
            self._db.close(True)

    def _one(self, query: str, *values: Any) -> Experiment | None:
        found = self._many(query, *values)
        return found[0] if found else None

    def _many(self, query: str, *values: Any) -> list[Experiment]:
        return self._guard(lambda: [_SHOWN.decode(row[0]) for row in fetch(self._db, _SQL[query], *values)])

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._guard(lambda: fetch(self._db, _SQL[query], *values))

    def _guard(self, work: Callable[[], T], doing: str = "reading the index") -> T:
        """Run something; on damage make the file anew and run it once more: a cache is never worth a failure."""
        try:
            try:
                return work()
            except _DAMAGE as error:
                log.error("index damaged, made anew", extra={"path": str(self._path), "why": str(error)})  # noqa: TRY400
                self.clear()
                self.is_partial = True
                return work()
        except (apsw.Error, msgspec.DecodeError) as error:
            raise explain(error, self._path, doing, self._db) from error


def _buried(row: tuple[Any, ...]) -> Tombstone:
    return _TOMBSTONE.decode(row[0])


def _connect_known(path: Path) -> apsw.Connection:
    """Open what calls itself an index of this version.

    Raises:
        StoreDamaged: It is something else.
    """
    connection = _connect(path)
    try:
        identity = (fetch(connection, "PRAGMA application_id")[0][0], fetch(connection, "PRAGMA user_version")[0][0])
        if identity == _IDENTITY:
            fetch(connection, _SQL["count"])
            fetch(connection, _SQL["high_water"])
            return connection
    except BaseException:
        connection.close(True)
        raise
    connection.close(True)
    raise StoreDamaged(str(path), f"application and version are {identity}, not {_IDENTITY}")


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    fetch(connection, "PRAGMA journal_mode = WAL")
    fetch(connection, "PRAGMA synchronous = NORMAL")
    return connection


def _make(path: Path) -> apsw.Connection:
    try:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        connection = _connect(path)
        with connection:
            connection.execute(_SQL["schema"])
    except (apsw.Error, OSError) as error:
        raise explain(error, path, "making the index") from error
    return connection
