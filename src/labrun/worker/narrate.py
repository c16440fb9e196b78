"""Let people say something of an experiment, whatever its state; views and index follow."""

import asyncio
import errno
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import structs

from labrun.core.errors import BadValue, DiskFull, LabError, NotAllowedNow, StoreDamaged, TooBig
from labrun.core.line import decode_line
from labrun.core.narrative import Amendment, Annotation, Conclusion, Entry, Told
from labrun.core.saying import AUTHOR_LIMIT, TEXT_LIMIT_BYTES
from labrun.core.story import Story
from labrun.engines.protocol import ExitRecord
from labrun.store.folder import Folder
from labrun.store.home import Home
from labrun.store.notes import add_notes, move_into, places, read_told
from labrun.store.seal import read_artifacts, write_views
from labrun.store.search import last_values
from labrun.wire.requests import Remark, Say
from labrun.wire.responses import Experiment
from labrun.worker import lookup
from labrun.worker.changes import last_success
from labrun.worker.failing import failure_card, has_failed
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.present import with_notes

log = logging.getLogger(__name__)


async def say(parts: Parts, found: OpenExperiment | Experiment, request: Say) -> Told:
    """Add entries; durable when this returns.

    Raises:
        BadValue: A text is empty, or no text.
        TooBig: It is longer than a note is.
        NotAllowedNow: The experiment was deleted.
        StoreDamaged: Its folder is gone.
        DiskFull: Nothing was kept.
    """
    _check(request)
    label = found.row.label if isinstance(found, OpenExperiment) else found.label
    async with parts.floor.notes_lock:
        at = parts.clock.now()
        entries = tuple(_entry(remark, request.author, at) for remark in request.remarks)
        folder = _folder_now(parts, found.run_id, label)
        try:
            await asyncio.to_thread(add_notes, parts.home, found.run_id, folder, entries)
        except FileNotFoundError as error:
            _folder_now(parts, found.run_id, label)  # deleted in this very moment
            raise StoreDamaged(str(error.filename), "the experiment's folder is gone; the note was not kept") from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise StoreDamaged(str(error.filename or folder), f"the note was not kept: {error.strerror}") from error
            raise DiskFull(str(error.filename or parts.home.root), "keeping the note") from error
        return await _show(parts, found.run_id)


async def catch_up(parts: Parts, run_id: str) -> None:
    """Show what was said while it was being sealed: its views were written already."""
    async with parts.floor.notes_lock:
        try:
            await _show(parts, run_id)
        except (OSError, LabError) as error:  # its record is sealed and its row gone: only the views wait
            log.warning("notes not shown yet", extra={"run": run_id, "why": str(error)})


def is_behind(folder: Folder) -> bool:
    """Whether something was said after the views were written."""
    try:
        said_ns = folder.notes.stat().st_mtime_ns
    except OSError:
        return False
    try:
        return said_ns >= folder.manifest.stat().st_mtime_ns
    except OSError:
        return True


async def _show(parts: Parts, run_id: str) -> Told:
    """Bring views and index up to what was said. What happens to it meanwhile is looked at anew after each wait."""
    folder = _folder_of(parts, run_id)
    if folder is not None:  # it may have got one while the note was written beside it
        await asyncio.to_thread(move_into, parts.home, run_id, folder)
    told = await asyncio.to_thread(told_of, parts.home, run_id, folder)
    opened = parts.floor.get(run_id)
    if opened is not None:
        opened.said = told
    if folder is not None and (opened is None or opened.is_waiting):  # else the seal writes them
        await _refresh(parts, folder)
    ended = parts.index.get(run_id)
    if ended is not None and parts.floor.get(run_id) is None:
        parts.index.apply([with_notes(ended, told)], consumed={})
    return told


def _folder_now(parts: Parts, run_id: str, label: str) -> Folder | None:
    if parts.floor.get(run_id) is None and parts.index.get(run_id) is None:
        raise NotAllowedNow("note", label, "deleted", f"there; `lab undelete {label}` brings it back")
    return _folder_of(parts, run_id)


def _folder_of(parts: Parts, run_id: str) -> Folder | None:
    opened, ended = parts.floor.get(run_id), parts.index.get(run_id)
    if opened is not None:
        return opened.folder
    return Folder(Path(ended.folder)) if ended is not None and ended.folder is not None else None


def told_of(home: Home, run_id: str, folder: Folder | None) -> Told:
    """What people said of an experiment. Blocks."""
    return read_told(*places(home, run_id, folder))


