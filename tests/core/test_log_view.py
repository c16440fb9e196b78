import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from tqdm import tqdm

from labrun.core.log_view import ROW_LIMIT, WINDOW, LogView, style_after


def seen(*pieces: bytes, has_colours: bool = False) -> list[str]:
    """Every row of a finished log."""
    view = LogView(has_colours=has_colours)
    rows = []
    for piece in pieces:
        view.feed(piece)
        rows += view.final
    return [row.shown() for row in dict.fromkeys([*rows, *view.finish()])]


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"a\n\n\nb\n", ["a", "", "", "b"]),
        (b"", []),
        (b"\n", [""]),
        (b" 10%\r 20%\r100%\n", ["100%"]),
        (b"long text\rab\n", ["abng text"]),
        (b"long text\r\x1b[Kab\n", ["ab"]),
        (b"long text\r\x1b[2Kab\n", ["ab"]),
        (b"long text\x1b[1K|\n", ["         |"]),
        (b"|/\b-\b\\", ["|\\"]),
        (b"a\tb\n", ["a\tb"]),
        (b"\x1b[5Cx\x1b[2Dy\x1b[3Gz", ["  z yx"]),
        (b"1\n2\n3\n\x1b[2Atwo\x1b[1Bthree\n", ["1", "two", "3  three"]),
        (b"1\n2\n\x1b[2Fone\n\x1b[1Elast", ["one", "2", "last"]),
        (b"1\n2\x1bMup", ["1up", "2"]),
        (b"a\x0bb\x0cc", ["a", "b", "c"]),
        ("naïve ✓ 日本\n".encode(), ["naïve ✓ 日本"]),
        (b"bad \xff byte\n", ["bad � byte"]),
        (b"torn \xe2\x9c", ["torn �"]),
    ],
)
def test_rows_are_what_a_terminal_would_show(written: bytes, rows: list[str]) -> None:
    assert seen(written) == rows
    assert seen(*(written[at : at + 1] for at in range(len(written)))) == rows, "cut anywhere"


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b]0;a title\x07",
        b"\x1b]8;;http://x.example\x1b\\",
        b"\x1bPq#0;2;0;0;0~-\x1b\\",
        b"\x1b[?25l\x1b[?1049h\x1b[?1000h\x1b[>4;1m",
        b"\x1b[6n\x1b[c\x1b[5n",
        b"\x1b[31m\x1b[8m\x1b[5m",
        b"\x1b(B\x1b=\x1b>\x1b7\x1b8",
        b"\x07\x00\x05\x0e\x0f\x7f",
        "\x9d0;title\x9c\x9b31m\x85".encode(),
        "\u202e\u2066\u2069\u2028".encode(),
        b"\x1b[99999999999999999999C",
    ],
)
def test_a_sequence_does_nothing_and_leaves_no_trace(sequence: bytes) -> None:
    (row,) = seen(b"be" + sequence + b"fore\n")
    assert row.replace(" ", "") == "before"


def test_a_title_that_never_ends_costs_the_rest_of_its_line_only() -> None:
    assert seen(b"a\x1b]0;oops\nb\n") == ["a", "b"]


def test_a_sequence_that_never_ends_holds_nothing_back() -> None:
    rows = seen(b"a\x1b[" + b"1;" * 100_000 + b"\nb\n")
    assert rows[0].startswith("a")
    assert rows[-1] == "b"


def test_colours_are_kept_when_wanted_and_end_with_the_row() -> None:
    written = b"\x1b[1;31merror\x1b[0m: no\n\x1b[32mgreen\nstill\n"
    assert seen(written) == ["error: no", "green", "still"]
    assert seen(written, has_colours=True) == [
        "\x1b[0;1;31merror\x1b[0m: no",
        "\x1b[0;32mgreen\x1b[0m",
        "\x1b[0;32mstill\x1b[0m",
    ]


def test_a_coloured_row_that_is_written_over_keeps_the_colours_of_what_is_left() -> None:
    assert seen(b"\x1b[31mredred\x1b[0m\rblu\n", has_colours=True) == ["blu\x1b[0;31mred\x1b[0m"]
    assert seen(b"plain\r\x1b[31mred\x1b[0m\n", has_colours=True) == ["\x1b[0;31mred\x1b[0min"]
    assert seen(b"\x1b[31mred\x1b[2K\rx\n", has_colours=True) == ["\x1b[0;31mx\x1b[0m"]


