"""Find experiments by what people type, among the open ones in memory and the ended ones in the index."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path

from msgspec import structs

from labrun.core import lifecycle, story
from labrun.core.errors import AmbiguousReference, BadValue, NotFound, StoreDamaged
from labrun.core.events import EVENT
from labrun.core.ids import is_run_id, label_number
from labrun.core.story import Story
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.search import Key, key_of, matches, may_match
from labrun.store.trash import Tombstone, in_trash
from labrun.wire.requests import Order, Search
from labrun.wire.responses import Experiment
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.present import present

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_MATCH_LIMIT = 50
_SHOWN_ENDED = 5
_SHOWN_NEWS, _COUNTED_NEWS = 20, 1000
"""Of what ended since somebody last looked."""


def find(parts: Parts, reference: str, lab: str) -> OpenExperiment | Experiment:
    """Resolve a label, run id, unique prefix, name, path, `latest` or `latest~2`.

    Labels, ids and paths are looked up in the whole home; names and `latest` in the lab. What was deleted
    is found by label and run id alone, see `Experiment.deleted_at`.

    Raises:
        NotFound: Nothing answers to it.
        AmbiguousReference: Several do.
    """
    found = _find(parts, reference, lab)
    return parts.floor.get(found.run_id) or found


def _find(parts: Parts, reference: str, lab: str) -> OpenExperiment | Experiment:
    if match := _LATEST.fullmatch(reference):
        return _latest(parts, reference, lab, int(match.group(1) or 0))
    if (number := label_number(reference)) is not None:
        one = _by_label(parts, number) or _shown(parts.index.tombstone_by_label(number))
        if one is not None:
            return one
    if is_run_id(reference):
        ended = parts.floor.get(reference) or parts.index.get(reference) or _shown(parts.index.tombstone(reference))
        if ended is not None:
            return ended
    if "/" in reference:
        return _by_path(parts, reference, lab)
    matches = _by_prefix_or_name(parts, reference, lab)
    if not matches:
        raise NotFound(reference, lab)
    if len(matches) > 1:
        raise AmbiguousReference(reference, list(matches))
    return next(iter(matches.values()))


def _shown(tombstone: Tombstone | None) -> Experiment | None:
    return tombstone.shown if tombstone is not None else None


def _by_label(parts: Parts, number: int) -> OpenExperiment | Experiment | None:
    return parts.floor.by_label(number) or parts.index.by_label(number)


def _latest(parts: Parts, reference: str, lab: str, back: int) -> OpenExperiment | Experiment:
    opened = (number for number in parts.floor.labels_below(None) if _is_of(parts, number, lab))
    # each list holds enough for the place asked; one that is just leaving the floor is in both
    numbers = sorted({*islice(opened, back + 1), *parts.index.newest(lab, back + 1)}, reverse=True)
    found = _by_label(parts, numbers[back]) if back < len(numbers) else None
    if found is None:
        raise NotFound(reference, lab)
    return found


def _is_of(parts: Parts, number: int, lab: str) -> bool:
    experiment = parts.floor.by_label(number)
    return experiment is not None and experiment.row.spec.lab == lab


def _by_path(parts: Parts, reference: str, lab: str) -> OpenExperiment | Experiment:
    path = Path(reference).absolute()
    for folder in (path, *path.parents):
        number = label_number("-".join(folder.name.split("-")[:2]))  # `core.ids.folder_name` begins with the label
        opened = parts.floor.by_label(number) if number is not None else None
        if opened is not None and opened.folder is not None and opened.folder.path == folder:
            return opened
        ended = parts.index.by_folder(str(folder))
        if ended is not None:
            return ended
    raise NotFound(reference, lab)


def _by_prefix_or_name(parts: Parts, reference: str, lab: str) -> dict[str, OpenExperiment | Experiment]:
    matches: dict[str, OpenExperiment | Experiment] = {}
    for experiment in parts.index.by_name(reference, lab, _MATCH_LIMIT):
        matches[experiment.label] = experiment
    if len(reference) >= 4:  # "2026": shorter than a year is no prefix but a slip
        for experiment in parts.index.by_prefix(reference, _MATCH_LIMIT):
            matches[experiment.label] = experiment
    for opened in parts.floor:
        is_prefix = len(reference) >= 4 and opened.run_id.startswith(reference)
        if is_prefix or (opened.row.spec.name == reference and opened.row.spec.lab == lab):
            matches[opened.row.label] = opened
    return matches


def folder_of(parts: Parts, ended: Experiment) -> Path | None:
    """Where an ended experiment's folder lies, in the trash too; None when there is none."""
    if ended.deleted_at is None:
        return Path(ended.folder) if ended.folder is not None else None
    buried = parts.index.tombstone(ended.run_id)
    return in_trash(parts.home, buried) if buried is not None else None


def read_story(experiment: Experiment) -> Story:
    """Read an ended experiment's story from its folder.

    Raises:
        StoreDamaged: The folder's journal cannot be read as a whole.
    """
    return story_of(Folder(Path(experiment.folder or "")))


def story_of(folder: Folder) -> Story:
    """Read the story an experiment's folder tells.

    Raises:
        StoreDamaged: Its journal cannot be read as a whole.
    """
    path = folder.events
    try:
        events, damage = Journal(path).read(EVENT)
    except OSError as error:
        raise StoreDamaged(str(path), error.strerror or str(error)) from error
    if damage is not None or not events:
        raise StoreDamaged(str(path), str(damage or "it is empty"))
    return story.tell(events)


