"""The same experiment again: its arguments changed, files of the one before put in place of `{staged}`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import structs

from labrun.core.errors import BadStaging
from labrun.core.faults import Fault, faults
from labrun.core.spec import Spec

CODE_FIELDS = ("script", "module", "command", "cwd", "links", "live", "stdin")
"""Fields of a description that say which code runs, and where: no rerun changes them."""
_OTHER_FIELDS = {
    "args": "arguments come after `--`",
    "parent": "the parent is the experiment it is made from",
    "lab": "it stays in the lab of the one before",
    "format": "it belongs to a file",
}
_INTERPRETER = re.compile(r"python[\d.]*|pypy[\d.]*|ba?sh|zsh|Rscript|julia|perl|ruby|node")
_PLACEHOLDER = re.compile(r"\{staged(?::([^{}]*))?\}")


def head_of(spec: Spec) -> tuple[str, ...]:
    """Everything before the arguments: interpreter and script or module, or the program."""
    argv = spec.target.argv
    if spec.target.kind == "program" or spec.interpreter is None:
        return argv[:1]
    return argv[: 3 if spec.target.kind == "module" else 2]


def arguments_of(spec: Spec) -> tuple[str, ...]:
    """The arguments of the script, module or program alone."""
    return spec.target.argv[len(head_of(spec)) :]


def script_of(argv: Sequence[str]) -> str:
    """What a command line runs, without its arguments: the same text for two runs of one script.

    The interpreter does not count where a script, a module or a text is run by one.

    >>> script_of(["/v/bin/python3", "fit.py", "--lr", "1"]), script_of(["python", "-m", "fit", "1"])
    ('fit.py', '-m fit')
    >>> script_of(["./sim", "--n", "100"]), script_of(["bash", "run.sh"])
    ('./sim', 'run.sh')
    """
    if not _INTERPRETER.fullmatch(argv[0].rpartition("/")[2]) or len(argv) == 1:
        return argv[0]
    return " ".join(argv[1:3]) if argv[1].startswith("-") else argv[1]


def with_arguments(spec: Spec, arguments: Sequence[str]) -> Spec:
    """The same target with other arguments."""
    return structs.replace(spec, target=structs.replace(spec.target, argv=(*head_of(spec), *arguments)))


def check_placeholders(argv: Sequence[str], names: Sequence[str]) -> bool:
    """Check that every placeholder has one file.

    Args:
        argv: The new command line.
        names: Of the staged files.

    Returns:
        Whether there is a placeholder at all.

    Raises:
        BadStaging: One has no file, or may stand for several.
    """
    found = list(_placeholders(argv))
    named = ", ".join(f"{{staged:{name}}}" for name in names)
    for text, name in found:
        if not names:
            raise BadStaging(f"`{text}` stands for no file", "name one with `--stage FILE`")
        if name is None and len(names) > 1:
            raise BadStaging(f"`{text}` may stand for {len(names)} files", f"write {named}")
        if name is not None and name not in names:
            raise BadStaging(f"no staged file is called `{name}`", f"write {named}")
    return bool(found)


def fill(argv: Sequence[str], places: Mapping[str, str]) -> tuple[str, ...]:
    """Put the places of staged files where their placeholders stand; without any file nothing is a placeholder.

    >>> fill(["train.py", "--from={staged}"], {"model.pt": "/lab/staged/model.pt"})
    ('train.py', '--from=/lab/staged/model.pt')
    """
    if not places:
        return tuple(argv)
    only = next(iter(places.values()))

    def place(match: re.Match[str]) -> str:
        return only if match[1] is None else places.get(match[1], match[0])

    return tuple(_PLACEHOLDER.sub(place, word) for word in argv)


def change_faults(changes: Mapping[str, Any]) -> list[Fault]:
    """Say everything that is wrong with fields that are to be changed."""
    found = faults(changes, is_whole=False)
    for name in changes:
        if name in CODE_FIELDS:
            text = f"`{name}` says what runs and where: `lab clone` writes a file in which it can be changed"
            found.append(Fault((name,), text, is_about_name=True))
        elif name in _OTHER_FIELDS:
            found.append(Fault((name,), f"`{name}` cannot be set: {_OTHER_FIELDS[name]}", is_about_name=True))
    return found


def _placeholders(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for word in argv:
        for match in _PLACEHOLDER.finditer(word):
            yield match[0], match[1]
