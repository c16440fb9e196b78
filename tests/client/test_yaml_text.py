from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.client.yaml_document import read_yaml
from labrun.client.yaml_text import write_yaml

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
words = st.sampled_from(
    ["on", "Null", "~", "1e-3", "0o17", ".inf", "- a", "a: b", "a #b", "*x", "&x", "!x", "%a", "=", "<<"]
)
scalars = texts | words | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
names = st.from_regex(r"[a-z_]{1,9}", fullmatch=True)


@given(st.dictionaries(names, scalars | st.lists(scalars) | st.dictionaries(texts, scalars), min_size=1))
def test_what_is_written_is_read_as_it_was(value: dict[str, Any]) -> None:
    document = read_yaml(write_yaml(value, ["a comment\nof two lines: - *"]))
    assert document.value == value
    assert not document.flaws


@pytest.mark.parametrize(
    "word", ["on", "yes", "No", "null", "1e-3", "007", "0x1", "--lr", "", " a", "a ", "a: b", "-", "?"]
)
def test_what_some_reader_takes_for_something_else_is_quoted(word: str) -> None:
    assert write_yaml({"a": word}) == f'a: "{word}"\n'


@pytest.mark.parametrize("word", ["train.py", "/data/a b.csv", "../x", "./sim", "two words", "a=1", "lr~3"])
def test_ordinary_words_stand_as_they_are(word: str) -> None:
    assert write_yaml({"a": word}) == f"a: {word}\n"


def test_lists_and_tables_stand_below_each_other() -> None:
    text = write_yaml({"args": ["--lr", 1], "resources": {"gpus": 2}, "tags": [], "env": {}}, ["From EXP-001."])
    assert text == '# From EXP-001.\nargs:\n  - "--lr"\n  - 1\nresources:\n  gpus: 2\ntags: []\nenv: {}\n'
