from typing import Any

import pytest

from labrun.core.faults import FIELDS, FORMAT, NAME_LIMIT, PRIORITIES, RESOURCES, faults
from labrun.core.spec import PRIORITY_WORDS
from labrun.wire import description
from labrun.wire.description import Description, Resources

GOOD: dict[str, Any] = {
    "format": 1,
    "script": "train.py",
    "args": ["--lr", 1e-3, "", 7],
    "cwd": "/home/ada/project",
    "python": "python3",
    "name": "planck",
    "lab": "main",
    "note": "two\nlines",
    "priority": "critical",
    "timeout": "1h30m",
    "grace": 0,
    "env": {"A": "", "B": 1},
    "resources": {"cpus": 4, "memory": "8G", "gpus": 0, "gpu_memory": 4e10, "disk": 10**12},
    "pod": "h100",
    "config": "a.yaml",
    "inputs": {"stars": "stars.csv"},
    "outputs": ["*.csv", "figures/*.png"],
    "seed": 2**63 - 1,
    "links": ["data"],
    "live": False,
    "stdin": "none",
    "hypothesis": "h",
    "context": "c",
    "intent": "i",
    "expect": "e",
    "parent": "EXP-054",
    "group": "g",
    "tags": [],
}


def texts(plain: object, **options: bool) -> list[str]:
    return [fault.text for fault in faults(plain, **options)]


def test_nothing_is_wrong_with_a_description_that_gives_everything() -> None:
    assert texts(GOOD) == []
    assert texts({"module": "a.b", "config": ["x", "y"], "pod_type": "cpu"}) == []
    assert texts({"command": "./sim --n 100", "priority": 10, "timeout": 0.5}) == []
    assert texts({"command": ["./sim", 1.5]}) == []


def test_the_rules_are_about_the_fields_of_the_wire() -> None:
    assert Description.__struct_encode_fields__ == FIELDS
    assert Resources.__struct_encode_fields__ == RESOURCES
    assert description.FORMAT == FORMAT
    assert tuple(PRIORITY_WORDS) == PRIORITIES
    assert faults({"script": "x", "name": "n" * NAME_LIMIT}) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"name": "n" * 201}, "`name` has 201 characters, at most 200 are allowed"),
        ({"name": "\ud800"}, "`name` is '\\ud800', not text in UTF-8 without NUL"),
        ({"priority": 0}, "`priority` is 0, not 1 to 10, or one of low, normal, high, critical"),
        ({"priority": True}, "`priority` is true, not 1 to 10, or one of low, normal, high, critical"),
        ({"timeout": float("nan")}, "`timeout` is nan, not a duration above zero such as 90s, 15m or 4h"),
        ({"timeout": 10**400}, "`timeout` is a number of more than a hundred digits, not a duration above zero"),
        ({"timeout": "11 y"}, "`timeout` is '11 y', not a duration above zero such as 90s, 15m or 4h"),
        ({"grace": "soon"}, "`grace` is 'soon', not a duration such as 90s, 15m, 4h or 1h30m, or seconds"),
        ({"resources": {"memory": 2**70}}, "`resources.memory` is 1180591620717411303424, not a size"),
        ({"resources": {"memory": float("inf")}}, "`resources.memory` is inf, not a size"),
        ({"resources": {"cores": 1}}, "unknown field `cores` of `resources`; known are cpus, memory, gpus"),
        ({"stdin": "spoled"}, "`stdin` is 'spoled', not one of none, spooled; did you mean `spooled`?"),
        ({"config": {}}, "`config` is a table, not text or a list"),
        ({"config": ["a", ["b"]]}, "`config[1]` is a list, not text"),
        ({"inputs": {"a/b": "x"}}, "'a/b' in `inputs` is not a name of letters, digits and `_`"),
        ({"inputs": {"PATH": "x"}}, "'PATH' in `inputs` is not a name of letters, digits and `_`, other than `path`"),
        ({"inputs": {"a": "x", "A": "y"}}, "`A` in `inputs` differs from `a` by case alone: both become one variable"),
        ({"outputs": ["../x"]}, "`outputs[0]` is '../x', not a pattern below the working folder or `outputs/`"),
        ({"outputs": "/x"}, "`outputs` is '/x', not a pattern below the working folder or `outputs/`"),
        ({"seed": 2**63}, "`seed` is 9223372036854775808, not a whole number from 0 to 9223372036854775807"),
        ({"env": {"A": "\0"}}, "`env.A` is '\\x00', not text in UTF-8 without NUL"),
        ({"lab": ".hidden"}, "`lab` is '.hidden', not a plain folder name of at most 64 bytes"),
        ({"command": "  "}, "`command` is '  ', not a program with its arguments"),
        ({"command": ["", "a"]}, "`command[0]` is '', not the name of a program"),
        ({"x\nscript": 1}, "unknown field 'x\\nscript'; did you mean `script`?"),
        ({"k" * 500: 1}, "unknown field '" + "k" * 76 + "..."),
    ],
)
def test_a_value_that_is_wrong_is_shown_with_what_to_write(wrong: dict[str, Any], text: str) -> None:
    target = {} if "command" in wrong else {"script": "train.py"}
    (found,) = texts(target | wrong)
    assert found.startswith(text)


@pytest.mark.parametrize("plain", [None, [], "script", 7, True])
def test_what_is_no_table_is_one_fault(plain: object) -> None:
    (found,) = texts(plain)
    assert found.startswith("a description is a table of fields such as `script`, not ")


@pytest.mark.parametrize("name", ["script", "module", "command"])
def test_a_layer_need_not_say_what_to_run_and_never_says_it_twice(name: str) -> None:
    assert texts({"seed": 1}, is_whole=False) == []
    assert len(texts({"seed": 1})) == 1
    others = {other: "x" for other in ("script", "module", "command") if other != name}
    assert len(texts({name: "x", **others}, is_whole=False)) == 2


def test_a_misspelt_target_is_not_a_missing_one_too() -> None:
    assert texts({"scirpt": "x"}) == ["unknown field `scirpt`; did you mean `script`?"]


def test_of_a_newer_form_nothing_else_is_said() -> None:
    assert texts({"format": 2, "colour": 1, "priority": 99}) == [
        "`format` is 2, this labrun reads up to 1: use a newer one"
    ]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("cpus", "resources.cpus"), ("gpu-memory", "resources.gpu_memory"), ("title", "name"), ("tag", "tags")],
)
def test_other_words_for_a_field_are_known(word: str, meant: str) -> None:
    assert texts({"script": "x", word: 1}) == [f"unknown field `{word}`; did you mean `{meant}`?"]
