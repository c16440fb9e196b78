import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.store.log_file import has_holes, line_begin, read_end, read_piece, size_of, tail_begin, written_at


def test_a_missing_log_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "stdout.log"
    assert (read_piece(path, 0, 10), size_of(path), written_at(path)) == (b"", 0, 0.0)
    assert (tail_begin(path, 3), line_begin(path, 0), read_end(path, 10), has_holes(path)) == (0, 0, b"", False)


@pytest.mark.parametrize(
    ("content", "lines", "rest"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 1, b"c"),
        (b"a\n", 2, b"a\n"),
        (b"a\n", 0, b""),
        (b"", 1, b""),
        (b"\n\n", 1, b"\n"),
        (b"x" * 3_000_000 + b"\nlast", 1, b"last"),
        (b"first\n" + b"x" * 3_000_000, 1, b"x" * 3_000_000),
        (b"line\n" * 500_000, 400_000, b"line\n" * 400_000),
    ],
    ids=range(9),
)
def test_last_lines_are_counted_as_tail_does(tmp_path: Path, content: bytes, lines: int, rest: bytes) -> None:
    (path := tmp_path / "log").write_bytes(content)
    assert content[tail_begin(path, lines) :] == rest


@given(st.text(alphabet="a\n", max_size=60), st.integers(0, 10))
def test_any_number_of_last_lines(tmp_path_factory: pytest.TempPathFactory, text: str, lines: int) -> None:
    (path := tmp_path_factory.getbasetemp() / "lines.log").write_text(text)
    kept = text.splitlines(keepends=True)
    assert text[tail_begin(path, lines) :] == "".join(kept[len(kept) - lines :] if lines < len(kept) else kept)


def test_a_line_begins_after_the_newline_before(tmp_path: Path) -> None:
    (path := tmp_path / "log").write_bytes(b"one\ntwo\n" + b"x" * 100_000)
    assert [line_begin(path, offset) for offset in (0, 2, 4, 6, 8, 9, 60_000)] == [0, 0, 4, 4, 8, 8, 8]
    assert line_begin(path, 90_000) == 90_000, "too far back to look for"


def test_the_end_begins_with_a_whole_row(tmp_path: Path) -> None:
    (path := tmp_path / "log").write_bytes(b" 10%\r 20%\r 30%")
    assert read_end(path, 100) == b" 10%\r 20%\r 30%"
    assert read_end(path, 8) == b" 30%"
    assert read_end(path, 3) == b"30%"


def test_a_sparse_log_of_ten_gigabytes_is_read_at_its_end_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        log.truncate(10 * 2**30)
        log.seek(0, os.SEEK_END)
        log.write(b"\nlast but one\nlast\n")
    assert has_holes(path)
    assert size_of(path) - tail_begin(path, 2) == len(b"last but one\nlast\n")
    assert read_end(path, 64) == b"last but one\nlast\n"
