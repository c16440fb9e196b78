"""What changed since it last worked: the failed experiment against the newest success of the same kind. Reads only."""

from pathlib import Path

from labrun.core import changes
from labrun.core.changes import Change
from labrun.core.errors import LabError
from labrun.core.spec import Spec
from labrun.core.story import Story
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.store.submitted import read_environment
from labrun.wire.responses import ChangesView, Experiment
from labrun.worker.lookup import read_story
from labrun.worker.parts import Parts

_SEARCHED = 200
_SHOWN_FILES = 8


def changes_since_success(parts: Parts, told: Story, folder: Folder) -> ChangesView | None:
    """Compare a failed experiment to the last success of its definition, else of its script. Blocks."""
    success = _last_success(parts, told)
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
    found += _code(parts.code, before, after)
    return ChangesView(success.label, tuple(found))


def _last_success(parts: Parts, told: Story) -> Experiment | None:
    spec = told.spec
    same = [one for one in parts.index.by_definition(spec.definition or "", spec.lab) if one.status == "succeeded"]
    if same:
        return same[0]
    recent = parts.index.page(spec.lab, limit=_SEARCHED, status="succeeded")
    return next((one for one in recent if one.run_id != told.run_id and _is_same_script(one, spec)), None)


def _is_same_script(one: Experiment, spec: Spec) -> bool:
    words = one.command[1:] if spec.interpreter is not None else one.command
    own = spec.target.argv[1:] if spec.interpreter is not None else spec.target.argv
    head = 2 if spec.target.kind == "module" else 1
    return bool(words) and words[:head] == own[:head]


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
