import inspect

import pytest

from labrun.core import errors
from labrun.core.errors import (
    AmbiguousReference,
    BadValue,
    InternalError,
    LabError,
    NotFound,
    RequestError,
    UnknownOption,
    WorldError,
    error_classes,
    nearest,
    revive,
)


def test_codes_are_unique_slugs() -> None:
    found = error_classes()
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, LabError)]
    assert set(found.values()) == set(classes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in found)


def test_every_error_stands_in_the_tree_drawn_on_top_of_the_file() -> None:
    drawing = inspect.getdoc(errors) or ""
    assert all(cls.__name__ in drawing for cls in error_classes().values())


def test_every_error_says_whose_fault_it_is() -> None:
    for cls in error_classes().values():
        assert cls is LabError or issubclass(cls, RequestError | WorldError | InternalError)


def test_an_error_that_crossed_the_api_is_the_class_that_was_raised() -> None:
    raised = NotFound("EXP-7", "main")
    again = revive(raised.code, raised.message, raised.hint, raised.details)
    assert type(again) is NotFound
    assert (again.message, again.hint, str(again)) == (raised.message, raised.hint, str(raised))


def test_details_cross_the_api_too() -> None:
    raised = AmbiguousReference("fit", ["EXP-001", "EXP-002"])
    assert revive(raised.code, raised.message, raised.hint, raised.details).details == ["EXP-001", "EXP-002"]


def test_a_code_of_a_newer_server_is_still_a_lab_error() -> None:
    assert type(revive("from_the_future", "something new", None)) is LabError


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(BadValue("name", "x" * 1_000_000, "short").message) < 200


def test_what_a_value_should_be_is_said_once() -> None:
    assert BadValue("priority", 11, "a whole number from 1 to 10").hint is None
    assert BadValue("config", "data/", "a file", hint="data go into inputs").hint == "data go into inputs"


@pytest.mark.parametrize(("word", "meant"), [("--prioritty", "--priority"), ("--nam", "--name"), ("--zzz", None)])
def test_the_nearest_known_word_is_found(word: str, meant: str | None) -> None:
    assert nearest(word, ["--name", "--priority", "--timeout"]) == meant


def test_an_unknown_option_names_the_nearest_one() -> None:
    assert UnknownOption("--tiemout", ["--timeout"], "lab run").hint == "did you mean `--timeout`?"
    assert UnknownOption("--zzz", ["--timeout"], "lab run").hint == "`lab run --help` lists what there is"
