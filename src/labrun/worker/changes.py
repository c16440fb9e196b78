"""What changed since it last worked: the failed experiment against the newest success of the same kind. Reads only."""

from pathlib import Path

from labrun.core import changes
from labrun.core.changes import Change
from labrun.core.errors import LabError
from labrun.core.ids import label_number
from labrun.core.rerun import script_of
from labrun.core.spec import Spec
from labrun.core.story import Story
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.store.submitted import read_environment
from labrun.wire.responses import ChangesView, Experiment
from labrun.worker.lookup import read_story
from labrun.worker.parts import Parts

_SHOWN_FILES = 8


def last_success(parts: Parts, told: Story) -> Experiment | None:
    """The newest success of the same definition, else of the same script, that was queued before a failed one."""
    spec, number = told.spec, label_number(told.label) or 0
    return parts.index.success_before(number, spec.lab, spec.definition, script_of(spec.target.argv))


def changes_since(store: CodeStore, success: Experiment | None, told: Story, folder: Folder) -> ChangesView | None:
    """Compare a failed experiment to a success. Blocks."""
    if success is None or success.folder is None:
        return None
    try:
        before = read_story(success).spec
    except LabError:
        return None  # its record is damaged: `lab doctor` says so
    after, old_folder = told.spec, Folder(Path(success.folder))
    found = [
        *changes.between(before, after),
        *changes.environments(read_environment(old_folder), read_environment(folder)),
    ]
    found += _code(store, before, after)
    return ChangesView(success.label, tuple(found))


def _code(store: CodeStore, before: Spec, after: Spec) -> list[Change]:
    old_tree, new_tree = before.source.tree, after.source.tree
    if old_tree is None or new_tree is None or old_tree == new_tree:
        return []
    try:
        old, new = store.entries(old_tree), store.entries(new_tree)
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        found = []
        for name in names[:_SHOWN_FILES]:
            contents = [store.blob(each[name].blob) if name in each else None for each in (old, new)]
            found.append(changes.code(name, *contents))
    except LabError:
        return []
    if len(names) > _SHOWN_FILES:
        found.append(Change("code", f"and {len(names) - _SHOWN_FILES} more files"))
    return found
