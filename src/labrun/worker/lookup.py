"""Find experiments by what people type, among the open ones in memory and the ended ones in the index."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from labrun.core import lifecycle, story
from labrun.core.errors import AmbiguousReference, NotFound, StoreDamaged
from labrun.core.events import EVENT
from labrun.core.ids import is_run_id, label_number
from labrun.core.story import Story
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.search import matches
from labrun.store.trash import Tombstone, in_trash
from labrun.wire.requests import Search
from labrun.wire.responses import Experiment
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.present import present

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_MATCH_LIMIT = 50


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
    parts: Parts, lab: str, search: Search, *, before: int | None, limit: int, reason: str | None
) -> list[Experiment]:
    """Newest first: open experiments and ended ones, merged by label number."""
    opened: dict[int, Experiment] = {}
    for experiment in _opened(parts, lab, before, search.status):
        shown = present(parts, experiment, head_reason=reason)
        if not matches(shown, search):
            continue
        opened[experiment.row.label_number] = shown
        if len(opened) >= limit:
            break
    if search.is_plain:
        plain = {"status": search.status, "name_contains": search.name}
        ended = parts.index.page(lab, before_label_number=before, limit=limit, **plain)
    else:
        ended = parts.index.search(lab, search, before_label_number=before, limit=limit)
    merged = {label_number(e.label) or 0: e for e in ended} | opened  # one just leaving the floor is in both
    return [merged[number] for number in sorted(merged, reverse=True)[:limit]]
