"""A deleted experiment: its folder in the trash, its line in the journal, the chain whole."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from labrun.core.endings import Exited
from labrun.store.home import Home, init_home
from labrun.store.seal import seal_batch
from labrun.store.trash import DELETED, Tombstone, carry_out, freed_bytes, in_trash, last_words, write_down
from labrun.store.verify import verify_chain, verify_lab
from tests.store.experiments import Experiment
from tests.store.test_index import ended

AT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return init_home(tmp_path / "lab")


def sealed(home: Home, number: int) -> tuple[Path, Tombstone]:
    """The folder of a sealed experiment, and the line that would delete it."""
    experiment = Experiment(home.root, number)
    seal_batch([experiment.end(1, Exited(0))])
    folder = experiment.folder
    shown = ended(number)
    line = Tombstone(did="deleted", run_id=shown.run_id, at=AT, by="ada", folder=folder.relative, experiment=shown)
    return folder.path, line


def enact(home: Home, line: Tombstone) -> None:
    write_down(home, line)
    carry_out(home, line)


def test_a_folder_goes_to_the_trash_and_comes_back_as_it_was(home: Home) -> None:
    folder, line = sealed(home, 1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    enact(home, line)
    trashed = in_trash(home, line)
    assert not folder.exists()
    assert trashed == home.trash / "main" / folder.parent.name / folder.name
    assert trashed.is_dir()
    enact(home, structs.replace(line, did="undeleted"))
    assert not trashed.exists()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_every_line_may_be_carried_out_again(home: Home) -> None:
    folder, line = sealed(home, 1)
    for did in ("deleted", "undeleted", "deleted", "purged"):
        for _ in range(2):
            carry_out(home, structs.replace(line, did=did))
        assert folder.exists() == (did == "undeleted")
    assert list(home.trash.rglob("EXP-*")) == []


def test_the_chain_stays_whole_through_delete_undelete_and_purge(home: Home) -> None:
    lab = home.labs / "main"
    _, line = sealed(home, 1)
    sealed(home, 2)
    for did in ("deleted", "undeleted", "deleted", "purged"):
        enact(home, structs.replace(line, did=did))
        assert verify_chain(lab) == [], did
        assert verify_lab(lab) == [], did


def test_a_seal_that_was_altered_in_the_trash_is_found(home: Home) -> None:
    _, line = sealed(home, 1)
    enact(home, line)
    trashed = in_trash(home, line)
    assert trashed is not None
    seal = trashed / "attempts/1/seal.json"
    seal.write_bytes(seal.read_bytes() + b" ")
    (finding,) = verify_chain(home.labs / "main")
    assert finding.problem == "is not the one the chain names"
    seal.unlink()
    (finding,) = verify_chain(home.labs / "main")
    assert finding.problem == "is missing, and the chain names it"


def test_a_folder_that_is_gone_without_a_line_is_found(home: Home) -> None:
    folder, line = sealed(home, 1)
    carry_out(home, line)
    assert not folder.exists()
    (finding,) = verify_chain(home.labs / "main")
    assert "is missing" in finding.problem


def test_the_last_line_holds_and_a_torn_one_is_nothing(home: Home) -> None:
    _, line = sealed(home, 1)
    write_down(home, line)
    write_down(home, structs.replace(line, did="undeleted"))
    path, end = write_down(home, structs.replace(line, did="deleted", by="eve"))
    assert path.name == DELETED
    assert path.stat().st_size == end
    assert last_words(home.labs / "main")[line.run_id].by == "eve"
    with path.open("r+b") as journal:
        journal.truncate(end - 5)
    assert last_words(home.labs / "main")[line.run_id].did == "undeleted"


def test_an_experiment_without_a_folder_leaves_a_line_alone(home: Home) -> None:
    line = Tombstone(did="deleted", run_id="2026-11-20_00000007", at=AT, by="", folder=None, experiment=ended(7))
    enact(home, line)
    enact(home, structs.replace(line, did="purged"))
    assert in_trash(home, line) is None


def test_a_purge_removes_what_its_script_had_closed_and_counts_what_it_frees(home: Home, tmp_path: Path) -> None:
    folder, line = sealed(home, 1)
    closed = folder / "outputs/closed/inner"
    closed.mkdir(parents=True)
    before = freed_bytes(folder)
    (closed / "file").write_bytes(bytes(1000))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(bytes(5000))
    (folder / "outputs/shared").hardlink_to(elsewhere)
    assert freed_bytes(folder) == before + 1000
    closed.chmod(0o000)
    closed.parent.chmod(0o500)
    enact(home, line)
    enact(home, structs.replace(line, did="purged"))
    assert list(home.trash.rglob("EXP-*")) == []
    assert elsewhere.stat().st_size == 5000


def test_what_is_shown_of_one_says_so(home: Home) -> None:
    _, line = sealed(home, 1)
    assert (line.shown.folder, line.shown.deleted_at, line.shown.deleted_by) == (None, AT, "ada")
    assert not line.shown.is_purged
    assert structs.replace(line, did="purged").shown.is_purged
