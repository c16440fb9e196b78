"""What `resubmit`, `requeue` and `fork` have in common: ask for a rerun, say what it became."""

import difflib
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from labrun.capture import caller
from labrun.cli import show
from labrun.cli.connect import connect, resolve, variables_for
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.units import show_size

_GAP = 3
_LEAST_COLUMN = 8


def rerun(output: Output, lab: str, reference: str, request: dict[str, Any], env: Sequence[str]) -> int:
    """Ask for a rerun in the caller's name and surroundings, and print the answer."""
    client = connect(output, lab)
    variables, left_out = caller.variables_to_send(variables_for(client), env)
    body = {**request, "by": caller.user_name(), "variables": variables}
    answer = client.rerun(resolve(client, reference), body, os.urandom(16).hex())
    if left_out:
        output.say(f"lab: not passed on, not UTF-8: {', '.join(left_out)}")
    if output.face == "json":
        output.json(answer)
    elif request.get("is_dry"):
        _preview(output, answer)
    else:
        _tell(output, answer)
    return 0


def _tell(output: Output, answer: Mapping[str, Any]) -> None:
    accepted = answer["accepted"]
    one = accepted["experiment"]
    if output.face == "quiet":
        output.data(one["label"])
        return
    output.say(*(f"lab: {visible(notice)}" for notice in accepted["notices"]), *_staged(answer))
    stands = show.waiting(one) if one["step"] == "waiting" and one["status"] not in show.OVER else show.state(one)
    output.data(f"{one['label']} queued from {answer['label']}, {_code(answer)}: {stands}")


def _preview(output: Output, answer: Mapping[str, Any]) -> None:
    rows = [(answer["label"], " ", f"new, {_code(answer)}"), *aligned(answer["before"], answer["after"])]
    output.data(*side_by_side(rows, output.width))
    output.say(*(f"lab: {visible(notice)}" for notice in answer["notices"]), *_staged(answer))
    output.data("", "nothing was submitted")


def _code(answer: Mapping[str, Any]) -> str:
    return "same code" if answer["code"] == "same" else "code as it is now"


def _staged(answer: Mapping[str, Any]) -> list[str]:
    return [f"lab: stages {visible(file['path'])}, {show_size(file['size_bytes'])}" for file in answer["staged"]]


def aligned(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str, str]]:
    """Two command lines word by word: left, mark, right.

    Marks are those of `diff -y`: `|` another word, `<` only before, `>` only after.
    """
    old, new = ([shlex.quote(visible(word)) for word in words] for words in (before, after))
    rows: list[tuple[str, str, str]] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            rows += [(left, " ", right) for left, right in zip(old[i:j], new[k:m], strict=True)]
            continue
        both = min(j - i, m - k)
        rows += [(left, "|", right) for left, right in zip(old[i : i + both], new[k : k + both], strict=True)]
        rows += [(word, "<", "") for word in old[i + both : j]]
        rows += [("", ">", word) for word in new[k + both : m]]
    return rows


def side_by_side(rows: Sequence[tuple[str, str, str]], width: int | None) -> list[str]:
    """Lay rows out in two columns; what does not fit the terminal is cut with `…`."""
    room = max((len(left) for left, _, _ in rows), default=0)
    if width is not None:
        room = min(room, max(_LEAST_COLUMN, (width - _GAP) // 2))
    rest = max(_LEAST_COLUMN, width - room - _GAP) if width is not None else None
    return [f"{_cut(left, room):<{room}} {mark} {_cut(right, rest)}".rstrip() for left, mark, right in rows]


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else text[: room - 1] + "…"