def listed(shown: Experiment, folder: Folder) -> Experiment:
    """An ended experiment as lists find it: with what it measured and what people said. Blocks."""
    return with_notes(structs.replace(shown, metrics=last_values(folder)), read_told(folder.notes))


def recalled(parts: Parts, shown: Experiment) -> Experiment:
    """One that was cancelled while it waited, with what people said. Blocks."""
    folder = Folder(Path(shown.folder)) if shown.folder is not None else None
    return with_notes(shown, told_of(parts.home, shown.run_id, folder))


def recall(parts: Parts) -> None:
    """Know again, after a restart, what was said of what is open, so that lists find it. Blocks."""
    waiting = {path.stem for path in (parts.home.store / "notes").glob("*.jsonl")}
    for opened in parts.floor:
        if opened.folder is not None or opened.run_id in waiting:
            opened.said = told_of(parts.home, opened.run_id, opened.folder)


async def _refresh(parts: Parts, folder: Folder) -> None:
    """Write README and manifest of a sealed experiment anew; neither is vouched for by the seal."""
    try:
        told = await asyncio.to_thread(lookup.story_of, folder)
    except LabError:
        return  # its journal is damaged: `lab doctor` says so, and the note is kept all the same
    success = last_success(parts, told) if has_failed(told) else None
    await asyncio.to_thread(_write_views, parts, folder, told, success)


def _write_views(parts: Parts, folder: Folder, told: Story, success: Experiment | None) -> None:
    listed_at = _listed_at(folder)
    if listed_at is None:
        return  # without a manifest nobody knows what it left behind; a view must not say it was nothing
    record = _exit_record(folder, told.state.attempt)
    card = failure_card(parts.code, told, folder, success)
    try:
        write_views(folder, told, record, read_artifacts(folder), listed_at, card)
    except OSError as error:  # the note is durable, and the next one writes them again
        log.warning("views not refreshed", extra={"folder": str(folder.path), "why": error.strerror})


class _Listed(msgspec.Struct):
    artifacts: dict[str, object]


def _listed_at(folder: Folder) -> datetime | None:
    """When the artifacts were listed: a note changes nothing about that."""
    try:
        found = msgspec.json.decode(folder.manifest.read_bytes(), type=_Listed).artifacts["discovery_time"]
        return msgspec.convert(found, datetime)
    except (OSError, msgspec.MsgspecError, KeyError):
        return None


def _exit_record(folder: Folder, attempt: int) -> ExitRecord | None:
    path = folder.attempt(attempt).exit
    try:
        return decode_line(path.read_bytes().rstrip(b"\n"), ExitRecord, str(path))
    except (OSError, LabError):
        return None


def _check(request: Say) -> None:
    """Refuse what is no note, before anything is kept."""
    if not request.remarks:
        raise BadValue("remarks", "none", "at least one")
    texts: Sequence[str | None] = [
        text
        for remark in request.remarks
        for text in (remark.text, remark.outcome, *remark.learnings, *remark.next_steps)
    ]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if text is not None)
    if size > TEXT_LIMIT_BYTES:
        raise TooBig("the note", size, TEXT_LIMIT_BYTES, "put it into a file in the experiment's `outputs/`")
    for name, text in (("author", request.author), *(("note", text) for text in texts)):
        if text is not None and ("\0" in text or not text.strip() or not _is_unicode(text)):
            raise BadValue(name, ascii(text[:40]), "text without NUL, and not empty")
    if len(request.author) > AUTHOR_LIMIT:
        raise BadValue("author", f"{request.author[:40]}…", f"at most {AUTHOR_LIMIT} characters")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entry(remark: Remark, author: str, at: datetime) -> Entry:
    conclusion = remark.verdict or remark.outcome or remark.learnings or remark.next_steps
    if remark.field is not None and remark.text is None:
        raise BadValue("amendment", remark.field, "a text for it")
    if remark.text is not None and conclusion:
        raise BadValue("note", remark.text[:40], "a text, or a conclusion; each is a remark of its own")
    if remark.text is not None:
        if remark.field is not None:
            return Amendment(at=at, author=author, field=remark.field, text=remark.text)
        return Annotation(at=at, author=author, text=remark.text)
    if not conclusion:
        raise BadValue("note", "", "a text, a verdict, an outcome, a learning or a next step")
    return Conclusion(
        at=at,
        author=author,
        verdict=remark.verdict,
        outcome=remark.outcome,
        learnings=remark.learnings,
        next_steps=remark.next_steps,
    )
