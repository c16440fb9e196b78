import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from labrun.core.line import encode_line
from labrun.store.folder import AttemptFolder, Folder
from labrun.wire.responses import Experiment, LogHeader
from labrun.worker.logs import FileWatch, LogQuery, LogReader
from labrun.worker.present import view
from tests.worker.test_floor import opened


class Logs:
    """The logs of an experiment that is over."""

    def __init__(self, root: Path) -> None:
        folder = Folder(root / "labs/main/2026-11/EXP-007-planck").create()
        self.here: AttemptFolder = folder.attempt(1).create()
        shown = view(opened(7).story, folder=str(folder.path), is_sealed=True)
        self.experiment: Experiment = structs.replace(shown, attempt=1)

    def index(self, *lines: dict[str, object]) -> None:
        self.here.log_index.write_bytes(b"".join(map(encode_line, lines)))

    def read(self, stdout: int | None = 0, stderr: int | None = None, **query: Any) -> tuple[bytes, LogHeader]:
        asked = LogQuery(stdout, stderr, **query)
        return asyncio.run(LogReader(FileWatch()).read(self.experiment, asked))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


HEAD, LOST, TAIL = b"head\n" * 20_000, 2**20, b"tail\n" * 20_000


@pytest.fixture
def cut(logs: Logs) -> Logs:
    """A log over its quota, as the supervisor leaves it: the middle is a hole."""
    with logs.here.stdout.open("wb") as log:
        log.write(HEAD)
        log.truncate(len(HEAD) + LOST)
        log.seek(0, os.SEEK_END)
        log.write(TAIL)
    gap = {"stream": "stdout", "offset": len(HEAD), "size": LOST}
    logs.index({"t": 5.0, "stdout": len(HEAD) + LOST + len(TAIL), "stderr": 0, "gaps": [gap]})
    return logs


def test_a_gap_is_passed_over_and_named_where_it_is(cut: Logs) -> None:
    seen, offset, gaps = b"", 0, []
    while True:
        body, header = cut.read(stdout=offset, limit_bytes=30_000)
        gaps += [(gap.stream, gap.offset, gap.size, len(seen)) for gap in header.gaps]
        seen, offset = seen + body, header.stdout
        if header.is_over:
            break
    assert seen == HEAD + TAIL
    assert gaps == [("stdout", len(HEAD), LOST, len(HEAD))]
    assert offset == len(HEAD) + LOST + len(TAIL)


def test_who_stands_inside_a_gap_that_grew_is_told_what_he_misses(cut: Logs) -> None:
    body, header = cut.read(stdout=len(HEAD) + 1000, limit_bytes=5)
    assert body == b"tail\n"
    assert (header.gaps[0].offset, header.gaps[0].size) == (len(HEAD) + 1000, LOST - 1000)
    assert header.segments[0].offset == len(HEAD) + LOST


def test_the_other_stream_and_the_end_know_of_no_gap(cut: Logs) -> None:
    cut.here.stderr.write_bytes(b"warning\n")
    assert cut.read(stdout=None, stderr=0)[1].gaps == ()
    body, header = cut.read(tail_lines=2)
    assert (body, header.gaps) == (b"tail\ntail\n", ())


def test_a_sparse_log_without_a_gap_is_given_as_it_is(logs: Logs) -> None:
    with logs.here.stdout.open("wb") as log:
        log.truncate(2**20)
    body, header = logs.read(limit_bytes=2**20)
    assert (body, header.gaps, header.is_over) == (bytes(2**20), (), True)


@pytest.fixture
def timed(logs: Logs) -> Logs:
    """A line of ten bytes every second from second 101 on."""
    logs.here.stdout.write_bytes(b"".join(b"line %04d\n" % number for number in range(1, 1001)))
    logs.index(*({"t": 100.0 + second, "stdout": 10 * second, "stderr": 0} for second in range(1, 991)))
    os.utime(logs.here.stdout, (5000.0, 5000.0))
    return logs


def test_since_begins_with_the_line_that_was_under_way(timed: Logs) -> None:
    assert timed.read(since=100.0)[0].startswith(b"line 0001")
    assert timed.read(since=150.0)[0].startswith(b"line 0051")
    assert timed.read(since=0.0)[0].startswith(b"line 0001")
    assert timed.read(since=2000.0)[0].startswith(b"line 0991"), "the index does not know it, the file's time does"
    assert timed.read(since=1e9)[0] == b""
    timed.index({"t": 101.0, "stdout": 14, "stderr": 0})
    assert timed.read(since=200.0)[0].startswith(b"line 0002")


def test_of_two_ways_to_begin_the_later_place_counts(timed: Logs) -> None:
    assert timed.read(since=150.0, tail_lines=3)[0].count(b"\n") == 3
    assert timed.read(since=1050.0, tail_lines=300)[0].startswith(b"line 0951")
    assert timed.read(tail_bytes=20, tail_lines=300)[0] == b"line 0999\nline 1000\n"


def test_times_come_on_request_and_fit_into_a_header(timed: Logs) -> None:
    assert timed.read()[1].times == ()
    body, header = timed.read(has_times=True)
    assert len(header.times) == 200, "a piece with more moments is cut shorter"
    assert len(body) == header.times[-1].end == 2000
    assert [(one.end, one.written) for one in header.times[:2]] == [(10, 101.0), (20, 102.0)]
    body, header = timed.read(stdout=9870, has_times=True)
    assert [(one.stream, one.end, one.written) for one in header.times] == [
        ("stdout", 9880, 1088.0),
        ("stdout", 9890, 1089.0),
        ("stdout", 9900, 1090.0),
        ("stdout", 10_000, 5000.0),
    ], "what came after the last line of the index was written when the file was"


def test_without_an_index_the_file_says_when(logs: Logs) -> None:
    logs.here.stdout.write_bytes(b"only\n")
    os.utime(logs.here.stdout, (7.0, 7.0))
    assert [(one.end, one.written) for one in logs.read(has_times=True)[1].times] == [(5, 7.0)]
    assert logs.read(since=3.0)[0] == b"only\n"
