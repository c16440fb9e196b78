"""What the worker asks of a queue. Every coroutine returns after its change is durable."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from labrun.core.ids import Label, RunId
from labrun.core.spec import Spec


class NewRow(Struct, frozen=True, kw_only=True):
    """An experiment on its way in."""

    run_id: RunId
    spec: Spec
    queued_at: datetime
    variables: bytes | None = None
    """The caller's variables as canonical JSON; kept once per content in the same commit."""
    request_key: str | None = None
    """Idempotency key of the request; kept for 7 days."""
    request_hash: str | None = None


class Row(Struct, frozen=True, kw_only=True):
    """One open experiment: it waits, or somebody holds it."""

    run_id: RunId
    label: Label
    label_number: int
    sequence: int
    """Order of acceptance, never reused."""
    spec: Spec
    queued_at: datetime
    attempt: int
    """Number of the attempt that waits or is held."""
    state: Literal["waiting", "claimed"]
    folder: str | None = None
    """Path relative to the home; set by the first claim."""
    worker: str | None = None
    fence: int = 0
    """Grows with every claim of this home."""
    gpus: tuple[int, ...] = ()
    key: str | None = None
    """The attempt's random key."""
    claimed_at: datetime | None = None
    cancelled_by: str | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """An intent to start, committed before anything outside happens."""

    run_id: RunId
    attempt: int
    worker: str
    folder: str
    key: str
    claimed_at: datetime
    gpus: tuple[int, ...] = ()


class Queue(Protocol):
    """Experiments that wait or run. One owner; all its methods are called from one event loop."""

    async def put(self, new: NewRow) -> tuple[Row, bool]:
        """Accept durably; labels are given here, gaps allowed, reuse never.

        Returns:
            The row, and whether it is new: the same `request_key` with the same `request_hash` returns
            the row (or, when it is not open any more, a row in its last known form) of the first call.

        Raises:
            KeyReused: The key came with another request before.
            DiskFull: Nothing was accepted.
        """
        ...

    def rows(self) -> Sequence[Row]:
        """Every open row in order of acceptance, as of the last commit. Called at start."""
        ...

    def variables(self, digest: str) -> bytes | None:
        """The variables stored under this hash."""
        ...

    async def claim(self, claim: Claim) -> int:
        """Record that this attempt is about to start; return its fencing number.

        Raises:
            NotAllowedNow: The row does not wait with this attempt number (cancelled or claimed meanwhile).
        """
        ...

    async def unclaim(self, run_id: RunId, attempt: int) -> None:
        """Put a claimed attempt back: it provably never started and shall wait again."""
        ...

    async def request_cancel(self, run_id: RunId, by: str) -> Row | None:
        """Note durably that somebody wants it stopped; None when it is not open. First caller's name stays."""
        ...

    async def reopen(self, row: Row, variables: bytes | None) -> Row:
        """Let an ended experiment wait again under its old id and label (resume); gets a new sequence."""
        ...

    async def remove(self, run_ids: Sequence[RunId]) -> None:
        """Forget rows whose records are sealed, in one commit; variables nobody uses go with them."""
        ...

    def high_water(self) -> int:
        """The highest label number ever given."""
        ...

    async def aclose(self) -> None:
        """Finish what was asked, checkpoint, close."""
        ...