def test_a_picture_made_of_colours_keeps_its_text() -> None:
    painted = b"".join(b"\x1b[38;5;%dm#" % (number % 256) for number in range(5000))
    (row,) = seen(painted + b"\n", has_colours=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", row) == "#" * 5000


@pytest.mark.parametrize(
    ("style", "words", "after"),
    [("31", "", ""), ("1", "0;4", "4"), ("", "38;2;1;8;5", "38;2;1;8;5"), ("1;" * 30 + "1", "31;32;33", "")],
)
def test_styles_add_up(style: str, words: str, after: str) -> None:
    assert style_after(style, words) == after


def test_a_long_line_goes_on_in_the_next_row_and_loses_nothing() -> None:
    rows = seen(*[b"x" * 50_000] * 10)
    assert "".join(rows) == "x" * 500_000
    assert {len(row) for row in rows[:-1]} == {ROW_LIMIT}


def test_only_the_last_rows_are_held() -> None:
    view = LogView()
    view.feed(b"".join(b"%d\n" % number for number in range(1000)))
    assert len(view.rows) == WINDOW
    assert [row.text for row in view.final] == [str(number) for number in range(1000 - WINDOW + 1)]
    assert all(row.is_final for row in view.final)
    view.feed(b"\x1b[500Atop")
    assert [row.text for row in view.changed] == ["top"], "it goes up to the oldest row held"


def test_a_screen_that_is_cleared_again_and_again_is_one_screen_below_what_came_before() -> None:
    frames = b"".join(b"\x1b[2J\x1b[Hframe %d\nbody %d\n" % (number, number) for number in range(300))
    assert seen(b"starting\n" + frames + b"end\n") == ["starting", "frame 299", "body 299", "end"]
    home = b"".join(b"\x1b[H\x1b[Jframe %d\nbody %d\n" % (number, number) for number in range(300))
    assert seen(b"\x1bc" + home) == ["frame 299", "body 299"]
    assert seen(b"\x1b[2;3Hx\x1b[1;1Hy") == ["y", "  x"]


def test_rows_that_nothing_will_change_are_settled_at_once() -> None:
    view = LogView()
    view.feed(b"one\ntwo\nunder way")
    assert [row.text for row in view.settled()] == ["one", "two"]
    for row in view.settled():
        row.is_told = True
    assert view.settled() == []
    view.feed(b"\n\x1b[1A\r50%\n")
    assert [row.text for row in view.settled()] == [], "this program moves up one row, so the last one waits"
    assert [row.text for row in view.finish()] == ["50%er way"]


def test_rows_know_when_they_were_written_to_last() -> None:
    view = LogView()
    view.feed(b"one\n 10%", 100.0)
    view.feed(b"\r 20%\n", 101.0)
    view.feed(b"\n", 102.0)
    assert [(row.text, row.at) for row in view.rows] == [("one", 100.0), (" 20%", 101.0), ("", 102.0), ("", None)]


def test_nested_bars_of_tqdm_are_one_row_each() -> None:
    log = io.StringIO()
    for _ in tqdm(range(3), file=log, desc="outer", mininterval=0):
        for _ in tqdm(range(40), file=log, desc="inner", mininterval=0, leave=False):
            pass
        tqdm.write("a line", file=log)
    log.write("done\n")
    rows = [row for row in seen(log.getvalue().encode()) if row]
    assert rows[:3] == ["a line"] * 3
    assert [row.split(":")[0] for row in rows[3:]] == ["outer", "done"]
    assert "3/3" in rows[3]


def test_bars_of_rich_are_one_row_each_with_what_was_printed_above() -> None:
    log = io.StringIO()
    with Progress(console=Console(file=log, force_terminal=True, width=80), auto_refresh=False) as progress:
        tasks = [progress.add_task(name, total=50) for name in ("fit", "check")]
        for number in range(50):
            for task in tasks:
                progress.update(task, advance=1)
            progress.refresh()
            if number == 20:
                progress.print("half way, nearly")
    rows = seen(log.getvalue().encode())
    assert rows[0] == "half way, nearly"
    assert [row.split()[0] for row in rows[1:]] == ["fit", "check"]
    assert all("100%" in row for row in rows[1:])


MOVES = [b"\n", b"\r", b"\b", b"\x1b[A", b"\x1b[2A", b"\x1b[B", b"\x1b[3;4H", b"\x1b[H"]
STYLES = [b"\x1b[31m", b"\x1b[0m", b"\x1b[K", b"\x1b[J", b"\x1b[2J"]
PIECES = [b"text", "é✓".encode(), b"\x1b]0;t\x07", b"\x1b", b"\x9b"]
chunks = st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(MOVES + STYLES + PIECES)), max_size=60)


@given(chunks, chunks)
def test_whatever_is_written_the_view_is_inert_bounded_and_the_same_however_it_is_cut(
    first: list[bytes], second: list[bytes]
) -> None:
    whole = b"".join(first + second)
    shown = seen(whole, has_colours=True)
    assert seen(*first, *second, has_colours=True) == shown
    assert seen(b"".join(first), b"".join(second), has_colours=True) == shown
    for row in shown:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", row)
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", plain), row
        assert re.findall(r"\x1b\[[0-9;]*m", row)[-1:] in ([], ["\x1b[0m"]), row
    assert [re.sub(r"\x1b\[[0-9;]*m", "", row).rstrip() for row in shown] == [row.rstrip() for row in seen(whole)]
