from hypothesis import given
from hypothesis import strategies as st

from labrun.cli.table import cells, hang, shorten, table, visible, wrap


@given(st.text())
def test_what_is_shown_can_never_steer_a_terminal(text: str) -> None:
    shown = visible(text)
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)
    if text.isprintable():
        assert shown == text


def test_newline_escape_and_direction_marks_are_shown_and_emoji_are_left_alone() -> None:
    assert visible("a\nb\x1b[31m\u202e") == r"a\nb\x1b[31m\u202e"
    assert visible("fit 👩‍🔬 ✓") == "fit 👩‍🔬 ✓"


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40), st.integers(0, 40))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert cells(shorten(text, width)) <= width


def test_columns_stand_under_each_other_also_with_wide_characters() -> None:
    lines = table([["EXP-001", "日本", "x"], ["EXP-1000", "fit", "y"]], None)
    assert lines == ["EXP-001   日本  x", "EXP-1000  fit   y"]


def test_a_long_name_does_not_push_the_other_columns_out() -> None:
    (line,) = table([["EXP-001", "n" * 200, "python train.py"]], 80)
    assert cells(line) <= 80
    assert line.startswith("EXP-001  nnn")
    assert "python train.py" in line


@given(
    st.lists(st.lists(st.text("ab日🧪 ", max_size=30), min_size=5, max_size=5), min_size=1, max_size=4),
    st.integers(40, 200),
    st.lists(st.sampled_from([1, 2, 3]), unique=True),
)
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], width: int, spare: list[int]) -> None:
    rows = [["EXP-001", *row] for row in rows]
    for line in table(rows, width, indent=2, spare=spare):
        assert cells(line) <= width
        assert line.startswith("  EXP-001")


def test_where_it_is_narrow_spare_columns_give_way_first() -> None:
    row = ["EXP-001", "succeeded", "12 min ago", "3.2 s", "a long name", "python train.py"]
    assert table([row], 80, spare=(3, 2)) == ["  ".join(row)]
    assert table([row], 48, spare=(3, 2)) == ["EXP-001  succeeded  a long name  python train.py"]
    assert table([row], 60, spare=(3, 2)) == ["EXP-001  succeeded  12 min ago  3.2 s  a long name  python …"]
    assert table([row], 40) == ["EXP-001  suc…  12 …  3.2 s  a lo…  pyth…"]


def test_without_a_terminal_nothing_is_shortened() -> None:
    (line,) = table([["EXP-001", "n" * 200, "c" * 500]], None)
    assert "n" * 200 in line
    assert line.endswith("c" * 500)


def test_colour_is_added_after_the_widths_are_known() -> None:
    lines = table([["a", "b"], ["long", "b"]], None, lambda row, column, text: f"<{text}>" if column == 0 else text)
    assert lines == ["<a   >  b", "<long>  b"]


@given(st.text("ab/ 日", max_size=80), st.integers(3, 30))
def test_wrapped_text_fits_and_lacks_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_wraps_at_spaces_and_a_path_behind_a_slash() -> None:
    assert wrap("in /home/ada/lab/labs/main", 12) == ["in", "/home/ada/", "lab/labs/", "main"]
    assert hang("where  in /home/ada/lab", 16, 7) == ["where  in", "       /home/", "       ada/lab"]
    assert hang("where  /home/ada/lab", 16, 7) == ["where  /home/ada/lab"], "whole, to be copied"
    assert hang("where  /home/ada/lab", None, 7) == ["where  /home/ada/lab"]


def test_a_last_column_may_be_wrapped_or_told_below() -> None:
    row = ["EXP-001", "fit", "#1, the exclusive slot is taken; running: EXP-002"]
    assert table([row], 80, last_lines=4) == ["  ".join(row)], "it fits"
    wide = ["EXP-001  fit  #1, the exclusive slot", "              is taken; running:", "              EXP-002"]
    assert table([row], 38, last_lines=4) == wide
    long = ["EXP-001", "n" * 22, "m" * 15, "python train.py --learning-rate 0.001 --epochs 100 --data data/planck"]
    assert table([long], 80, last_lines=4)[1:] == ["  " + long[3]], "below it is one line, beside it would be three"
    narrow = ["  EXP-001  fit", "    #1, the exclusive slot is", "    taken; running: EXP-002"]
    assert table([row], 32, indent=2, last_lines=4) == narrow
    attempt = ["1", "2026-11-21 12:03:19", "0.0 s", "killed"]
    assert table([attempt], 30, last_lines=4) == ["1  2026-11-21 12:03:19  0.0 s", "  killed"], (
        "no column is cut for it"
    )
    assert table([row], 32, indent=2, last_lines=2) == [*narrow[:1], narrow[1], "    taken; running: EXP-002"]
    assert table([[*row[:2], "word " * 40]], 32, last_lines=2)[-1].endswith("…")


@given(
    st.lists(st.lists(st.text("ab日/ ", max_size=60), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(40, 200),
)
def test_no_line_of_a_table_that_wraps_is_wider_than_the_terminal(rows: list[list[str]], width: int) -> None:
    rows = [["EXP-001", *row] for row in rows]
    lines = table(rows, width, indent=2, last_lines=1000, spare=(1,))
    assert all(cells(line) <= width for line in lines)
    told = "".join(lines).replace(" ", "")
    assert all(row[-1].replace(" ", "") in told for row in rows), "nothing of the last column is cut"
