"""Arithmetic of command lines: the same experiment with some arguments changed.

Nobody but the script knows its own options, so words are read the way getopt, argparse and Hydra read
them. Where one line allows two readings the other one decides: an option that stands bare in one of
them takes no value in the other either, `--lr=1` takes one. What stays ambiguous is refused, not guessed.

Source:
    POSIX.1-2017, Utility Conventions 12.2; getopt_long(3); Python's argparse (arguments that begin
    with `-` and look like negative numbers); Hydra's override grammar (`key=value`).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from labrun.core.errors import AmbiguousArguments

Mode = Literal["append", "replace", "merge"]

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_NEGATIVE = re.compile(r"-(\d|\.\d)")
_ASSIGNMENT = re.compile(r"(\+{0,2}|~)[A-Za-z_][\w./@-]*=")
_MANY = 1_000_000


def combine(old: Sequence[str], new: Sequence[str], mode: Mode) -> list[str]:
    """Change the arguments of a command line.

    Args:
        old: Arguments after the script, as they were.
        new: What the person typed after `--`.
        mode: `append` adds them at the end, `replace` takes only them, `merge` overrides matching
            options and keeps the rest.

    Raises:
        AmbiguousArguments: The two lines can be merged in more than one way.
    """
    if mode == "replace":
        return list(new)
    if mode == "append":
        return [*old, *new]
    return merge(old, new)


def merge(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Override options of the old line by those of the new one, in their old places; fresh ones go to the end.

    All occurrences of a repeated option are overridden together; `--x` and `--no-x` override each
    other; `key=value` overrides the same key; positionals replace positionals when their numbers agree.
    An option that only the new line has takes the words behind it.

    >>> merge(["--lr", "0.1", "--epochs=5", "data.csv"], ["--epochs", "200"])
    ['--lr', '0.1', '--epochs', '200', 'data.csv']
    >>> merge(["--verbose", "--cache", "data.csv"], ["--no-cache", "--lr=2"])
    ['--verbose', '--no-cache', 'data.csv', '--lr=2']

    Raises:
        AmbiguousArguments: The two lines can be merged in more than one way.
    """
    reading = _Reading(old, new)
    kept, given = reading.items(old), reading.items(new)
    overriding: dict[str, list[_Item]] = {}
    for item in given:
        if item.key is not None:
            overriding.setdefault(item.key, []).append(item)
    positionals = _pair_positionals(kept, given, reading.unclear(old))
    places = _places(kept, overriding)
    result: list[str] = []
    at_end: int | None = None
    for number, item in enumerate(kept):
        if item.is_end:
            at_end = len(result)
            result += item.words
        elif item.key is None:
            result += next(positionals).words if positionals is not None else item.words
        elif item.key not in overriding:
            result += item.words
        elif places[item.key] == number:
            result += [word for one in overriding[item.key] for word in one.words]
    fresh = [word for key, items in overriding.items() if key not in places for one in items for word in one.words]
    front: list[str] = []
    if positionals is None:
        ends = [at for at, item in enumerate(given) if item.is_end]
        first = ends[0] if ends else len(given)
        # in front, where no option that takes several values can swallow them; behind `--` if they stood there
        front = [item.words[0] for item in given[:first] if item.key is None]
        fresh += [item.words[0] for item in given[first:]]
    if at_end is None:
        return front + result + fresh
    return front + result[:at_end] + fresh + result[at_end:]


def _places(kept: Sequence["_Item"], overriding: Collection[str]) -> dict[str, int]:
    """At which of its occurrences each overridden option stays; all others go.

    The first one, unless another stands between an option and a positional: without it the positional
    would be read as one more value of that option.

    Raises:
        AmbiguousArguments: Two occurrences hold a positional apart from an option.
    """
    places: dict[str, int] = {}
    holds: dict[str, int] = {}
    for number, item in enumerate(kept):
        if item.key is None or item.key not in overriding:
            continue
        places.setdefault(item.key, number)
        following = kept[number + 1] if number + 1 < len(kept) else None
        is_before = following is not None and following.key is None and not following.is_end
        if is_before and number > 0 and _is_option(kept[number - 1].words[0]):
            if item.key in holds:
                raise AmbiguousArguments(
                    f"without `{item.words[0]}`, `{kept[number + 1].words[0]}` would be read as a value of"
                    f" `{kept[number - 1].words[0]}`",
                    "say the whole line with --replace",
                )
            places[item.key] = holds[item.key] = number
    return places


class _Item(Struct):
    """One option with its values, one positional, or the end of options."""

    words: list[str]
    key: str | None = None
    """By what it is matched; None for a positional."""
    is_end: bool = False


