"""How experiments are named: run ids, labels, slugs, attempt ids."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import NewType

RunId = NewType("RunId", str)
"""Sortable and unique across homes: `2026-11-20_k3f9x2ab`."""
Label = NewType("Label", str)
"""Sequential in one home, at least three digits: `EXP-054`."""
AttemptId = NewType("AttemptId", str)
"""One execution of one experiment: `2026-11-20_k3f9x2ab.1`. Names control files, cgroups, jobs."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_RUN_ID = re.compile(r"\d{4}-\d{2}-\d{2}_[0-9a-hjkmnp-tv-z]{8}")
_LABEL = re.compile(r"(?:exp-?)?0*(\d{1,15})", re.IGNORECASE)


def new_run_id(now: datetime, entropy: bytes) -> RunId:
    """Name a new experiment.

    Args:
        now: Moment of submission; its date in UTC leads the id, so ids sort by day.
        entropy: At least 5 random bytes; 40 bits are used.
    """
    bits = int.from_bytes(entropy[:5], "big")
    tail = "".join(_ALPHABET[(bits >> shift) & 31] for shift in range(35, -1, -5))
    return RunId(f"{now.astimezone(UTC):%Y-%m-%d}_{tail}")


def is_run_id(text: str) -> bool:
    """Tell whether the text is a whole run id."""
    return _RUN_ID.fullmatch(text) is not None


def label_of(number: int) -> Label:
    """Write a label.

    >>> label_of(54)
    'EXP-054'
    """
    return Label(f"EXP-{number:03d}")


def label_number(text: str) -> int | None:
    """Read a label the way people type it, or None when it is not one.

    >>> label_number("EXP-054"), label_number("exp54"), label_number("54"), label_number("E54")
    (54, 54, 54, None)
    """
    match = _LABEL.fullmatch(text)
    return int(match.group(1)) if match else None


def attempt_id(run_id: RunId, attempt: int) -> AttemptId:
    """Name one attempt; control files, cgroups and foreign jobs derive their names from it."""
    return AttemptId(f"{run_id}.{attempt}")


def slug(text: str, limit: int = 48) -> str:
    """Make a folder-safe, readable piece of a name; may be empty.

    >>> slug("Planck + BAO: MCMC (2nd)")
    'planck-bao-mcmc-2nd'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:limit].strip("-")


def folder_name(label: Label, name: str | None, target: str) -> str:
    """Name an experiment's folder after its label and its name or, without one, its target."""
    return "-".join(part for part in (label, slug(name or target)) if part)
