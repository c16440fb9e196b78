import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.line import encode_line
from labrun.core.metrics import Point
from labrun.store.folder import AttemptFolder
from labrun.store.log_index import Mark
from labrun.store.metrics import BLOCK_BYTES, LINE_BYTES, Rejected, Source, decode_lines, read, sources_of


def source(folder: Path, content: bytes | None) -> Source:
    if content is not None:
        (folder / "metrics.jsonl").write_bytes(content)
    return sources_of(AttemptFolder(folder))[0]


def read_all(of: Source, limit_bytes: int = BLOCK_BYTES) -> tuple[list[Point], list[Rejected], int]:
    """Read to the end of a file nobody writes any more."""
    points: list[Point] = []
    rejected: list[Rejected] = []
    offset, has_more = 0, True
    while has_more:
        batch = read(of, offset, limit_bytes=limit_bytes, is_final=True)
        assert batch.next > offset or not batch.has_more, "it goes on without coming on"
        points += batch.points
        rejected += batch.rejected
        offset, has_more = batch.next, batch.has_more
    return points, rejected, offset


def line(name: str, value: object, **more: object) -> bytes:
    return json.dumps({"name": name, "value": value, **more}).encode() + b"\n"


def test_what_is_appended_is_read_from_the_last_position_on(tmp_path: Path) -> None:
    of = source(tmp_path, line("a", 1) + line("a", 2, step=1, time=5.0))
    first = read(of, 0)
    assert first.points == [Point("a", 1), Point("a", 2, 1, 5.0)]
    assert read(of, first.next).points == []
    with of.path.open("ab") as stream:
        stream.write(line("b", 3))
    assert read(of, first.next).points == [Point("b", 3)]


def test_an_unfinished_last_line_waits_for_its_end(tmp_path: Path) -> None:
    whole = line("a", 1) + line("b", 2)
    for cut in range(len(line("a", 1)), len(whole)):
        of = source(tmp_path, whole[:cut])
        batch = read(of, 0)
        assert batch.points == [Point("a", 1)], cut
        of.path.write_bytes(whole)
        assert read(of, batch.next).points == [Point("b", 2)], cut


def test_cut_at_any_byte_a_file_loses_at_most_its_last_line(tmp_path: Path) -> None:
    whole = line("a", 1) + line("b", 2) + line("c", 3)
    for cut in range(len(whole)):
        points, rejected, offset = read_all(source(tmp_path, whole[:cut]))
        complete = whole[:cut].count(b"\n")
        assert [point.name for point in points][:complete] == ["a", "b", "c"][:complete]
        assert len(points) - complete in (0, 1)
        assert len(points) + len(rejected) == complete + (whole[:cut].rpartition(b"\n")[2] != b"")
        assert offset == cut


def test_a_torn_line_in_the_middle_costs_that_line_only(tmp_path: Path) -> None:
    points, rejected, _ = read_all(source(tmp_path, line("a", 1) + b'{"name":"b","va\n' + line("c", 3)))
    assert [point.name for point in points] == ["a", "c"]
    assert str(rejected[0]) == f'byte {len(line("a", 1))}: not JSON: {{"name":"b","va'


def test_a_position_inside_a_line_stands_for_the_next_one(tmp_path: Path) -> None:
    of = source(tmp_path, line("a", 1) + line("b", 2))
    for offset in range(1, len(line("a", 1)) + 1):
        assert read(of, offset).points == [Point("b", 2)]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (b'{"name":"a","value":NaN}', [Point("a", "NaN")]),
        (b'{"name":"a","value":-Infinity,"step":NaN}', [Point("a", "-Infinity")]),
        (b'{"name":"a","value":true}', [Point("a", 1)]),
        (b'{"name":"a","value":1e400}', [Point("a", "Infinity")]),
        (b'{"name":"a","value":1%s}' % (b"0" * 30), [Point("a", 1e30)]),
        (b'{"name":"a","value":1,"step":"x","time":"2026-11-20T12:00:00+00:00"}', [Point("a", 1, None, 1795176000.0)]),
        (b'{"name":"a\\udc80\\u0000","value":1}', [Point("a\\udc80\0", 1)]),
        (b'{"name":"caf\xe9","value":1}', [Point("caf\\udce9", 1)]),
        (b'{"loss":0.5,"acc":1,"step":7}', [Point("loss", 0.5, 7), Point("acc", 1, 7)]),
        (b'  {"name" : "a", "value" : 1}\r', [Point("a", 1)]),
        (b'{"name":"a","value":1,"extra":{"b":[1]}}', [Point("a", 1)]),
    ],
)
def test_lines_people_write_are_understood(tmp_path: Path, text: bytes, points: list[Point]) -> None:
    found, rejected, _ = read_all(source(tmp_path, line("first", 0) + text + b"\n\n" + line("last", 1)))
    assert (found[1:-1], rejected) == (points, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"loss 0.5", "not JSON"),
        (b"\0" * 100, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 20_000, "not JSON"),
        (b"3", "no name and number"),
        (b'{"name":"a","value":"0.5"}', "not a number"),
        (b'{"name":"a","value":null}', "not a number"),
        (b'{"name":"a"}', "not a number"),
        (b'{"name":"a","value":1%s}' % (b"0" * 400), "not a number"),
        (b'{"name":"","value":1}', "no name and number"),
        (b'{"name":"%s","value":1}' % (b"n" * 501), "a name of more than 500 characters"),
        (b'{"name":"a","value":"%s"}' % (b"x" * LINE_BYTES), "a line of more than 65,536 bytes"),
    ],
)
def test_what_is_no_measurement_is_named_and_costs_nothing_else(tmp_path: Path, text: bytes, why: str) -> None:
    points, rejected, _ = read_all(source(tmp_path, line("first", 0) + text + b"\n" + line("last", 1)))
    assert [point.name for point in points] == ["first", "last"]
    assert [(one.why, one.offset) for one in rejected] == [(why, len(line("first", 0)))]
    assert len(str(rejected[0])) < 200