def _opened(parts: Parts, lab: str, before: int | None, status: str | None) -> Iterator[OpenExperiment]:
    """Open experiments of a lab, newest first; looks no further than to the last one of that status."""
    counts = parts.floor.counts(lab)
    left = sum(number for name, number in counts.items() if status in (None, name))
    numbers = parts.floor.labels_below(before)
    while left > 0 and (number := next(numbers, None)) is not None:
        experiment = parts.floor.by_label(number)
        if experiment is None or experiment.row.spec.lab != lab:
            continue
        if status is None or lifecycle.status_of(experiment.story.state) == status:
            left -= 1
            yield experiment


def page(
    parts: Parts, lab: str, search: Search, order: Order, *, before: int | None, limit: int, reason: str | None
) -> list[Experiment]:
    """Open experiments and ended ones, merged in one order.

    Raises:
        BadValue: The page before cannot be gone on from, or nothing has the metric it is ordered by.
    """
    if order.is_newest_first:
        opened = _page_of_open(parts, search, _opened(parts, lab, before, search.status), limit, reason)
        if search.is_plain:
            plain = {"status": search.status, "name_contains": search.name}
            ended = parts.index.page(lab, before_label_number=before, limit=limit, **plain)
        else:
            after: Key | None = (0.0, before) if before is not None else None
            ended = parts.index.search(lab, search, order, limit=limit, after=after)
    else:
        if order.by == "metric" and not parts.index.has_metric(order.metric) and parts.index.count():
            raise BadValue("order", order.metric, "newest, oldest, longest, name, or a metric an experiment has")
        after = _place(parts, before, order) if before is not None else None
        opened = _page_of_open(parts, search, _opened_after(parts, lab, order, after), limit, reason)
        ended = parts.index.search(lab, search, order, limit=limit, after=after)
    merged = {label_number(e.label) or 0: e for e in ended} | opened  # one just leaving the floor is in both
    now = parts.clock.now()
    keys = {number: _key(one, order, now) or (0.0, number) for number, one in merged.items()}
    return [merged[number] for number in sorted(merged, key=keys.__getitem__, reverse=order.is_descending)[:limit]]


def ended(parts: Parts, lab: str, since: datetime | None) -> tuple[list[Experiment], int]:
    """What ended last, the last one first, more where more ended since then; and how much did, up to a thousand."""
    over = [present(parts, experiment) for experiment in parts.floor.over() if experiment.row.spec.lab == lab]
    # the index is told an instant before an experiment leaves the floor
    by_run_id = {one.run_id: one for one in (*parts.index.ended(lab, _SHOWN_NEWS), *over)}
    found = sorted(by_run_id.values(), key=lambda one: one.ended_at or one.queued_at, reverse=True)
    if since is None:
        return found[:_SHOWN_ENDED], 0
    shown_news = sum((one.ended_at or one.queued_at) > since for one in found)
    news = max(shown_news, parts.index.count_ended(lab, since.timestamp(), _COUNTED_NEWS))
    return found[: min(_SHOWN_NEWS, max(_SHOWN_ENDED, news))], news


def _page_of_open(
    parts: Parts, search: Search, candidates: Iterable[OpenExperiment], limit: int, reason: str | None
) -> dict[int, Experiment]:
    found: dict[int, Experiment] = {}
    for experiment in candidates:
        if not may_match(experiment.row.spec, experiment.row.queued_at, search):
            continue
        shown = present(parts, experiment, head_reason=reason)
        if matches(shown, search):
            found[experiment.row.label_number] = shown
            if len(found) >= limit:
                break
    return found


def _opened_after(parts: Parts, lab: str, order: Order, after: Key | None) -> list[OpenExperiment]:
    """Open experiments of a lab in another order than the newest first; their metrics are not known yet."""
    now, found = parts.clock.now(), list[tuple[Key, OpenExperiment]]()
    for experiment in parts.floor if order.by != "metric" else ():
        row, value = experiment.row, 0.0
        if row.spec.lab != lab:
            continue
        key: Key | None = (value, row.label_number)
        if order.by == "name":
            key = (row.spec.name.lower(), row.label_number) if row.spec.name is not None else None
        elif order.by == "took":
            key = None if experiment.is_waiting else _key(present(parts, experiment), order, now)
        if key is not None and (after is None or (key < after if order.is_descending else key > after)):
            found.append((key, experiment))
    return [one for _, one in sorted(found, key=itemgetter(0), reverse=order.is_descending)]


def _key(shown: Experiment, order: Order, now: datetime) -> Key | None:
    """As `key_of`; what runs has taken as long as it runs."""
    is_running = order.by == "took" and shown.started_at is not None and shown.ended_at is None
    return key_of(structs.replace(shown, ended_at=now) if is_running else shown, order)


def _place(parts: Parts, before: int, order: Order) -> Key:
    """Where the page before ended.

    Raises:
        BadValue: That experiment is not in the list any more.
    """
    found = _by_label(parts, before)
    shown = present(parts, found) if isinstance(found, OpenExperiment) else found
    key = _key(shown, order, parts.clock.now()) if shown is not None else None
    if key is None and order.by == "label":
        return (0.0, before)
    if key is None:
        raise BadValue("cursor", f"EXP-{before:03}", "an experiment that is in this list", hint="begin anew without it")
    return key
