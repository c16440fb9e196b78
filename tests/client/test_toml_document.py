import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.client.document import NODE_LIMIT, Place, Unreadable, paths
from labrun.client.toml_document import read_toml

SAMPLE = '''\
# a comment with [brackets] and = signs
title = "a \\"quoted\\" ] # word"
lines = """
[not.a.table]
x = 1 \\""" still inside"""""
raw = \'\'\'C:\\path = ['one' ''two\'\'\'\'
"quoted name" . 'another' = +1_000
numbers = [ 0x1F, 1.10,  # with a comment ]
  [-0.5e3, inf], { a = 1, "b c" = [ ] }, ]
when = 1979-05-27 07:32:00.5 # a space within

[table."dotted . name"]
on = true
[[runs]]
seed = 1
[runs.env]
A = "x"
[[runs]]
seed = 2
[[runs.steps]]
n = 1
[[runs.steps]]
n = 2
'''

NAMES = st.text(max_size=6) | st.sampled_from(["a", "b-c", "d_e", "1"])
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9) | st.sampled_from([1.5, 1e-3, -0.25])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def write(value: Any) -> str:
    """Write a value as TOML, tables inline."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            escaped = "".join(f"\\U{ord(c):08X}" if not c.isprintable() or c in '"\\' else c for c in value)
            return f'"{escaped}"'
        case list():
            return "[" + " , ".join(map(write, value)) + "]"
        case dict():
            return "{ " + ", ".join(f"{write(name)} = {write(item)}" for name, item in value.items()) + "}"
        case _:
            return str(value)


def check(text: str) -> None:
    """Everything the library read has a place, and the place is where it stands."""
    document = read_toml(text)
    value = tomllib.loads(text)
    assert document.value == value
    everywhere = set(paths(value))
    assert set(document.values) == everywhere
    assert set(document.names) == {path for path in everywhere if path and isinstance(path[-1], str)}


def test_everything_in_a_sample_has_its_place() -> None:
    check(SAMPLE)
    document = read_toml(SAMPLE)
    lines = SAMPLE.splitlines()
    for path, wanted in {
        ("numbers", 1): "1.10",
        ("numbers", 3, "b c"): "[ ]",
        ("when",): "1979",
        ("table", "dotted . name", "on"): "true",
        ("runs", 0, "env", "A"): '"x"',
        ("runs", 1, "steps", 1, "n"): "2",
    }.items():
        place = document.values[path]
        assert lines[place.line - 1][place.column - 1 :].startswith(wanted), path


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_values_of_one_line_are_found(plain: dict[str, Any]) -> None:
    check("".join(f"{write(name)} = {write(value)} # {name.isascii()}\n" for name, value in plain.items()))


@given(st.lists(st.tuples(NAMES, st.booleans(), st.dictionaries(NAMES, VALUES, max_size=2)), max_size=4))
def test_tables_and_lists_of_tables_are_found(tables: list[tuple[str, bool, dict[str, Any]]]) -> None:
    text = ""
    for name, is_list, members in tables:
        begin, end = ("[[", "]]") if is_list else ("[", "]")
        text += f"{begin} {write(name)} {end}\n"
        text += "".join(f"  {write(key)}={write(value)}\n" for key, value in members.items())
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(Unreadable):
            read_toml(text)
        return
    check(text)


@given(st.data())
def test_a_sample_with_one_letter_changed_is_read_or_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SAMPLE) - 1))
    letter = data.draw(st.sampled_from([*"[]{}=.,\"'#\\\n\t x1", ""]))
    text = SAMPLE[:at] + letter + SAMPLE[at + 1 :]
    try:
        tomllib.loads(text)
    except ValueError:
        with pytest.raises(Unreadable):
            read_toml(text)
        return
    check(text)


@pytest.mark.parametrize(
    "text", ["a." * 60 + "a = 1\n", "x = 1\n[[" + "'a' . " * 60 + "a]]\n", "a = " + "{a=" * 60 + "1" + "}" * 60]
)
def test_nesting_is_bounded_however_it_is_written(text: str) -> None:
    with pytest.raises(Unreadable, match="nested more than 50 levels deep"):
        read_toml(text)


def test_values_are_counted() -> None:
    with pytest.raises(Unreadable, match="more than 10,000 values"):
        read_toml("a = [" + "1," * NODE_LIMIT + "]\n")


def test_lines_that_end_in_two_characters_are_lines() -> None:
    document = read_toml('a = """x\r\ny"""\r\nb = 1\r\n')
    assert document.values["b",] == Place(3, 5)


@pytest.mark.parametrize(
    ("text", "place"),
    [("a = 1\nb = = 2\n", Place(2, 5)), ("a = [1,\n", Place(2, 1)), ("[a\n", Place(1, 3))],
)
def test_what_is_no_toml_is_told_with_its_place(text: str, place: Place) -> None:
    with pytest.raises(Unreadable) as refusal:
        read_toml(text)
    assert refusal.value.place == place
    assert refusal.value.text.startswith("not TOML: ")
