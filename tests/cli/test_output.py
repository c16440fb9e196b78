import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from labrun.cli.output import Output, OutputClosed, OutputFailed, fields


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_every_byte_is_written_also_to_a_slow_nonblocking_reader(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    content = os.urandom(1 << 20)
    got: list[bytes] = []

    def read() -> None:
        while sum(map(len, got)) < len(content):
            got.append(os.read(reading, 1000))

    reader = threading.Thread(target=read)
    reader.start()
    Output().raw(writing, content)
    reader.join(30)
    assert b"".join(got) == content


def test_a_reader_who_left_and_a_closed_descriptor_are_told_apart_from_failures(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    with pytest.raises(OutputClosed):
        Output().raw(writing, b"x")
    os.close(writing)
    with pytest.raises(OutputClosed):
        Output().raw(writing, b"x")


def test_a_full_disk_behind_stdout_is_a_failure_with_its_reason() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OutputFailed, match="No space left"):
            Output().raw(full, b"x")
    finally:
        os.close(full)


def test_quiet_silences_talk_but_not_what_went_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.face = "quiet"
    output.say("chatter")
    output.data("data")
    output.problem("not_found", "no experiment `x\n`", "`lab list` shows")
    seen = capfd.readouterr()
    assert seen.out == "data\n"
    assert seen.err == "lab: no experiment `x\\n`\n  `lab list` shows\n"


def test_programs_get_errors_as_json_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.face = "json"
    output.problem("too_big", "é", None, [1])
    seen = capfd.readouterr()
    assert seen.out == '{"error":{"code":"too_big","message":"\\u00e9","hint":null,"details":[1]}}\n'
    assert seen.err == ""


def test_no_colour_without_a_terminal() -> None:
    assert Output(may_colour=True).colour("x", "red") == "x"
    assert Output().width is None


def test_fields_leave_out_what_is_empty_and_indent_what_is_long() -> None:
    assert fields([("what", "a\nb"), ("none", ""), ("w", "c")]) == ["  what  a", "        b", "  w     c"]


def test_errors_with_places_are_listed_line_by_line_and_cannot_steer_a_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    details = [{"at": "e.yaml:1:1", "message": "unknown field `x`"}, {"at": "e.yaml:2:7", "message": "a\nb\x1b[31m"}]
    Output().problem("bad_description", "`e.yaml` has 2 errors", "mend it", details)
    assert capfd.readouterr().err.splitlines() == [
        "lab: `e.yaml` has 2 errors",
        "  e.yaml:1:1: unknown field `x`",
        "  e.yaml:2:7: a\\nb\\x1b[31m",
        "  mend it",
    ]


def test_other_details_are_for_programs(capfd: pytest.CaptureFixture[str]) -> None:
    Output().problem("ambiguous_reference", "`fit` fits 2", None, ["EXP-001", "EXP-002"])
    assert capfd.readouterr().err == "lab: `fit` fits 2\n"
