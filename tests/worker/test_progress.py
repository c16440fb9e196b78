import os
from pathlib import Path

from msgspec import structs

from labrun.store.folder import Folder
from labrun.wire.responses import Experiment, ProgressView
from labrun.worker.floor import OpenExperiment
from labrun.worker.present import view
from labrun.worker.progress import ProgressReader
from tests.worker.test_floor import opened

BAR = b"\r fit: %3d%%|####      | %d/100 [00:10<00:15,  4.00it/s]"


def running(root: Path) -> tuple[OpenExperiment, Experiment]:
    experiment = opened(7)
    experiment.folder = Folder(root / "labs/main/2026-11/EXP-007-planck").create()
    experiment.folder.attempt(1).create()
    shown = view(experiment.story, folder=str(experiment.folder.path), is_sealed=False)
    return experiment, structs.replace(shown, step="running", attempt=1)


def test_the_last_bar_of_a_long_log_is_read(tmp_path: Path) -> None:
    experiment, shown = running(tmp_path)
    assert experiment.folder is not None
    log = experiment.folder.attempt(1).stderr
    log.write_bytes(b"x" * 2**20 + b"".join(BAR % (number, number) for number in range(41)))
    os.utime(log, (1000.0, 1000.0))
    found = ProgressReader().shown(experiment, shown).progress
    assert found is not None
    assert (found.percent, found.left_s, found.written_at.timestamp()) == (40.0, 15.0, 1000.0)
    assert found.text == "fit: 40%|#### | 40/100 [00:10<00:15, 4.00it/s]"


def test_of_two_streams_the_bar_that_moved_last_counts(tmp_path: Path) -> None:
    experiment, shown = running(tmp_path)
    assert experiment.folder is not None
    here = experiment.folder.attempt(1)
    for log, percent, moment in ((here.stdout, 10, 2000.0), (here.stderr, 20, 1000.0)):
        log.write_bytes(BAR % (percent, percent))
        os.utime(log, (moment, moment))
    reader = ProgressReader()
    assert _percent(reader.shown(experiment, shown).progress) == 10.0
    here.stderr.write_bytes(BAR % (20, 20) + BAR % (30, 30))
    os.utime(here.stderr, (3000.0, 3000.0))
    assert _percent(reader.shown(experiment, shown).progress) == 30.0
    here.stdout.write_bytes(b"only lines\n" * 10)
    assert _percent(reader.shown(experiment, shown).progress) == 30.0


def test_a_log_that_has_not_grown_is_not_read_again(tmp_path: Path) -> None:
    experiment, shown = running(tmp_path)
    assert experiment.folder is not None
    log = experiment.folder.attempt(1).stdout
    log.write_bytes(BAR % (10, 10))
    reader = ProgressReader()
    first = reader.shown(experiment, shown).progress
    log.write_bytes(BAR % (99, 10))
    assert reader.shown(experiment, shown).progress == first
    resumed = structs.replace(shown, attempt=2)
    assert reader.shown(experiment, resumed).progress is None, "the next attempt begins anew"


def test_only_what_runs_has_progress(tmp_path: Path) -> None:
    experiment, shown = running(tmp_path)
    assert experiment.folder is not None
    experiment.folder.attempt(1).stdout.write_bytes(BAR % (10, 10))
    assert ProgressReader().shown(experiment, structs.replace(shown, step="checking")).progress is None
    experiment.folder = None
    assert ProgressReader().shown(experiment, shown).progress is None


def _percent(found: ProgressView | None) -> float | None:
    return found.percent if found is not None else None
