"""The rules (`core.faults`), the types (`wire.description`) and the schema (`wire.schema`) agree."""

from typing import Any

import fastjsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.faults import FIELDS, RESOURCES, faults
from labrun.wire.description import Description
from labrun.wire.schema import description_schema

# the validator knows drafts up to 7; what we use is the same in all of them
SCHEMA = description_schema() | {"$schema": "http://json-schema.org/draft-07/schema#"}
is_valid = fastjsonschema.compile(SCHEMA)

SCALARS: st.SearchStrategy[Any] = (
    st.sampled_from(["", "x", "4h", "8G", "high", "none", "spooled", "./sim -n 1", "\0", 0, 1, 5, 11, -1, 1.5, 2.0])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*RESOURCES, "A", "a b", ""]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PLAIN = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=6)


def schema_accepts(plain: object) -> bool:
    try:
        is_valid(plain)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


@given(PLAIN | VALUES)
def test_rules_answer_to_anything_and_never_break(plain: Any) -> None:
    for fault in faults(plain):
        assert fault.text
        assert "\n" not in fault.text


@given(PLAIN)
def test_what_the_rules_accept_fits_the_type_and_the_schema(plain: dict[str, Any]) -> None:
    if not faults(plain):
        assert isinstance(msgspec.convert(plain, Description), Description)
        assert schema_accepts(plain)


@given(st.sampled_from(FIELDS), VALUES)
def test_one_field_that_the_rules_accept_fits_the_type_and_the_schema(name: str, value: Any) -> None:
    target = {} if name in ("script", "module", "command") else {"script": "x"}
    plain = target | {name: value}
    if not faults(plain):
        assert isinstance(msgspec.convert(plain, Description), Description)
        assert schema_accepts(plain)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"scirpt": "x"},
        {"script": "x", "module": "y"},
        {"command": ["x"], "args": []},
        {"script": "x", "pod": "a", "pod_type": "a"},
        {"script": "x", "priority": 11},
        {"script": "x", "resources": {"cpu": 1}},
        {"script": "x", "seed": "1"},
        {"script": "x", "name": ""},
        {"script": "x", "note": None},
    ],
)
def test_an_editor_marks_what_would_be_refused(plain: dict[str, Any]) -> None:
    assert faults(plain)
    assert not schema_accepts(plain)


def test_a_description_that_crossed_the_wire_is_the_same() -> None:
    plain = {"format": 1, "command": ["./sim", 1.5], "resources": {"gpus": 1}, "tags": ["a"]}
    assert msgspec.to_builtins(msgspec.convert(plain, Description), builtin_types=(tuple,)) == plain | {
        "command": ("./sim", 1.5),
        "tags": ("a",),
    }


def test_every_field_has_its_sentence_in_the_schema() -> None:
    schema = description_schema()
    fields = {**schema["properties"], **schema["$defs"]["Resources"]["properties"]}
    assert {*fields} == {*FIELDS, *RESOURCES, "$schema"}
    assert all(field["description"].endswith(".") for field in fields.values())
