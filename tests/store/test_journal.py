import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.events import CancelRequested, Checked, Damaged, Event
from labrun.core.line import encode_line
from labrun.store.journal import Damage, Journal

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EVENTS: list[Event] = [
    CancelRequested(at=AT, by="ada\nlovelace"),
    Damaged(at=AT + timedelta(seconds=1), what="läuft", kept="3 events"),
    Checked(at=AT + timedelta(seconds=2), attempt=1, artifact_count=2, artifact_bytes=2**40),
    CancelRequested(at=AT + timedelta(seconds=3), by='quote " and ,"crc":"00000000"}'),
]
LINES = [encode_line(event) for event in EVENTS]
CONTENT = b"".join(LINES)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "events.jsonl"


def journal_of(path: Path, content: bytes) -> Journal:
    path.write_bytes(content)
    return Journal(path)


# --- reading back


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert journal.append(*EVENTS[:2]) == len(LINES[0] + LINES[1])
    assert journal.append(*EVENTS[2:], sync=True) == len(CONTENT)
    assert Journal(journal.path).read(Event) == (EVENTS, None)
    assert journal.path.read_bytes() == CONTENT


def test_a_missing_or_empty_journal_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert journal.read(Event) == ([], None)
    assert journal.read_raw() == []
    assert not journal.path.exists()
    journal.path.touch()
    assert journal.read(Event) == ([], None)


@pytest.mark.parametrize("count", range(len(LINES) + 1))
def test_reading_goes_on_from_any_line(scratch: Path, count: int) -> None:
    offset = len(b"".join(LINES[:count]))
    values, damage, end = journal_of(scratch, CONTENT).read_from(offset, Event)
    assert (values, damage, end) == (EVENTS[count:], None, len(CONTENT))


def test_reading_from_the_middle_of_a_line_is_damage(scratch: Path) -> None:
    values, damage, end = journal_of(scratch, CONTENT).read_from(5, Event)
    assert values == []
    assert damage is not None
    assert end == 5


def test_raw_lines_are_as_in_the_file_without_checksums(scratch: Path) -> None:
    raw = journal_of(scratch, CONTENT + b'{"event":"torn"').read_raw()
    assert [line["event"] for line in raw] == ["cancel_requested", "damaged", "checked", "cancel_requested"]
    assert not any("crc" in line for line in raw)


# --- damage


@given(st.integers(0, len(CONTENT)))
def test_cutting_a_journal_anywhere_loses_at_most_its_last_event(scratch: Path, length: int) -> None:
    journal = journal_of(scratch, CONTENT[:length])
    values, damage = journal.read(Event)
    whole = sum(length >= len(b"".join(LINES[: i + 1])) for i in range(len(LINES)))
    assert values == EVENTS[:whole]
    offset = len(b"".join(LINES[:whole]))
    assert damage == (None if length == offset else Damage(str(scratch), offset, length - offset, is_torn_tail=True))
    journal.append(EVENTS[0])
    assert Journal(scratch).read(Event) == ([*EVENTS[:whole], EVENTS[0]], None)
    assert not scratch.with_name("events.jsonl.damaged").exists()


