import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.client.document import NODE_LIMIT, Place, Unreadable, paths
from labrun.client.json_document import read_json

PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_was_written_is_read_with_a_place_for_everything(plain: Any, indent: Any, is_ascii: bool) -> None:
    document = read_json(json.dumps(plain, indent=indent, ensure_ascii=is_ascii))
    everywhere = set(paths(plain))
    assert document.value == plain
    assert document.flaws == []
    assert set(document.values) == everywhere
    assert set(document.names) == {path for path in everywhere if path and isinstance(path[-1], str)}


@given(st.text(max_size=40) | st.text(alphabet='{}[]",:0123456789eE+-.truefalsn\\ \n', max_size=40))
def test_it_reads_what_the_standard_library_reads(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(Unreadable):
            read_json(text)
        return
    try:
        assert read_json(text).value == expected
    except Unreadable as error:
        assert "is no number of JSON" in error.text  # noqa: PT017  the one thing it refuses beyond the library


def test_places_are_lines_and_columns_as_editors_count() -> None:
    document = read_json('{\n  "a": [1.10,\n   {"ü": "x", "c" :null}]}')
    assert document.values["a", 1, "c"] == Place(3, 20)
    assert document.names["a", 1, "c"] == Place(3, 15)
    assert document.texts == {("a", 0): "1.10"}


def test_a_name_given_twice_is_a_flaw_and_the_first_counts() -> None:
    document = read_json('{"a": 1,\n "a": 2}')
    assert document.value == {"a": 1}
    assert document.flaws == [(Place(2, 2), "`a` is given twice, first in line 1")]


def test_values_are_counted() -> None:
    with pytest.raises(Unreadable, match="more than 10,000 values"):
        read_json("[" + "1," * NODE_LIMIT + "1]")
