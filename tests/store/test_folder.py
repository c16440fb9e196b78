from pathlib import Path

import pytest

from labrun.store.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "labs/main/2026-11/EXP-001-planck")


def test_a_folder_is_made_whole_and_may_be_made_again(folder: Folder) -> None:
    folder.create()
    (folder.outputs / "result.txt").write_text("kept")
    assert folder.create() == folder
    assert sorted(path.name for path in folder.path.iterdir()) == ["attempts", "outputs", "work"]
    assert (folder.outputs / "result.txt").read_text() == "kept"
    assert [path.name for path in folder.month.iterdir()] == ["EXP-001-planck"]


def test_what_a_crash_left_half_made_is_taken_up_again(folder: Folder) -> None:
    half = folder.path.with_name(".creating-EXP-001-planck")
    (half / "work").mkdir(parents=True)
    folder.create()
    assert folder.outputs.is_dir()
    assert not half.exists()


def test_a_folder_that_lost_its_parts_gets_them_again(folder: Folder) -> None:
    folder.path.mkdir(parents=True)
    folder.create()
    assert folder.work.is_dir()


def test_a_file_in_its_place_is_an_error_and_stays(folder: Folder) -> None:
    folder.month.mkdir(parents=True)
    folder.path.write_text("not ours")
    with pytest.raises(OSError):
        folder.create()
    assert folder.path.read_text() == "not ours"


def test_it_knows_its_lab_and_its_home(folder: Folder, tmp_path: Path) -> None:
    assert folder.home == tmp_path
    assert folder.lab == tmp_path / "labs/main"
    assert folder.relative == "labs/main/2026-11/EXP-001-planck"


def test_an_attempt_begins_with_empty_logs_and_keeps_what_is_there(folder: Folder) -> None:
    attempt = folder.create().attempt(2).create()
    assert attempt.path == folder.path / "attempts/2"
    assert (attempt.stdout.read_bytes(), attempt.stderr.read_bytes()) == (b"", b"")
    attempt.stdout.write_text("line\n")
    assert folder.attempt(2).create().stdout.read_text() == "line\n"


def test_attempts_are_counted_by_their_folders(folder: Folder) -> None:
    assert folder.numbers() == []
    folder.create()
    for number in (10, 2, 1):
        folder.attempt(number).create()
    (folder.attempts / "notes").mkdir()
    assert folder.numbers() == [1, 2, 10]
