"""Delete, undelete, purge; a crash between the line and the folder; an index made anew."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from labrun.core.endings import Exited
from labrun.core.errors import NotAllowedNow, NotFound, StoreDamaged
from labrun.store.home import init_home
from labrun.store.index import Index
from labrun.store.seal import seal_batch
from labrun.store.trash import Tombstone, carry_out, last_words, write_down
from labrun.store.verify import verify_lab
from labrun.wire.responses import Experiment as Shown
from labrun.worker import lookup
from labrun.worker.deleting import delete, purge, trash, undelete
from labrun.worker.floor import Floor
from labrun.worker.reindex import catch_up, rebuild
from tests.store.experiments import Experiment
from tests.worker.test_floor import opened

AT = datetime(2026, 11, 21, tzinfo=UTC)


class StillClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    """What deleting needs of a worker, with three sealed experiments."""
    home = init_home(tmp_path / "lab")
    found = SimpleNamespace(home=home, index=Index.open(home.index), floor=Floor(), clock=StillClock(), notices=[])
    for number in (1, 2, 3):
        seal_batch([Experiment(home.root, number).end(1, Exited(0))])
    catch_up(found)  # type: ignore[arg-type]
    yield found
    found.index.close()


def one(parts: Any, reference: str) -> Shown:
    found = lookup.find(parts, reference, "main")
    assert isinstance(found, Shown)
    return found


def listed(parts: Any) -> list[str]:
    return [shown.label for shown in parts.index.page("main", limit=10)]


def start_anew(parts: Any) -> None:
    """What a server does that finds no index."""
    parts.index.close()
    parts.home.index.unlink()
    parts.index = Index.open(parts.home.index)
    catch_up(parts)


def test_a_deleted_one_leaves_every_list_and_answers_to_label_and_run_id(parts: Any) -> None:
    before = one(parts, "EXP-002")
    shown = delete(parts, before, "ada")
    assert (shown.deleted_by, shown.folder) == ("ada", None)
    assert listed(parts) == ["EXP-003", "EXP-001"]
    assert parts.index.counts("main") == {"succeeded": 2}
    assert one(parts, "2") == one(parts, before.run_id) == shown
    assert parts.index.high_water() == 3
    with pytest.raises(NotFound):
        lookup.find(parts, str(before.folder), "main")
    assert not Path(str(before.folder)).exists()
    assert [each.label for each in trash(parts, "main").experiments] == ["EXP-002"]
    assert verify_lab(parts.home.labs / "main") == []


def test_undelete_brings_it_back_as_it_was(parts: Any) -> None:
    before = one(parts, "EXP-002")
    delete(parts, before, "ada")
    assert undelete(parts, one(parts, "EXP-002"), "eve") == before
    assert one(parts, "EXP-002") == before
    assert listed(parts) == ["EXP-003", "EXP-002", "EXP-001"]
    assert trash(parts, "main").experiments == ()
    assert last_words(parts.home.labs / "main")[before.run_id].by == "eve"


def test_what_cannot_be_is_refused(parts: Any) -> None:
    with pytest.raises(NotAllowedNow, match="cannot undelete EXP-001: it is succeeded"):
        undelete(parts, one(parts, "EXP-001"), "ada")
    delete(parts, one(parts, "EXP-001"), "ada")
    with pytest.raises(NotAllowedNow, match="cannot delete EXP-001: it is deleted already"):
        delete(parts, one(parts, "EXP-001"), "ada")
    asyncio.run(purge(parts, "main", 0, "ada", is_dry=False))
    with pytest.raises(NotAllowedNow, match="cannot undelete EXP-001: it is purged"):
        undelete(parts, one(parts, "EXP-001"), "ada")


@pytest.mark.parametrize("highest", [1, 3])
@pytest.mark.parametrize("how", ["caught up", "rebuilt"])
def test_an_index_made_anew_knows_what_was_deleted(parts: Any, how: str, highest: int) -> None:
    for number in range(1, highest + 1):
        delete(parts, one(parts, str(number)), "ada")
    before = listed(parts), one(parts, "1"), parts.index.count()
    if how == "caught up":
        start_anew(parts)
    else:
        assert asyncio.run(rebuild(parts)) == 3 - highest
    assert (listed(parts), one(parts, "1"), parts.index.count()) == before
    assert parts.index.high_water() == 3, "no label is given twice"


@pytest.mark.parametrize("did", ["deleted", "undeleted", "purged"])
@pytest.mark.parametrize("is_moved", [False, True])
def test_a_crash_after_the_line_is_finished_by_the_next_start(parts: Any, did: Any, is_moved: bool) -> None:
    shown = one(parts, "EXP-002")
    folder = Path(str(shown.folder))
    if did != "deleted":
        delete(parts, shown, "ada")
    relative = str(folder.relative_to(parts.home.root))
    line = Tombstone(did=did, run_id=shown.run_id, at=AT, by="ada", folder=relative, experiment=shown)
    write_down(parts.home, line)
    if is_moved:
        carry_out(parts.home, line)
    catch_up(parts)
    assert folder.exists() == (did == "undeleted")
    assert ("EXP-002" in listed(parts)) == (did == "undeleted")
    assert (parts.home.trash / "main/2026-11" / folder.name).exists() == (did == "deleted")
    assert verify_lab(parts.home.labs / "main") == []
    start_anew(parts)
    assert ("EXP-002" in listed(parts)) == (did == "undeleted")


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
def test_a_folder_that_cannot_be_moved_is_not_deleted(parts: Any) -> None:
    shown = one(parts, "EXP-002")
    parts.home.trash.symlink_to("/proc/self")  # nothing can be made in there
    with pytest.raises(StoreDamaged, match="so nothing was changed"):
        delete(parts, shown, "ada")
    assert Path(str(shown.folder)).is_dir()
    assert one(parts, "EXP-002") == shown
    assert verify_lab(parts.home.labs / "main") == []
    start_anew(parts)
    assert one(parts, "EXP-002").deleted_at is None


def test_a_purge_takes_what_is_old_enough_and_says_so_before(parts: Any) -> None:
    delete(parts, one(parts, "EXP-001"), "ada")
    parts.clock.at += timedelta(days=2)
    delete(parts, one(parts, "EXP-002"), "ada")
    told = asyncio.run(purge(parts, "main", 86400, "eve", is_dry=True))
    assert [each.label for each in told.experiments] == ["EXP-001"]
    assert told.size_bytes
    assert len(trash(parts, "main").experiments) == 2, "nothing was removed"
    done = asyncio.run(purge(parts, "main", 86400, "eve", is_dry=False))
    assert (done.experiments, done.size_bytes) == (told.experiments, told.size_bytes)
    assert [each.label for each in trash(parts, "main").experiments] == ["EXP-002"]
    gone = one(parts, "EXP-001")
    assert (gone.is_purged, gone.deleted_by) == (True, "eve")
    assert [path.name for path in parts.home.trash.glob("main/*/*")] == ["EXP-002-planck-bao"]
    assert verify_lab(parts.home.labs / "main") == []


def test_what_an_earlier_purge_left_is_removed_by_the_next(parts: Any) -> None:
    shown = one(parts, "EXP-001")
    delete(parts, shown, "ada")
    buried = parts.index.tombstone(shown.run_id)
    parts.index.bury([structs.replace(buried, did="purged")], consumed={})
    asyncio.run(purge(parts, "main", 0, "ada", is_dry=False))
    assert list(parts.home.trash.glob("main/*/*")) == []


def test_one_that_was_cancelled_in_line_has_nothing_to_move(parts: Any) -> None:
    never = structs.replace(one(parts, "EXP-003"), run_id="2026-11-20_00000009", label="EXP-009", folder=None)
    parts.index.apply([never], consumed={})
    delete(parts, never, "ada")
    assert "EXP-009" not in listed(parts)
    assert undelete(parts, one(parts, "EXP-009"), "ada") == never
    assert "EXP-009" in listed(parts)


def test_an_open_one_of_the_same_label_is_found_first(parts: Any) -> None:
    delete(parts, one(parts, "EXP-002"), "ada")
    experiment = opened(2)
    parts.floor.add(experiment)
    assert lookup.find(parts, "EXP-002", "main") is experiment
