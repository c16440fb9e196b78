"""Keep the index a cache: catch it up from the chains, or rebuild it from the folders alone."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from labrun.core import story
from labrun.core.errors import LabError
from labrun.core.events import EVENT
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.seal import CancelledWaiting, ChainLine
from labrun.store.trash import DELETED, Tombstone, carry_out, last_words
from labrun.wire.responses import Experiment
from labrun.worker.narrate import listed, recalled
from labrun.worker.parts import Parts
from labrun.worker.present import view

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK = 500


def catch_up(parts: Parts) -> int:
    """Fold in what chains and lists of cancelled experiments hold beyond what the index has seen.

    Cheap when nothing is missing: one look at the size of two files per lab. Returns how many were added.
    """
    added = 0
    for lab in _labs(parts):
        deleted = last_words(lab) if parts.index.is_fresh else {}
        added += _fold_in(parts, lab / "chain.jsonl", ChainLine, partial(_of_link, parts, deleted))
        added += _fold_in(parts, lab / "cancelled.jsonl", CancelledWaiting, lambda line: _of_line(parts, line))
        _fold_deleted(parts, lab)
    if added:
        log.info("index caught up", extra={"count": added})
    return added


def _fold_in(parts: Parts, journal: Path, kind: type[T], show: Callable[[T], Experiment | None]) -> int:
    start = parts.index.consumed(str(journal))
    if not journal.exists() or journal.stat().st_size <= start:
        return 0
    lines, _, end = Journal(journal).read_from(start, kind)
    found = [shown for line in lines if (shown := show(line)) is not None]
    parts.index.apply(found, consumed={str(journal): end})
    return len(found)


def _of_link(parts: Parts, deleted: Mapping[str, Tombstone], line: ChainLine) -> Experiment | None:
    """Show what was sealed, unless it was deleted since."""
    words = deleted.get(line.run_id)
    return _of_folder(parts.home.root / line.folder) if words is None or words.did == "undeleted" else None


def _fold_deleted(parts: Parts, lab: Path) -> None:
    """Finish what a crash left half-deleted, and take it out of the index."""
    journal = lab / DELETED
    start = parts.index.consumed(str(journal))
    if not journal.exists() or journal.stat().st_size <= start:
        return
    lines, _, end = Journal(journal).read_from(start, Tombstone)
    last = list({line.run_id: line for line in lines}.values())
    for line in last:
        try:
            carry_out(parts.home, line)
        except OSError as error:
            parts.notices.append(f"{line.experiment.label} is {line.did}, but its folder could not be moved: {error}")
    back = [line for line in last if line.did == "undeleted" and parts.floor.get(line.run_id) is None]
    shown = [found for line in back if (found := of_undeleted(parts, line)) is not None]
    parts.index.apply(shown, consumed={})
    parts.index.bury(last, consumed={str(journal): end})


def of_undeleted(parts: Parts, line: Tombstone) -> Experiment | None:
    """Show an experiment that is back."""
    return _of_folder(parts.home.root / line.folder) if line.folder is not None else recalled(parts, line.experiment)


async def mend(parts: Parts) -> None:
    """Fill an index again that was found damaged in use and made anew: until then lists lack what had ended."""
    while True:
        await asyncio.sleep(parts.policy.poll_s)
        if parts.index.is_partial:
            count = await rebuild(parts)
            log.warning("index was damaged and is whole again", extra={"count": count})


async def rebuild(parts: Parts) -> int:
    """Throw the index away and read every folder; what is open stays on the floor."""
    ends = {str(path): path.stat().st_size for lab in _labs(parts) for path in lab.glob("*.jsonl")}
    walk = _walk(parts)
    parts.index.clear()
    count = 0
    while chunk := await asyncio.to_thread(lambda: list(islice(walk, _CHUNK))):
        kept = [shown for shown in chunk if parts.floor.get(shown.run_id) is None]
        # one read while it was open, and sealed since, is in the index already, as it ended
        kept = [shown for shown in kept if parts.index.get(shown.run_id) is None]
        parts.index.apply(kept, consumed={})
        count += len(kept)
    for lab in _labs(parts):
        buried = [line for line in last_words(lab).values() if line.did != "undeleted"]
        count -= sum(parts.index.get(line.run_id) is not None for line in buried)
        parts.index.bury(buried, consumed={})
    parts.index.apply([], consumed=ends)
    return count


def _labs(parts: Parts) -> list[Path]:
    return sorted(path for path in parts.home.labs.iterdir() if path.is_dir()) if parts.home.labs.exists() else []


def _walk(parts: Parts) -> Iterator[Experiment]:
    for lab in _labs(parts):
        lines = Journal(lab / "cancelled.jsonl").read(CancelledWaiting)[0]
        cancelled = {line.run_id: line.experiment for line in lines}
        for path in sorted(lab.glob("*/*/events.jsonl")):
            shown = _of_folder(path.parent)
            if shown is None:
                continue
            line = cancelled.pop(shown.run_id, None)
            # cancelled while it waited to be resumed: its journal may have lost that, its line was synced
            yield recalled(parts, line) if line is not None and line.attempt >= shown.attempt else shown
        yield from (recalled(parts, line) for line in cancelled.values())


def _of_line(parts: Parts, line: CancelledWaiting) -> Experiment | None:
    """Show what was cancelled, unless it has been resumed and ended again since."""
    known = parts.index.get(line.run_id)
    return None if known is not None and known.attempt > line.experiment.attempt else recalled(parts, line.experiment)


def _of_folder(path: Path) -> Experiment | None:
    """Read one folder; a damaged one is named in the log and left out, never guessed at."""
    folder = Folder(path)
    try:
        events, damage = Journal(folder.events).read(EVENT)
        told = story.tell(events)
    except (OSError, LabError) as error:
        log.warning("folder left out of the index", extra={"folder": str(path), "why": str(error)})
        return None
    if damage is not None:
        log.warning("journal is damaged", extra={"folder": str(path), "why": str(damage)})
    is_sealed = folder.attempt(told.state.attempt).seal.exists()
    return listed(view(told, folder=str(path), is_sealed=is_sealed), folder)
