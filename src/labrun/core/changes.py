"""What is different between two experiments: arguments, configuration, data, links, packages, machine, code."""

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from labrun.core.environment import Environment
from labrun.core.spec import Spec

_HUNK_LINES = 40
_SHOWN = 6


class Change(Struct, frozen=True):
    """One difference."""

    kind: str
    """arguments, configuration, data, links, packages, python, machine, resources, code."""
    text: str
    """One line for people."""
    lines: tuple[str, ...] = ()
    """Of code: the hunk, as a unified diff."""


def between(before: Spec, after: Spec) -> Iterator[Change]:
    """What the two were told to do differently."""
    if before.target.argv[1:] != after.target.argv[1:]:
        yield Change("arguments", _words(before.target.argv[1:], after.target.argv[1:]))
    old, new = (tuple(config.sha256 for config in spec.configs) for spec in (before, after))
    if old != new:
        names = ", ".join(config.path for config in after.configs) or "none now"
        yield Change("configuration", f"configuration files changed: {names}")
    data_before, data_after = ({data.name: data.sha256 for data in spec.inputs} for spec in (before, after))
    for name in sorted(data_before.keys() | data_after.keys()):
        if data_before.get(name) != data_after.get(name):
            yield Change("data", f"input `{name}` {_how(name in data_before, name in data_after)}")
    links_before, links_after = ({link.place: link.target for link in spec.source.links} for spec in (before, after))
    for place in sorted(links_before.keys() | links_after.keys()):
        was, now = links_before.get(place), links_after.get(place)
        if was != now:
            led = f"led to {was}, now to {now}" if was and now else _how(was is not None, now is not None)
            yield Change("links", f"link `{place}` {led}")
    if before.resources != after.resources:
        asked = [
            f"{name} {'none' if was is None else was} became {'none' if now is None else now}"
            for name in before.resources.__struct_fields__
            if (was := getattr(before.resources, name)) != (now := getattr(after.resources, name))
        ]
        yield Change("resources", f"resources: {', '.join(asked)}")
    if before.seed != after.seed and not (before.is_seed_drawn or after.is_seed_drawn):
        yield Change("arguments", f"seed {before.seed} became {after.seed}")


def environments(before: Environment | None, after: Environment | None) -> Iterator[Change]:
    """What they ran in."""
    if before is None or after is None:
        return
    if before.chosen_by != after.chosen_by:
        old, new = (each.chosen_by or "the caller" for each in (before, after))
        yield Change("python", f"its environment was chosen by {old}, now by {new}")
    if before.python is not None and after.python is not None and before.python.version != after.python.version:
        yield Change("python", f"Python {before.python.version} became {after.python.version}")
    changed = list(_packages(before.packages, after.packages))
    if changed and before.chosen_by is None and after.chosen_by is None:
        rest = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        yield Change("packages", ", ".join(changed[:_SHOWN]) + rest)
    for what in ("host", "kernel", "gpu_driver"):
        old, new = getattr(before.machine, what), getattr(after.machine, what)
        if old != new:
            yield Change("machine", f"{what.replace('_', ' ')} {old or 'none'} became {new or 'none'}")
    old_gpus, new_gpus = ([gpu.model for gpu in each.machine.gpus] for each in (before, after))
    if old_gpus != new_gpus:
        yield Change("machine", f"GPUs {', '.join(old_gpus) or 'none'} became {', '.join(new_gpus) or 'none'}")


def code(name: str, before: bytes | None, after: bytes | None) -> Change:
    """One changed file, with the beginning of its difference."""
    how = _how(before is not None, after is not None)
    try:
        old, new = ((content or b"").decode() for content in (before, after))
    except UnicodeDecodeError:
        return Change("code", f"{name} {how}, it is no text")
    hunk = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]
    kept = hunk[:_HUNK_LINES]
    if len(hunk) > len(kept):
        kept.append(f"… {len(hunk) - len(kept)} more lines")
    return Change("code", f"{name} {how}", tuple(kept))


def _how(was: bool, is_now: bool) -> str:
    return "changed" if was and is_now else "is new" if is_now else "is gone"


def _words(before: Sequence[str], after: Sequence[str]) -> str:
    """What became of a command line, an option with its value.

    >>> _words(["a.py", "--lr", "0.1", "--fast"], ["a.py", "--lr", "0.2", "--n=3"])
    'arguments: --lr 0.1 --fast became --lr 0.2 --n=3'
    """
    told = []
    for what, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        is_value = what == "replace" and i > 0 and before[i - 1].startswith("-") and "=" not in before[i - 1]
        gone, fresh = (shlex.join(words) for words in (before[i - is_value : j], after[k - is_value : m]))
        told.append(f"{gone} became {fresh}" if gone and fresh else f"{fresh} is new" if fresh else f"{gone} is gone")
    return f"arguments: {'; '.join(told)}"


def _packages(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    old, new = _versions(before), _versions(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            if name in old and name in new:
                yield f"{name} {old[name]} became {new[name]}"
            else:
                yield f"{name} {_how(name in old, name in new)}"


def _versions(lines: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for line in lines:
        name, equals, version = line.partition("==")
        if not line.startswith("#"):
            found[name if equals else line] = version or "another source"
    return found
