"""Argument arithmetic, by example and against a real parser."""

import argparse
import shlex
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labrun.core.arguments import combine, merge
from labrun.core.errors import AmbiguousArguments
from tests.helpers import examples


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ("--lr 0.1 --epochs 5", "--epochs 200", "--lr 0.1 --epochs 200"),
        ("--lr 0.1", "--lr=0.2", "--lr=0.2"),
        ("--lr=0.1 data.csv", "--lr 0.2", "--lr 0.2 data.csv"),
        ("--lr 0.1 data.csv", "--lr 0.2", "--lr 0.2 data.csv"),
        ("--verbose data.csv", "--verbose", "--verbose data.csv"),
        ("--optimizer adam data.csv", "--optimizer=sgd", "--optimizer=sgd data.csv"),
        ("--layers 64 64 32 --lr 1", "--layers 128 128", "--layers 128 128 --lr 1"),
        ("--tag a --lr 1 --tag b", "--tag c", "--tag c --lr 1"),
        ("--tag a", "--tag c --tag d", "--tag c --tag d"),
        ("--lr 1 --layers 2 --lr 1 a.csv", "--lr 3", "--layers 2 --lr 3 a.csv"),
        ("--layers 2 --lr 1 --n 1 --n 1 a.csv --lr 1", "--lr 3 --n 4", "--layers 2 --lr 3 --n 4 a.csv"),
        ("--cache --lr 1", "--no-cache", "--no-cache --lr 1"),
        ("--no-cache data.csv", "--cache", "--cache data.csv"),
        ("--no-of-samples 5", "--no-of-samples 6", "--no-of-samples 6"),
        ("-n5 -v", "-n 10", "-n 10 -v"),
        ("-n 5", "-n10", "-n10"),
        ("--shift -1", "--shift -2.5e-3", "--shift -2.5e-3"),
        ("train --lr 1", "--lr 2", "train --lr 2"),
        ("train --lr 1", "evaluate", "evaluate --lr 1"),
        ("--lr 1", "data.csv", "data.csv --lr 1"),
        ("--lr 1 -- -odd.csv", "--lr 2 --new 3", "--lr 2 --new 3 -- -odd.csv"),
        ("--lr 1 -- -odd.csv", "-- -other.csv", "--lr 1 -- -other.csv"),
        ("lr=0.1 +model.depth=3 run", "lr=0.2 model.depth=4", "lr=0.2 model.depth=4 run"),
        ("--name ''", "--name x", "--name x"),
        ("", "--lr 1", "--lr 1"),
        ("--lr 1", "", "--lr 1"),
    ],
)
def test_merge_overrides_what_matches_and_keeps_the_rest(old: str, new: str, merged: str) -> None:
    assert merge(shlex.split(old), shlex.split(new)) == shlex.split(merged)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("--layers 64 64 32", "--layers 128", "--layers"),
        ("--optimizer adam data.csv", "--optimizer sgd", "--optimizer=…"),
        ("-abc", "-b", "-abc"),
        ("-abc", "-a 3", "-abc"),
        ("a.csv b.csv", "c.csv", "c.csv"),
        ("--lr 0.1 data.csv", "other.csv", "other.csv"),
        ("-v --lr 1 a.csv --layers 2 --lr 1 b.csv", "--lr 3", "b.csv"),
        ("data.csv", "-- -odd.csv", "-odd.csv"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(old: str, new: str, word: str) -> None:
    with pytest.raises(AmbiguousArguments) as refusal:
        merge(shlex.split(old), shlex.split(new))
    assert word in f"{refusal.value.message} {refusal.value.hint}"


def test_append_and_replace_are_literal() -> None:
    assert combine(["--lr", "1", "x"], ["--lr", "2"], "append") == ["--lr", "1", "x", "--lr", "2"]
    assert combine(["--lr", "1", "x"], ["--lr", "2"], "replace") == ["--lr", "2"]
    assert combine(["-abc"], [], "merge") == ["-abc"]


WORDS = st.text("abz059.-=_/ é", max_size=6)


@given(old=st.lists(WORDS, max_size=8))
def test_merging_nothing_changes_nothing(old: list[str]) -> None:
    assert merge(old, []) == old


@given(old=st.lists(WORDS, max_size=8), new=st.lists(WORDS, max_size=4))
def test_any_two_lines_are_merged_or_refused(old: list[str], new: list[str]) -> None:
    try:
        merged = merge(old, new)
    except AmbiguousArguments:
        return
    for word in new:
        assert word == "--" or word in merged


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)


def parser() -> _Parser:
    """A typical training script."""
    found = _Parser(add_help=False, allow_abbrev=False)
    found.add_argument("data", nargs="?")
    found.add_argument("--lr", type=float)
    found.add_argument("--optimizer", choices=["adam", "sgd"])
    found.add_argument("--layers", nargs="+", type=int)
    found.add_argument("--verbose", action="store_true", default=None)
    found.add_argument("--cache", action=argparse.BooleanOptionalAction)
    found.add_argument("--tag", action="append")
    found.add_argument("-n", type=int)
    return found


OPTION = st.one_of(
    st.floats(-10, 10).map(lambda x: ["--lr", repr(x)]),
    st.floats(-10, 10).map(lambda x: [f"--lr={x!r}"]),
    st.sampled_from(["adam", "sgd"]).map(lambda x: ["--optimizer", x]),
    st.lists(st.integers(-9, 99), min_size=1, max_size=3).map(lambda xs: ["--layers", *map(str, xs)]),
    st.just(["--verbose"]),
    st.sampled_from([["--cache"], ["--no-cache"]]),
    st.sampled_from("pqr").map(lambda x: ["--tag", x]),
    st.integers(0, 99).map(lambda x: [f"-n{x}"]),
    st.integers(0, 99).map(lambda x: ["-n", str(x)]),
)


def line(options: list[list[str]], data: str | None, at: int) -> list[str]:
    """A command line with its positional somewhere between the options."""
    parts = [list(option) for option in options]
    if data is not None:
        parts.insert(min(at, len(parts)), [data])
    return [word for part in parts for word in part]


DATA = st.sampled_from([None, "a.csv", "b.csv"])
OLD = st.builds(line, st.lists(OPTION, max_size=5), DATA, st.integers(0, 5))
NEW = st.builds(line, st.lists(OPTION, max_size=5), DATA, st.just(0))
"""A person writes a new positional first: behind an option nobody knows whether it is its value."""


@settings(max_examples=examples(500))
@given(old=OLD, new=NEW)
def test_a_real_parser_reads_the_merged_line_as_the_old_values_updated_by_the_new(
    old: list[str], new: list[str]
) -> None:
    try:
        before, change = vars(parser().parse_args(old)), vars(parser().parse_args(new))
    except ValueError:
        assume(False)
    try:
        merged = merge(old, new)
    except AmbiguousArguments:
        return
    expected = before | {name: value for name, value in change.items() if value is not None}
    assert vars(parser().parse_args(merged)) == expected, f"{old} + {new} = {merged}"
