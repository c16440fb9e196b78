import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.client.document import NODE_LIMIT, Place, Unreadable, paths
from labrun.client.yaml_document import ALIAS_LIMIT, read_yaml

PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def value(text: str) -> Any:
    document = read_yaml(text)
    assert document.flaws == []
    return document.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-11-20", "2026-11-20"),
        ("~", None),
        ("null", None),
        ("TRUE", True),
        ("-.INF", float("-inf")),
        ("'1'", "1"),
        ('"on"', "on"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("http://a/b?c=d#e", "http://a/b?c=d#e"),
    ],
)
def test_scalars_mean_what_the_core_schema_says(text: str, meaning: Any) -> None:
    found = value(f"a: {text}\n")["a"]
    assert (type(found), found) == (type(meaning), meaning)


def test_names_are_words_whatever_they_look_like() -> None:
    assert value('on: 1\n7: 2\nnull: 3\n"a b": 4\n') == {"on": 1, "7": 2, "null": 3, "a b": 4}


def test_lines_end_as_every_system_ends_them() -> None:
    assert value("a: 1\r\nb: 2\r\n") == value("a: 1\nb: 2\n") == value("a: 1\rb: 2\r")


@given(PLAIN)
def test_json_is_yaml(plain: Any) -> None:
    assert value(json.dumps(plain, indent=1)) == plain


@given(PLAIN)
def test_every_value_and_every_name_has_a_place(plain: Any) -> None:
    document = read_yaml(json.dumps(plain, indent=1))
    everywhere = set(paths(plain))
    assert set(document.values) == everywhere
    assert set(document.names) == {path for path in everywhere if path and isinstance(path[-1], str)}


def test_places_are_lines_and_columns_as_editors_count() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - {c: ü, d: 2}\nempty:\nlast: 3\n")
    assert document.values["b", 1, "d"] == Place(4, 15)
    assert document.names["b", 1, "d"] == Place(4, 12)
    assert document.values["empty",] == Place(5, 1)


def test_a_number_keeps_how_it_was_written() -> None:
    assert read_yaml("a: [1.10, 0x1F, '1.10', on]\n").texts == {("a", 0): "1.10", ("a", 1): "0x1F"}


@pytest.mark.parametrize("count", [ALIAS_LIMIT, ALIAS_LIMIT + 1])
def test_aliases_are_counted(count: int) -> None:
    text = "a: &x 1\nb: [" + ", ".join(["*x"] * count) + "]\n"
    if count <= ALIAS_LIMIT:
        assert value(text)["b"] == [1] * count
        return
    with pytest.raises(Unreadable, match="more than 100 aliases"):
        read_yaml(text)


def test_what_aliases_stand_for_is_counted_before_it_is_built() -> None:
    half = ", ".join(["1"] * (NODE_LIMIT // 2))
    with pytest.raises(Unreadable, match="more than 10,000 values"):
        read_yaml(f"a: &x [{half}]\nb: *x\n")


def test_an_anchor_may_be_used_again_as_the_language_allows() -> None:
    assert value("a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize("name", ["? [a]\n: 1\n", "? {a: 1}\n: 1\n", "&x a: 1\n", "!!str a: 1\n", "{[a]: 1}\n"])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(Unreadable, match="a name must be a plain word"):
        read_yaml(name)
