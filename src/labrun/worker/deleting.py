"""Delete into the trash, bring back, empty the trash. The line in the lab's journal comes first, always."""

import asyncio
import logging
from datetime import timedelta

from msgspec import structs

from labrun.core.errors import NotAllowedNow, StoreDamaged
from labrun.store.sharing import drop_unused
from labrun.store.trash import Tombstone, carry_out, freed_bytes, in_trash, write_down
from labrun.wire.responses import Experiment, TrashView
from labrun.worker.parts import Parts
from labrun.worker.reindex import of_undeleted

log = logging.getLogger(__name__)


def delete(parts: Parts, ended: Experiment, by: str) -> Experiment:
    """Take an experiment that is over out of every list and its folder into the trash; durable.

    Raises:
        NotAllowedNow: It is deleted already.
        StoreDamaged: Its folder cannot be moved; it is not deleted.
    """
    if ended.deleted_at is not None:
        raise NotAllowedNow("delete", ended.label, "deleted already", "there")
    root = parts.home.root
    folder = ended.folder.removeprefix(f"{root}/") if ended.folder is not None else None
    tombstone = Tombstone(
        did="deleted", run_id=ended.run_id, at=parts.clock.now(), by=by, folder=folder, experiment=ended
    )
    _enact(parts, tombstone)
    return tombstone.shown


def undelete(parts: Parts, shown: Experiment, by: str) -> Experiment:
    """Bring a deleted experiment back to where it was; durable.

    Raises:
        NotAllowedNow: It is not deleted, or was purged.
        StoreDamaged: Its folder cannot be moved back; it stays deleted.
    """
    tombstone = parts.index.tombstone(shown.run_id)
    if tombstone is None:
        raise NotAllowedNow("undelete", shown.label, shown.status, "deleted")
    if tombstone.did == "purged":
        raise NotAllowedNow("undelete", shown.label, "purged: its folder is gone for good", "in the trash")
    back = structs.replace(tombstone, did="undeleted", at=parts.clock.now(), by=by)
    _enact(parts, back)
    found = of_undeleted(parts, back) or tombstone.experiment
    parts.index.apply([found], consumed={})
    return found


def _enact(parts: Parts, line: Tombstone) -> None:
    """Write a line, carry it out, tell the index; what cannot be carried out is taken back."""
    journal, end = write_down(parts.home, line)
    try:
        carry_out(parts.home, line)
    except OSError as error:
        did = "undeleted" if line.did == "deleted" else "deleted"
        journal, end = write_down(parts.home, structs.replace(line, did=did, at=parts.clock.now()))
        why = f"it cannot be moved ({error.strerror}), so nothing was changed"
        raise StoreDamaged(str(parts.home.root / (line.folder or "")), why) from error
    parts.index.bury([line], consumed={str(journal): end})
    log.info("trash changed", extra={"run": line.run_id, "did": line.did, "by": line.by})


def trash(parts: Parts, lab: str) -> TrashView:
    """Show what can be brought back, last deleted first."""
    return TrashView(tuple(line.shown for line in _deleted(parts, lab)))


async def purge(parts: Parts, lab: str, older_than_s: float, by: str, *, is_dry: bool) -> TrashView:
    """Remove for good what was deleted longer ago than this; its lines in the lab's journal stay.

    Raises:
        StoreDamaged: A folder cannot be removed; those before it are gone.
    """
    limit = parts.clock.now() - timedelta(seconds=older_than_s)
    old = [line for line in _deleted(parts, lab) if line.at <= limit]
    folders = [folder for line in old if (folder := in_trash(parts.home, line)) is not None]
    size = await asyncio.to_thread(lambda: sum(map(freed_bytes, folders)))
    for line in old if not is_dry else ():
        known = parts.index.tombstone(line.run_id)
        if known is None or known.did != "deleted":
            continue  # somebody brought it back meanwhile
        gone = structs.replace(line, did="purged", at=parts.clock.now(), by=by)
        journal, end = write_down(parts.home, gone)
        parts.index.bury([gone], consumed={})  # from here on nobody brings it back
        await _remove(parts, gone)
        parts.index.bury([], consumed={str(journal): end})
    for line in parts.index.tombstones(lab) if not is_dry else ():
        if line.did == "purged":  # what an earlier purge could not remove
            await _remove(parts, line)
    if not is_dry:
        async with parts.floor.sharing_lock:
            size += await asyncio.to_thread(drop_unused, parts.home.trees)
        size += await asyncio.to_thread(drop_unused, parts.home.submitted)
    return TrashView(tuple(line.shown for line in old), size)


async def _remove(parts: Parts, line: Tombstone) -> None:
    try:
        await asyncio.to_thread(carry_out, parts.home, line)
    except OSError as error:
        why = f"it is purged and cannot be removed ({error.strerror}); `lab delete --purge` tries again"
        raise StoreDamaged(str(error.filename or line.folder), why) from error


def _deleted(parts: Parts, lab: str) -> list[Tombstone]:
    found = [line for line in parts.index.tombstones(lab) if line.did == "deleted"]
    return sorted(found, key=lambda line: line.at, reverse=True)
