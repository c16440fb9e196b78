from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.line import encode_line
from labrun.store.log_index import Gap, LogIndex


def written(path: Path, *lines: dict[str, object] | bytes) -> LogIndex:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else encode_line(line) for line in lines))
    return LogIndex(path)


LINES = [{"t": 1000.0 + second, "stdout": 10 * second, "stderr": second} for second in range(1, 5001)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LogIndex:
    return written(tmp_path_factory.mktemp("index") / "log.idx", *LINES)


def test_a_missing_or_empty_index_knows_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / "empty"):
        if path.name == "empty":
            path.touch()
        assert LogIndex(path).sizes_at(1e9) == {"stdout": 0, "stderr": 0}
        assert LogIndex(path).marks("stdout", 0, 100, 10) == []
        assert LogIndex(path).gap("stdout") is None


@pytest.mark.parametrize("second", [1, 2, 17, 2500, 4999, 5000])
def test_sizes_are_found_by_time(index: LogIndex, second: int) -> None:
    assert index.sizes_at(1000.0 + second) == {"stdout": 10 * second, "stderr": second}
    assert index.sizes_at(1000.5 + second) == {"stdout": 10 * second, "stderr": second}


def test_before_the_first_line_nothing_was_written_and_after_the_last_all(index: LogIndex) -> None:
    assert index.sizes_at(0.0) == {"stdout": 0, "stderr": 0}
    assert index.sizes_at(1e12) == {"stdout": 50_000, "stderr": 5_000}


@pytest.mark.parametrize("begin", [0, 1, 10, 11, 24_999, 25_000, 49_999])
def test_a_part_of_a_log_knows_when_it_was_written(index: LogIndex, begin: int) -> None:
    marks = index.marks("stdout", begin, begin + 25, 10)
    assert marks[0] == ((begin // 10 + 1) * 10, 1001.0 + begin // 10)
    assert all(before[0] < after[0] for before, after in pairwise(marks))
    assert marks[-1][0] >= min(begin + 25, 50_000)


def test_no_more_moments_are_told_than_asked_for(index: LogIndex) -> None:
    assert index.marks("stderr", 0, 5000, 3) == [(1, 1001.0), (2, 1002.0), (3, 1003.0)]


def test_seconds_in_which_only_the_other_stream_grew_are_left_out(tmp_path: Path) -> None:
    lines = [{"t": float(second), "stdout": 7, "stderr": second} for second in range(1, 100)]
    assert written(tmp_path / "log.idx", *lines).marks("stdout", 0, 7, 50) == [(7, 1.0)]


def test_the_gap_is_the_one_cut_last(tmp_path: Path) -> None:
    def cut(size: int) -> dict[str, object]:
        return {"t": 1.0, "stdout": 9, "stderr": 9, "gaps": [{"stream": "stdout", "offset": 50, "size": size}]}

    found = written(tmp_path / "log.idx", *LINES[:3000], cut(10), cut(20), *LINES[3000:])
    assert found.gap("stdout") == Gap("stdout", 50, 20)
    assert Gap("stdout", 50, 20).end == 70
    assert found.gap("stderr") is None


@pytest.mark.parametrize("damage", [b'{"t": 12', b"\n\n\n", b"\xff" * 300 + b"\n", b"x" * 200_000 + b"\n"])
def test_damaged_lines_are_passed_over(tmp_path: Path, damage: bytes) -> None:
    whole = damage if damage.endswith(b"\n") else damage + b"\n"
    found = written(tmp_path / "log.idx", *LINES[:40], whole, *LINES[40:80], damage)
    assert found.sizes_at(1020.0) == {"stdout": 200, "stderr": 20}
    assert found.sizes_at(1e9)["stdout"] == (0 if len(damage) > 100_000 else 800), "in doubt everything is shown"
    assert (800, 1080.0) in found.marks("stdout", 0, 800, 100)
    assert found.gap("stdout") is None


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(0, 3000))
def test_looking_up_by_halves_finds_what_reading_all_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], begin: int
) -> None:
    sizes = [sum(steps[: number + 1]) for number in range(len(steps))]
    lines = [{"t": float(number), "stdout": size, "stderr": 0} for number, size in enumerate(sizes)]
    found = written(tmp_path_factory.getbasetemp() / "log.idx", *lines)
    expected = [(size, float(number)) for number, size in enumerate(sizes) if size > begin]
    firsts = [pair for at, pair in enumerate(expected) if at == 0 or expected[at - 1][0] != pair[0]]
    assert found.marks("stdout", begin, 10**9, 10**9) == firsts
    assert found.sizes_at(begin / 30)["stdout"] == (sizes[min(int(begin / 30), len(sizes) - 1)] if sizes else 0)
