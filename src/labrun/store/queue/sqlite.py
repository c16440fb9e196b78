"""The default queue: SQLite in WAL mode with `synchronous=FULL`, one writer, group commit."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec

from labrun.core.errors import KeyReused, NotAllowedNow, QueueMissing, StoreDamaged
from labrun.core.ids import RunId, label_of
from labrun.core.spec import Spec
from labrun.store.home import Home, LabelMark
from labrun.store.queue.committer import Committer
from labrun.store.queue.database import SQL, connect, create
from labrun.store.queue.protocol import Claim, NewRow, Row
from labrun.store.reserve import ensure_reserve, free_reserve
from labrun.store.sql.calls import explain, fetch

_KEY_DAYS = 7
_SPEC = msgspec.json.Decoder(Spec)
_ROW = msgspec.json.Decoder(Row)


class SqliteQueue:
    """Implements `Queue`; see there what each method promises."""

    def __init__(self, committer: Committer, mark: Callable[[int], None] = lambda number: None) -> None:
        self._committer = committer
        self._mark = mark
        self.epoch = committer.epoch
        """Grows with every owner of this queue."""

    @classmethod
    def open(
        cls, home: Home, *, allow_new: bool = False, label_floor: int = 0, synchronous: str = "FULL"
    ) -> "SqliteQueue":
        """Open the queue of a home, under the home's lock.

        Args:
            home: Initialised, so its queue was made with it.
            allow_new: Begin an empty queue where the old one is missing or damaged; a damaged one is kept aside.
            label_floor: The highest label among the ended; a queue restored from a backup must not give it again.
            synchronous: SQLite's setting; only a test has a reason to change it.

        Raises:
            QueueMissing: The file is gone, and with it what waited or ran.
            StoreDamaged: It is not our database, or not whole.
            HomeUnusable: A newer labrun made it.
        """
        mark = LabelMark(home)
        if allow_new and _make_new(home.queue, synchronous):
            label_floor = max(label_floor, mark.number)  # what the lost queue gave beyond the ended is not known
        committer = Committer(home.queue, synchronous, label_floor, lambda: free_reserve(home))
        queue = cls(committer, mark.cover)
        ensure_reserve(home)
        return queue

    @classmethod
    def open_file(cls, path: Path, *, label_floor: int = 0, synchronous: str = "FULL") -> "SqliteQueue":
        """Open a queue that belongs to no home, making it when it is not there."""
        if not path.exists():
            create(path)
        return cls(Committer(path, synchronous, label_floor))

    async def put(self, new: NewRow) -> tuple[Row, bool]:
        """Accept durably."""
        spec = msgspec.json.encode(new.spec)
        at = new.queued_at.astimezone(UTC)

        def change(db: apsw.Connection) -> tuple[Row, bool]:
            if new.request_key is not None:
                db.execute(SQL["drop_requests"], ((at - timedelta(days=_KEY_DAYS)).timestamp(),))
                known = _known_request(db, new.request_key, new.request_hash or "")
                if known is not None:
                    return known, False
            number, sequence = _next(db, "label"), _next(db, "sequence")
            self._cover(number)
            digest = _keep_variables(db, new.spec, new.variables)
            db.execute(SQL["insert_row"], (new.run_id, number, sequence, spec, digest, at.isoformat()))
            if new.request_key is not None:
                request = (new.request_key, new.request_hash or "", new.run_id, number, at.timestamp())
                db.execute(SQL["insert_request"], request)
            return _fresh(new, number, sequence, at), True

        return await self._committer.commit(change, is_essential=False)

    def _cover(self, number: int) -> None:
        try:
            self._mark(number)
        except OSError as error:
            raise explain(error, Path(error.filename or "home.json"), "noting the highest label") from error

    def rows(self) -> Sequence[Row]:
        """Every open row.

        Raises:
            StoreDamaged: A row cannot be read; none is left out in silence.
        """
        try:
            return [_row(fields) for fields in self._committer.read(SQL["rows"])]
        except (msgspec.DecodeError, ValueError) as error:  # altered bytes that SQLite does not notice
            raise StoreDamaged(str(self._committer.path), str(error)) from error

    def variables(self, digest: str) -> bytes | None:
        """Variables by hash."""
        found = self._committer.read(SQL["variables"], digest)
        return bytes(found[0][0]) if found else None

    async def claim(self, claim: Claim) -> int:
        """Record the intent to start."""

        def change(db: apsw.Connection) -> int:
            fence = _next(db, "fence")
            gpus = ",".join(map(str, claim.gpus))
            at = claim.claimed_at.astimezone(UTC).isoformat()
            values = (claim.worker, claim.folder, claim.key, at, gpus, fence, claim.run_id, claim.attempt)
            db.execute(SQL["claim_row"], values)
            if not db.changes():
                raise NotAllowedNow("claim", claim.run_id, "cancelled, claimed or gone", "waiting with this attempt")
            return fence

        return await self._committer.commit(change)

    async def unclaim(self, run_id: RunId, attempt: int) -> None:
        """Let it wait again."""

        def change(db: apsw.Connection) -> None:
            db.execute(SQL["unclaim_row"], (run_id, attempt))

        await self._committer.commit(change)

    async def request_cancel(self, run_id: RunId, by: str) -> Row | None:
        """Note durably that somebody wants it stopped."""

        def change(db: apsw.Connection) -> Row | None:
            db.execute(SQL["cancel_row"], (by, run_id))
            return _find(db, run_id)

        return await self._committer.commit(change)

    async def reopen(self, row: Row, variables: bytes | None) -> Row:
        """Let an ended experiment wait again."""
        spec, at = msgspec.json.encode(row.spec), row.queued_at.astimezone(UTC)

        def change(db: apsw.Connection) -> Row:
            if _find(db, row.run_id) is not None:
                raise NotAllowedNow("resume", row.label, "open", "over")
            sequence = _next(db, "sequence")
            digest = _keep_variables(db, row.spec, variables)
            values = (row.run_id, row.label_number, sequence, spec, digest, at.isoformat(), row.attempt, row.folder)
            db.execute(SQL["reinsert_row"], values)
            return _find(db, row.run_id) or row

        return await self._committer.commit(change)

    async def remove(self, run_ids: Sequence[RunId]) -> None:
        """Forget sealed rows, and variables nobody needs any more."""

        def change(db: apsw.Connection) -> None:
            for run_id in run_ids:
                _remove(db, run_id)

        await self._committer.commit(change)

    def high_water(self) -> int:
        """The highest label number ever given."""
        return int(self._committer.read(SQL["label"])[0][0])

    async def aclose(self) -> None:
        """Finish and close."""
        await self._committer.aclose()


def _make_new(path: Path, synchronous: str) -> bool:
    """Begin an empty queue where there is none that can be used; True when that was so."""
    try:
        connect(path, synchronous).close()
    except QueueMissing:
        create(path)
        return True
    except StoreDamaged:
        for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
            old = path.with_name(name)
            if old.exists():
                old.rename(old.with_name(f"{name}.damaged"))
        create(path)
        return True
    return False


def _next(db: apsw.Connection, counter: str) -> int:
    value: int = fetch(db, SQL["next_value"], counter)[0][0]
    return value


def _keep_variables(db: apsw.Connection, spec: Spec, content: bytes | None) -> str | None:
    """Keep variables; without content those of the same hash are used while another experiment keeps them here."""
    if content is None:
        return spec.surroundings.variables
    digest = hashlib.sha256(content).hexdigest()
    db.execute(SQL["insert_variables"], (digest, content))
    return digest


def _known_request(db: apsw.Connection, key: str, digest: str) -> Row | None:
    found = fetch(db, SQL["request"], key)
    if not found:
        return None
    known, run_id, number, kept = found[0]
    if known != digest:
        raise KeyReused(key, label_of(number))
    open_row = _find(db, run_id)
    return open_row if open_row is not None else _ROW.decode(kept)


def _remove(db: apsw.Connection, run_id: RunId) -> None:
    if fetch(db, SQL["has_request"], run_id):
        row = _find(db, run_id)
        if row is not None:
            db.execute(SQL["keep_request"], (msgspec.json.encode(row), run_id))
    for (digest,) in fetch(db, SQL["remove_row"], run_id):
        if digest is not None:
            db.execute(SQL["drop_variables"], (digest,))


def _find(db: apsw.Connection, run_id: str) -> Row | None:
    found = fetch(db, SQL["row"], run_id)
    return _row(found[0]) if found else None


def _fresh(new: NewRow, number: int, sequence: int, queued_at: datetime) -> Row:
    return Row(
        run_id=new.run_id,
        label=label_of(number),
        label_number=number,
        sequence=sequence,
        spec=new.spec,
        queued_at=queued_at,
        attempt=1,
        state="waiting",
    )


def _row(fields: Sequence[Any]) -> Row:
    run_id, number, sequence, spec, queued_at, attempt, state, folder, worker, fence, gpus, key, claimed_at, by = fields
    return Row(
        run_id=RunId(run_id),
        label=label_of(number),
        label_number=number,
        sequence=sequence,
        spec=_SPEC.decode(spec),
        queued_at=datetime.fromisoformat(queued_at),
        attempt=attempt,
        state=state,
        folder=folder,
        worker=worker,
        fence=fence,
        gpus=tuple(int(word) for word in gpus.split(",") if word),
        key=key,
        claimed_at=datetime.fromisoformat(claimed_at) if claimed_at else None,
        cancelled_by=by,
    )
