from hypothesis import given
from hypothesis import strategies as st

from labrun.cli.again import aligned, side_by_side

lines = st.lists(st.text("ab-= ", max_size=3), max_size=8)


def test_changed_words_stand_beside_each_other() -> None:
    rows = aligned(["py", "t.py", "--lr", "0.1", "a b"], ["py", "t.py", "--lr", "0.2", "--new", "a b"])
    assert rows == [
        ("py", " ", "py"),
        ("t.py", " ", "t.py"),
        ("--lr", " ", "--lr"),
        ("0.1", "|", "0.2"),
        ("", ">", "--new"),
        ("'a b'", " ", "'a b'"),
    ]


@given(lines, lines)
def test_no_word_is_lost_on_either_side(before: list[str], after: list[str]) -> None:
    rows = aligned(before, after)
    assert len([left for left, mark, _ in rows if mark != ">"]) == len(before)
    assert len([right for _, mark, right in rows if mark != "<"]) == len(after)
    assert all(mark == " " for left, mark, right in rows if left == right and left)


def test_control_characters_are_shown_and_do_nothing() -> None:
    assert aligned(["\x1b[2J"], ["\x1b[2J"]) == [(r"'\x1b[2J'", " ", r"'\x1b[2J'")]


def test_two_columns_fit_a_narrow_terminal() -> None:
    rows = aligned(["x" * 50, "short"], ["y" * 50, "short"])
    lines = side_by_side(rows, 40)
    assert max(map(len, lines)) <= 40
    assert lines[0] == "x" * 17 + "… | " + "y" * 18 + "…"
    assert side_by_side(rows, None)[0] == f"{'x' * 50} | {'y' * 50}", "a pipe gets everything"