class _Reading:
    """How two lines are read together."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        words = {*old, *new}
        self._booleans = {name for word in words if (name := _positive(word)) and f"--{name}" in words}
        self._arity = self._agree(old, new)

    def _agree(self, old: Sequence[str], new: Sequence[str]) -> dict[str, int]:
        """How many values each option takes that stands in the new line."""
        runs_old, runs_new = self._runs(old), self._runs(new)
        self._overridden = set(runs_new)
        arity: dict[str, int] = {}
        for key, runs in runs_new.items():
            arity[key] = _arity_of(key, [*runs, *runs_old.get(key, [])])
            if key.startswith("-") and key not in runs_old:
                _refuse_bundle(key, old)
        return arity | {key: _lone_arity(runs) for key, runs in runs_old.items() if key not in runs_new}

    def _runs(self, line: Sequence[str]) -> dict[str, list["_Run"]]:
        found: dict[str, list[_Run]] = {}
        for at, word in enumerate(line):
            if word == "--":
                break
            if _is_option(word):
                key, attached = self._name(word)
                following = [] if attached is not None else _values_after(line, at)
                found.setdefault(key, []).append(_Run(word, attached, following))
        return found

    def _name(self, word: str) -> tuple[str, str | None]:
        """Key and attached value of an option."""
        if not word.startswith("--"):
            return word[:2], word[2:] or None
        name, equals, value = word[2:].partition("=")
        positive = _positive(word)
        return (positive if positive in self._booleans else name) or "", value if equals else None

    def unclear(self, line: Sequence[str]) -> list[str]:
        """Words behind options that are not overridden: their values, or positionals."""
        runs = [run for key, runs in self._runs(line).items() if key not in self._overridden for run in runs]
        return [word for run in runs for word in run.following if len(run.following) > 1 or not _is_number(word)]

    def items(self, line: Sequence[str]) -> list[_Item]:
        """Cut a line."""
        found: list[_Item] = []
        at = 0
        while at < len(line):
            word = line[at]
            taken = 1
            if word == "--":
                return [*found, _Item([word], is_end=True), *(_Item([rest]) for rest in line[at + 1 :])]
            if _is_option(word):
                key, attached = self._name(word)
                if attached is None:
                    taken += min(self._arity[key], len(_values_after(line, at)))
                found.append(_Item(list(line[at : at + taken]), key))
            elif _ASSIGNMENT.match(word):
                found.append(_Item([word], "=" + word.partition("=")[0].lstrip("+~")))
            else:
                found.append(_Item([word]))
            at += taken
        return found


class _Run(Struct, frozen=True):
    """One occurrence of an option."""

    word: str
    attached: str | None
    following: list[str]


def _arity_of(key: str, runs: Sequence[_Run]) -> int:
    """Number of separate values, from all occurrences of an option in both lines.

    Raises:
        AmbiguousArguments: One occurrence is followed by more words than another, and they look alike.
    """
    if key.startswith("-"):
        _check_letters(key, runs)
    if any(run.attached is not None for run in runs):
        return 1
    counts = {len(run.following) for run in runs}
    least = min(counts)
    if len(counts) == 1 or least == 0:
        return least
    if least > 1:
        return _MANY
    for run in runs:
        if len(run.following) > 1 and _is_number(run.following[0]) == _is_number(run.following[1]):
            shown = " ".join(run.following)
            raise AmbiguousArguments(
                f"after `{run.word}` stand `{shown}`: one value and positionals, or several values",
                f"write `{run.word}=…` if it takes one value; or say the whole line with --replace",
            )
    return 1


def _lone_arity(runs: Sequence[_Run]) -> int:
    """Values of an option that is not overridden: all that follow stay with it, wherever they belong."""
    return _MANY if not any(run.attached is not None for run in runs) else 1


def _check_letters(key: str, runs: Sequence[_Run]) -> None:
    """Refuse to override `-abc`: three options, or `-a` with the value `bc`."""
    unclear = [run for run in runs if run.attached is not None and run.attached.isalpha()]
    if unclear and len({(run.word, *run.following) for run in runs}) > 1:
        _refuse_letters(unclear[0].word)


def _refuse_bundle(key: str, line: Sequence[str]) -> None:
    for word in line:
        if word == "--":
            return
        if _is_option(word) and not word.startswith("--") and word[1:].isalpha() and key[1:] in word[2:]:
            _refuse_letters(word)


def _refuse_letters(word: str) -> None:
    raise AmbiguousArguments(
        f"`{word}` may be several options of one letter, or one with a value", "say the whole line with --replace"
    )


def _pair_positionals(kept: Sequence[_Item], given: Sequence[_Item], unclear: Sequence[str]) -> Iterator[_Item] | None:
    """The new positionals, one for each old one; None when the old ones stay.

    Raises:
        AmbiguousArguments: Their numbers differ, or some of the old words may be positionals or not.
    """
    old = [item for item in kept if item.key is None and not item.is_end]
    new = [item for item in given if item.key is None and not item.is_end]
    shown = " ".join(item.words[0] for item in new)
    if new and unclear:
        raise AmbiguousArguments(
            f"`{shown}` may replace one of `{' '.join(unclear)}`", "say the whole line with --replace"
        )
    if not new or not old:
        return None
    is_behind_end = any(item.is_end for item in kept)
    if any(_is_option(item.words[0]) for item in new) and not is_behind_end:
        raise AmbiguousArguments(f"`{shown}` would be read as an option", "say the whole line with --replace")
    if len(new) != len(old):
        raise AmbiguousArguments(
            f"which of {len(old)} positional arguments do `{shown}` replace?",
            "give all of them, or say the whole line with --replace, or add at the end with --append",
        )
    return iter(new)


def _values_after(line: Sequence[str], at: int) -> list[str]:
    found: list[str] = []
    for word in line[at + 1 :]:
        if word == "--" or _is_option(word) or _ASSIGNMENT.match(word):
            break
        found.append(word)
    return found


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and word != "--" and not _NEGATIVE.match(word)


def _is_number(word: str) -> bool:
    return _NUMBER.match(word) is not None


def _positive(word: str) -> str | None:
    """`x` of `--no-x`."""
    return word[5:] if word.startswith("--no-") and "=" not in word and len(word) > 5 else None