@given(st.integers(0, len(CONTENT) * 8 - 1))
def test_flipping_any_bit_is_detected(scratch: Path, bit: int) -> None:
    flipped = bytearray(CONTENT)
    flipped[bit // 8] ^= 1 << bit % 8
    values, damage = journal_of(scratch, bytes(flipped)).read(Event)
    whole = sum(bit // 8 >= len(b"".join(LINES[: i + 1])) for i in range(len(LINES)))
    assert damage is not None
    assert values == EVENTS[:whole]
    assert damage.offset == len(b"".join(LINES[:whole]))


@given(st.integers(0, len(CONTENT) - 1), st.binary(min_size=1, max_size=60))
def test_overwritten_bytes_are_detected(scratch: Path, at: int, garbage: bytes) -> None:
    content = CONTENT[:at] + garbage + CONTENT[at + len(garbage) :]
    values, damage = journal_of(scratch, content).read(Event)
    assert values == EVENTS[: len(values)]
    assert damage is not None or content == CONTENT


def test_a_line_of_an_event_nobody_knows_is_damage_and_not_skipped(scratch: Path) -> None:
    strange = encode_line({"event": "teleported", "at": "2026-11-20T12:00:00Z"})
    values, damage = journal_of(scratch, LINES[0] + strange + LINES[1]).read(Event)
    assert values == EVENTS[:1]
    assert damage == Damage(str(scratch), len(LINES[0]), len(strange + LINES[1]), is_torn_tail=False)
    assert "damaged line of events.jsonl at byte" in str(damage)


def test_appending_after_damage_in_the_middle_keeps_the_rest_aside(tmp_path: Path) -> None:
    bad = LINES[1].replace(b"3 events", b"4 events")
    journal = journal_of(tmp_path / "events.jsonl", LINES[0] + bad + LINES[2])
    assert journal.read(Event)[1] is not None
    assert journal.path.read_bytes() == LINES[0] + bad + LINES[2], "reading changes nothing"
    journal.append(EVENTS[3])
    assert Journal(journal.path).read(Event) == ([EVENTS[0], EVENTS[3]], None)
    assert (tmp_path / "events.jsonl.damaged").read_bytes() == bad + LINES[2]


@pytest.mark.parametrize("tail", [b'{"event":', b"\0" * 5000, LINES[2][:-1], LINES[2].replace(b"2", b"3", 1)])
def test_appending_without_reading_cuts_a_torn_last_line(tmp_path: Path, tail: bytes) -> None:
    journal = journal_of(tmp_path / "events.jsonl", LINES[0] + tail)
    journal.append(EVENTS[1])
    assert Journal(journal.path).read(Event) == (EVENTS[:2], None)


def test_a_last_line_longer_than_a_block_is_found(tmp_path: Path) -> None:
    long = Damaged(at=AT, what="x" * 200_000, kept="")
    journal = journal_of(tmp_path / "events.jsonl", LINES[0] + encode_line(long))
    journal.append(EVENTS[1])
    assert Journal(journal.path).read(Event)[0] == [EVENTS[0], long, EVENTS[1]]


def test_a_restarted_journal_is_empty_and_the_old_one_is_kept(tmp_path: Path) -> None:
    journal = journal_of(tmp_path / "events.jsonl", b"garbage\n")
    journal.restart()
    journal.append(EVENTS[0])
    assert Journal(journal.path).read(Event) == (EVENTS[:1], None)
    assert (tmp_path / "events.jsonl.damaged").read_bytes() == b"garbage\n"


def test_a_journal_that_is_not_there_can_be_restarted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.restart()
    journal.append(EVENTS[0])
    assert journal.read(Event) == (EVENTS[:1], None)


# --- writing


def test_what_does_not_fit_on_the_disk_is_not_there_in_parts(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        journal = Journal(disk / "events.jsonl")
        journal.append(EVENTS[0])
        with pytest.raises(OSError, match="No space left"):
            journal.append(*[Damaged(at=AT, what="x" * 1000, kept="")] * 100)
        assert journal.path.read_bytes() == LINES[0]
        journal.append(EVENTS[1])
        assert journal.read(Event) == (EVENTS[:2], None)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_vanished_folder_is_an_error_and_not_a_new_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "gone" / "events.jsonl").append(EVENTS[0])


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from labrun.store.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
journal = Journal(path)
journal.append({"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, -1))
try:
    journal.append({"n": 2}, {"n": 3})
except OSError:
    print("refused", path.stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
journal.append({"n": 4})
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_what_could_not_be_cut_off_is_cut_off_by_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=ftruncate", "-e", "inject=ftruncate:error=EIO:when=1"]
    done = subprocess.run([*command, sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = len(encode_line({"n": 1}))
    assert done.stdout == b"refused %d\n" % (kept + 40), "a part of what was refused stayed, a whole line of it too"
    assert Journal(path).read(dict) == ([{"n": 1}, {"n": 4}], None)
