import pytest
from msgspec import structs

from labrun.core.definition import definition_of
from labrun.core.errors import BadStaging
from labrun.core.rerun import CODE_FIELDS, arguments_of, change_faults, check_placeholders, fill, with_arguments
from labrun.core.spec import Spec, Staged, Target

SCRIPT = Spec(Target("script", "t.py", ("/py", "t.py", "--lr", "1")), interpreter="/py")
MODULE = Spec(Target("module", "a.b", ("/py", "-m", "a.b", "--lr", "1")), interpreter="/py")
PROGRAM = Spec(Target("program", "./sim", ("./sim", "--lr", "1")))


@pytest.mark.parametrize("spec", [SCRIPT, MODULE, PROGRAM])
def test_arguments_begin_after_what_is_run(spec: Spec) -> None:
    assert arguments_of(spec) == ("--lr", "1")
    other = with_arguments(spec, ["--lr", "2"])
    assert other.target.argv == (*spec.target.argv[:-1], "2")
    assert with_arguments(other, arguments_of(spec)) == spec


def test_a_placeholder_becomes_the_place_of_its_file() -> None:
    places = {"a.pt": "/x/a.pt", "b.pt": "/x/b.pt"}
    argv = ["t.py", "--from={staged:b.pt}", "{staged:a.pt},{staged:b.pt}", "{other}", "{staged"]
    assert fill(argv, places) == ("t.py", "--from=/x/b.pt", "/x/a.pt,/x/b.pt", "{other}", "{staged")
    assert fill(["{staged}"], {"a.pt": "/x/a.pt"}) == ("/x/a.pt",)


def test_without_a_staged_file_nothing_is_a_placeholder() -> None:
    assert fill(["{staged}", "{staged:a}"], {}) == ("{staged}", "{staged:a}")


def test_a_place_with_braces_in_it_is_not_read_again() -> None:
    assert fill(["{staged}"], {"{staged}": "/x/{staged}"}) == ("/x/{staged}",)


@pytest.mark.parametrize(
    ("word", "names", "told"),
    [
        ("--from={staged}", [], "`{staged}` stands for no file"),
        ("{staged:a}", [], "`{staged:a}` stands for no file"),
        ("{staged}", ["a", "b"], "`{staged}` may stand for 2 files"),
        ("{staged:c}", ["a", "b"], "no staged file is called `c`"),
        ("{staged:}", ["a"], "no staged file is called ``"),
    ],
)
def test_a_placeholder_without_its_one_file_is_refused(word: str, names: list[str], told: str) -> None:
    with pytest.raises(BadStaging) as refused:
        check_placeholders(["t.py", word], names)
    assert told in refused.value.message
    assert refused.value.hint is not None
    assert "{staged:a}" in refused.value.hint or "--stage FILE" in refused.value.hint


def test_files_nobody_points_at_are_noticed() -> None:
    assert not check_placeholders(["t.py"], ["a"])
    assert check_placeholders(["t.py", "{staged}"], ["a"])


def test_what_is_staged_belongs_to_the_definition_and_its_origin_does_not() -> None:
    one = structs.replace(SCRIPT, staged=(Staged("m.pt", "2026-11-20_aaaaaaaa", "outputs/m.pt", "ab" * 32, 3),))
    moved = structs.replace(SCRIPT, staged=(Staged("m.pt", "2026-11-20_bbbbbbbb", "m.pt", "ab" * 32, 3),))
    other = structs.replace(SCRIPT, staged=(Staged("m.pt", "2026-11-20_aaaaaaaa", "outputs/m.pt", "cd" * 32, 3),))
    assert definition_of(one) == definition_of(moved)
    assert len({definition_of(spec) for spec in (SCRIPT, one, other)}) == 3


def test_fields_that_say_what_runs_are_not_changed() -> None:
    changes = {**dict.fromkeys(CODE_FIELDS, "x"), "args": ["1"], "parent": "x"}
    told = {fault.path[0] for fault in change_faults(changes)}
    assert told == set(changes)
    assert change_faults({"name": "x", "resources": {"gpus": 2}, "config": "a.yaml", "env": {"A": "1"}}) == []