def test_a_line_without_end_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    content = line("first", 0) + b"x" * (3 * BLOCK_BYTES) + b"\n" + line("last", 1)
    points, rejected, _ = read_all(source(tmp_path, content))
    assert [point.name for point in points] == ["first", "last"]
    assert [one.why for one in rejected] == ["a line of more than 65,536 bytes"]
    of = source(tmp_path, b"x" * (2 * BLOCK_BYTES))
    assert read(of, read(of, 0).next).points == []


def test_files_that_are_none_hold_nothing(tmp_path: Path) -> None:
    of = source(tmp_path, None)
    assert read(of, 0) == read(of, 99)
    os.mkfifo(of.path)
    assert read(of, 0).points == []  # and it does not wait for a writer
    of.path.unlink()
    of.path.mkdir()
    assert read(of, 5).points == []
    of.path.rmdir()
    (tmp_path / "elsewhere").write_bytes(line("a", 1))
    of.path.symlink_to(tmp_path / "elsewhere")
    assert read(of, 0).points == [], "a link may lead anywhere"


def test_a_file_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    of = source(tmp_path, line("a", 1) * 10)
    end = read(of, 0).next
    of.path.write_bytes(line("b", 2))
    batch = read(of, end)
    assert (batch.points, batch.next) == ([Point("b", 2)], len(line("b", 2)))


LINES = st.lists(
    st.one_of(
        st.builds(lambda n, v: line(n, v)[:-1], st.text(), st.floats() | st.integers() | st.text()),
        st.binary(max_size=30),
        st.just(b"y" * (LINE_BYTES + 100)),
    ),
    max_size=8,
)


@given(LINES, st.integers(LINE_BYTES, 2 * LINE_BYTES))
def test_blocks_of_any_size_bring_the_same_points(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], limit: int
) -> None:
    of = source(tmp_path_factory.mktemp("m"), b"\n".join(lines))
    assert read_all(of, limit)[0] == read_all(of, 2**24)[0]


@given(st.lists(st.builds(Point, st.text(min_size=1, max_size=9), st.integers(-9, 9) | st.just("NaN")), max_size=9))
def test_decoding_at_once_and_one_by_one_is_the_same(points: list[Point]) -> None:
    lines = b"".join(line(point.name, point.value) for point in points)
    together, alone = decode_lines(lines, 0)[0], decode_lines(lines + b"broken\n", 0)
    assert together == alone[0]
    assert alone[1] == [Rejected(len(lines), "broken", "not JSON")]


def test_output_is_read_too_when_that_was_asked_for(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    folder.stdout.write_bytes(b"epoch 1: loss 0.5\n 10%|# | loss 0.4\r 20%|##| lo")
    folder.stderr.write_bytes(b"warning: loss 9 \xff\n")
    own, out, err = sources_of(folder, "loss {loss}")
    assert read(own, 0).points == []
    assert [point.value for point in read(out, 0).points] == [0.5, 0.4]
    assert [point.value for point in read(err, 0).points] == [9]
    assert len(sources_of(folder, "no pattern")) == 1, "whatever the spec says, the rest can be read"


PRINTED = st.lists(st.lists(st.sampled_from(["a=1 ", "b=2 ", "x ", "\n", "\r"]), max_size=5), max_size=6)


@given(pieces=PRINTED, limit=st.integers(1, 40))
def test_a_printed_point_has_the_time_at_which_its_line_was_finished(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[str]], limit: int
) -> None:
    folder = AttemptFolder(tmp_path_factory.mktemp("printed"))
    rest, marks, expected = "", b"", list[tuple[str, float]]()
    texts = list(map("".join, pieces))
    for second, text in enumerate(texts, start=1):
        *whole, rest = re.split("[\r\n]", rest + text)
        expected += [(name, second) for each in whole for name in dict.fromkeys(re.findall("([ab])=", each))]
        marks += encode_line(Mark(float(second), len("".join(texts[:second]))))
    last = max((second for second, text in enumerate(texts, start=1) if text), default=0)
    expected += [(name, last) for name in dict.fromkeys(re.findall("([ab])=", rest))]
    folder.stdout.write_text("".join(texts), newline="")
    folder.log_index.write_bytes(marks)
    points, _, _ = read_all(sources_of(folder, "key=value")[1], limit)
    assert [(point.name, point.time) for point in points] == expected


def test_a_printed_point_whose_time_is_not_noted_yet_or_was_given_keeps_that(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    folder.stdout.write_text('{"name":"a","value":1,"time":7}\n{"name":"b","value":2}\n{"name":"c","value":3}\n')
    folder.log_index.write_bytes(encode_line(Mark(5.0, 56, 0)))
    points, _, _ = read_all(sources_of(folder, "json")[1])
    assert [(point.name, point.time) for point in points] == [("a", 7.0), ("b", 5.0), ("c", None)]
