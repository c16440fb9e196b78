"""Read how far running experiments are from the ends of their logs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

from msgspec import Struct, structs

from labrun.core.progress import progress_in
from labrun.store.journal import Journal
from labrun.store.log_file import read_end, size_of, written_at
from labrun.wire.responses import Experiment, ProgressView
from labrun.worker.floor import OpenExperiment

_END_BYTES = 8 * 1024
"""Of each stream: some dozen states of a bar, read and understood in half a millisecond."""


class ProgressReader:
    """What the bars of running experiments say; a log that has not grown is not read again."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[OpenExperiment, _Seen] = WeakKeyDictionary()

    def shown(self, experiment: OpenExperiment, shown: Experiment) -> Experiment:
        """Add its progress to how lists show a running experiment."""
        if shown.step != "running" or experiment.folder is None:
            return shown
        here = experiment.folder.attempt(shown.attempt)
        sizes = (size_of(here.stdout), size_of(here.stderr))
        seen = self._seen.get(experiment)
        if seen is None or (seen.attempt, seen.sizes) != (shown.attempt, sizes):
            seen = _Seen(shown.attempt, sizes, _read((here.stdout, here.stderr)))
            self._seen[experiment] = seen
        return structs.replace(shown, progress=seen.progress) if seen.progress is not None else shown


class UsagePeaks:
    """Most memory each running experiment had so far; its usage file is read on from where it was left."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[OpenExperiment, _Peak] = WeakKeyDictionary()

    def shown(self, experiment: OpenExperiment, shown: Experiment) -> Experiment:
        """Add the peak to how lists show a running experiment."""
        if shown.step != "running" or experiment.folder is None:
            return shown
        seen = self._seen.get(experiment)
        if seen is None or seen.attempt != shown.attempt:
            seen = _Peak(shown.attempt, 0, 0)
        lines, _, end = Journal(experiment.folder.attempt(shown.attempt).usage).read_from(seen.offset, _Usage)
        seen = _Peak(shown.attempt, end, max(seen.bytes, 0, *(line.memory_bytes for line in lines)))
        self._seen[experiment] = seen
        return structs.replace(shown, peak_memory_bytes=seen.bytes) if seen.bytes else shown


class _Peak(NamedTuple):
    attempt: int
    offset: int
    bytes: int


class _Usage(Struct):
    memory_bytes: int = 0


class _Seen(NamedTuple):
    attempt: int
    sizes: tuple[int, int]
    progress: ProgressView | None


def _read(logs: tuple[Path, Path]) -> ProgressView | None:
    for log in sorted(logs, key=written_at, reverse=True):  # of two bars the one that moved last
        found = progress_in(read_end(log, _END_BYTES))
        if found is not None:
            at = datetime.fromtimestamp(written_at(log), UTC)
            return ProgressView(found.percent, found.left_s, found.text, at)
    return None
