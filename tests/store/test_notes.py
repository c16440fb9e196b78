"""Notes on disk: durable, each line for itself, and in one place at last."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labrun.core.line import encode_line
from labrun.core.narrative import Annotation, Told
from labrun.store.folder import Folder
from labrun.store.home import Home, init_home
from labrun.store.notes import add_notes, move_into, places, read_told, waiting_notes

AT = datetime(2026, 11, 21, tzinfo=UTC)
RUN = "2026-11-21_abcdefgh"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return init_home(tmp_path / "lab")


@pytest.fixture
def folder(home: Home) -> Folder:
    found = Folder(home.labs / "main/2026-11/EXP-001-x")
    found.path.mkdir(parents=True)
    return found


def note(text: str) -> Annotation:
    return Annotation(at=AT, author="ada", text=text)


def texts(*paths: Path) -> list[str]:
    return [each.text for each in read_told(*paths).annotations]


def test_where_nothing_was_said_nothing_is_told(home: Home, folder: Folder) -> None:
    assert read_told(*places(home, RUN, folder)) == Told()


def test_notes_wait_in_the_home_until_there_is_a_folder(home: Home, folder: Folder) -> None:
    add_notes(home, RUN, None, (note("early"), note("too")))
    assert texts(*places(home, RUN, None)) == ["early", "too"]
    move_into(home, RUN, folder)
    move_into(home, RUN, folder)
    assert texts(folder.notes) == ["early", "too"]
    assert not waiting_notes(home, RUN).exists()
    assert (home.store / "notes").stat().st_mode & 0o777 == 0o700


def test_a_note_written_beside_a_folder_that_has_just_come_joins_the_others(home: Home, folder: Folder) -> None:
    add_notes(home, RUN, folder, (note("there"),))
    add_notes(home, RUN, None, (note("late"),))
    assert texts(*places(home, RUN, folder)) == ["there", "late"], "shown before it was moved"
    move_into(home, RUN, folder)
    assert texts(*places(home, RUN, folder)) == texts(folder.notes) == ["there", "late"]


def test_a_move_that_a_crash_cut_short_doubles_nothing(home: Home, folder: Folder) -> None:
    for place in (folder, None):
        add_notes(home, RUN, place, (note("same"),))
    assert texts(*places(home, RUN, folder)) == ["same"]
    move_into(home, RUN, folder)
    assert texts(folder.notes) == ["same"]


def test_an_altered_line_hides_no_other_and_is_counted(home: Home, folder: Folder) -> None:
    for text in ("one", "two", "three"):
        add_notes(home, RUN, folder, (note(text),))
    altered = folder.notes.read_bytes().replace(b"two", b"TWO")
    folder.notes.write_bytes(altered)
    add_notes(home, RUN, folder, (note("four"),))
    assert texts(folder.notes) == ["one", "three", "four"]
    assert read_told(folder.notes).unreadable == 1
    assert b"TWO" in folder.notes.read_bytes(), "it stays for people to look at"


@pytest.mark.parametrize("cut", range(1, len(encode_line(note("last")))))
def test_a_line_torn_anywhere_is_cut_off_and_the_next_one_is_whole(home: Home, folder: Folder, cut: int) -> None:
    add_notes(home, RUN, folder, (note("first"), note("last")))
    whole = folder.notes.read_bytes()
    folder.notes.write_bytes(whole[:-cut])
    # cut by its newline alone, it still fits its checksum
    assert texts(folder.notes)[0] == "first"
    add_notes(home, RUN, folder, (note("next"),))
    assert texts(folder.notes)[0] == "first"
    assert texts(folder.notes)[-1] == "next"
    assert read_told(folder.notes).unreadable == 0


def test_writers_in_many_threads_lose_and_mix_nothing(home: Home, folder: Folder) -> None:
    def write(number: int) -> None:
        for i in range(20):
            add_notes(home, RUN, folder if i % 2 else None, (note(f"{number}.{i}"),))
            move_into(home, RUN, folder)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(folder.notes)) == sorted(f"{number}.{i}" for number in range(4) for i in range(20))
    assert not waiting_notes(home, RUN).exists()


def test_a_folder_that_is_gone_is_not_made_again(home: Home, folder: Folder) -> None:
    folder.path.rmdir()
    with pytest.raises(FileNotFoundError):
        add_notes(home, RUN, folder, (note("x"),))
    assert not folder.path.exists()


def test_what_a_script_put_in_the_place_of_the_notes_holds_nobody_up(home: Home, folder: Folder) -> None:
    os.mkfifo(folder.notes)
    assert read_told(folder.notes) == Told()
    folder.notes.unlink()
    folder.notes.mkdir()
    assert read_told(folder.notes) == Told(unreadable=1)
    with pytest.raises(OSError, match="directory"):
        add_notes(home, RUN, folder, (note("x"),))
