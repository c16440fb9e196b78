"""What a failed attempt tells of its end: gathered from its folder, judged by `core.failure`."""

import os
import re
import shlex
from pathlib import Path

from msgspec import structs

from labrun.core.endings import Ending, NeverStarted
from labrun.core.failure import Failure, Traces, classify
from labrun.core.spec import Spec
from labrun.core.story import Story
from labrun.engines.protocol import ExitRecord
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.wire.responses import Experiment, FailureCard
from labrun.worker.changes import changes_since

_TAIL_BYTES = 256 * 1024
_LAST_LINES, _LINE_CHARS = 12, 400
_PATHS = re.compile(
    r"""No such file or directory: b?['"]([^'"\n]{1,400})['"]|(?:open|read|find|access) ['"]?([\w./-]+/[\w./-]+)"""
)


def judge_end(
    folder: Folder, attempt: int, spec: Spec, ending: Ending, record: ExitRecord | None, host_memory_bytes: int
) -> tuple[Failure | None, str | None]:
    """Say why it failed, and the command that mends it where one is sure. Blocks; reads the ends of the logs."""
    here = folder.attempt(attempt)
    stderr, stdout = tail(here.stderr), tail(here.stdout)
    unstarted = f"\nNo such file or directory: '{spec.target.argv[0]}'" if isinstance(ending, NeverStarted) else ""
    missing = _unfrozen(spec, folder, stderr + stdout + unstarted)
    traces = Traces(
        ending=ending,
        stderr=stderr,
        stdout=stdout,
        peak_memory_bytes=record.peak_memory_bytes if record is not None else None,
        memory_limit_bytes=spec.resources.memory_bytes,
        host_memory_bytes=host_memory_bytes,
        unfrozen=frozenset(missing),
    )
    failure = classify(traces)
    if failure is None:
        return None, None
    failure = structs.replace(failure, peak_memory_bytes=traces.peak_memory_bytes)
    named = [place for text, place in missing.items() if any(text in shown for shown in failure.evidence)]
    return failure, _again_with(spec, sorted(set(named))) if named else None


def has_failed(told: Story) -> bool:
    """Whether it ended, and why it failed is known."""
    return told.ending is not None and told.current is not None and told.current.failure is not None


def failure_card(store: CodeStore, told: Story, folder: Folder, success: Experiment | None) -> FailureCard | None:
    """Gather everything that helps after a failure; None where nothing failed. Blocks.

    Args:
        store: Holds the code of both.
        told: The story of the one that failed.
        folder: Its own.
        success: What to compare it with, see `changes.last_success`.
    """
    current = told.current
    if current is None or current.failure is None or not has_failed(told):
        return None
    return FailureCard(
        failure=current.failure,
        last_lines=last_lines(folder, current.attempt),
        peak_memory_bytes=current.failure.peak_memory_bytes,
        memory_limit_bytes=told.spec.resources.memory_bytes,
        hint=current.hint,
        changes=changes_since(store, success, told, folder),
    )


def tail(path: Path) -> str:
    """The end of a log, decoded."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def last_lines(folder: Folder, attempt: int) -> tuple[str, ...]:
    """The last lines it wrote to stderr, else to stdout; what redraws itself counts once."""
    here = folder.attempt(attempt)
    for path in (here.stderr, here.stdout):
        whole = (line.rstrip() for line in tail(path).split("\n"))  # `splitlines` would cut at every `\r` too
        lines = [line.rpartition("\r")[2][:_LINE_CHARS] for line in whole if line]
        if lines:
            return tuple(lines[-_LAST_LINES:])
    return ()


def _unfrozen(spec: Spec, folder: Folder, text: str) -> dict[str, str]:
    """Paths the text names that are not in the copy and are in the source folder: the place to link, for each."""
    source = spec.source
    if source.root is None or source.is_live or source.is_elsewhere:
        return {}
    root, work, found = Path(source.root), folder.work, dict[str, str]()
    cwd = Path(source.cwd) if source.cwd_is_live else work / source.cwd
    for match in _PATHS.finditer(text):
        named = match.group(1) or match.group(2)
        try:
            path = Path(os.path.normpath(cwd / named))
            if not path.is_relative_to(work) or os.path.lexists(path):
                continue
            place = path.relative_to(work)
            if (root / place).exists():
                found[named] = _highest_missing(place, work)
        except (OSError, ValueError):
            continue  # no path at all
    return found


def _highest_missing(place: Path, work: Path) -> str:
    """The outermost folder on the way that is not in the copy: what a link should bring back."""
    for parent in reversed(place.parents):
        if parent.parts and not os.path.lexists(work / parent):
            return str(parent)
    return str(place)


def _again_with(spec: Spec, places: list[str]) -> str:
    """The same command with these places linked, beside those that were: `--link` is the whole answer, not one more."""
    source, target, argv = spec.source, spec.target, spec.target.argv
    root = Path(source.root or "/")
    cwd = Path(source.cwd) if source.cwd_is_live else root / source.cwd
    words = ["lab", "run"]
    for place in [*(link.place for link in source.links), *places]:
        words += ["--link", os.path.relpath(root / place, cwd)]
    for config in spec.configs:
        words += ["--config", _from(cwd, config.path, root)]
    for data in spec.inputs:
        words += ["--input", f"{data.name}={_from(cwd, data.path, root)}"]
    if target.kind == "program":
        words += ["--", *argv]
    else:
        words += ["-m", *argv[2:]] if target.kind == "module" else [target.name, *argv[2:]]
    return shlex.join(words)


def _from(cwd: Path, path: str, root: Path) -> str:
    """A path as somebody who stands there would type it."""
    return os.path.relpath(path, cwd) if Path(path).is_relative_to(root) else path
