"""What people say of an experiment afterwards: entries in the order they were written, and what they come to.

Entries are only ever added. What was said before it ran is sealed in the spec; a later text for the same
field is an amendment, shown with author and time beside what was sealed.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from labrun.core.saying import Verdict as Verdict


class _Entry(Struct, frozen=True, omit_defaults=True, tag_field="entry", kw_only=True):
    at: datetime
    author: str


class Annotation(_Entry, frozen=True, tag="annotation"):
    """A dated remark."""

    text: str


class Conclusion(_Entry, frozen=True, tag="conclusion"):
    """What it showed; the newest one counts, its lists are added to those before."""

    verdict: Verdict | None = None
    outcome: str | None = None
    learnings: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()


class Amendment(_Entry, frozen=True, tag="amendment"):
    """A later text for what was said before it ran; that stays as it was sealed."""

    field: Literal["hypothesis", "context", "intent", "expected_outcome"]
    text: str


Entry = Annotation | Conclusion | Amendment
ENTRY: type[Entry] = Entry  # type: ignore[assignment]  # a union is no class to mypy; msgspec decodes it


class Told(Struct, frozen=True, omit_defaults=True):
    """What all entries come to."""

    annotations: tuple[Annotation, ...] = ()
    verdict: Verdict | None = None
    outcome: str | None = None
    learnings: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    unreadable: int = 0
    """Lines that do not fit their checksum; they are left where they are."""


def fold(entries: Iterable[Entry], unreadable: int = 0) -> Told:
    """Read entries in their order.

    Args:
        entries: Those that could be read.
        unreadable: How many could not.
    """
    annotations: list[Annotation] = []
    amendments: list[Amendment] = []
    verdict: Verdict | None = None
    outcome: str | None = None
    learnings: dict[str, None] = {}
    next_steps: dict[str, None] = {}
    for entry in entries:
        match entry:
            case Annotation():
                annotations.append(entry)
            case Amendment():
                amendments.append(entry)
            case Conclusion():
                verdict = entry.verdict or verdict
                outcome = entry.outcome or outcome
                learnings |= dict.fromkeys(entry.learnings)
                next_steps |= dict.fromkeys(entry.next_steps)
    lists = tuple(learnings), tuple(next_steps), tuple(amendments)
    return Told(tuple(annotations), verdict, outcome, *lists, unreadable)
