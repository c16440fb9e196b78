"""The failure card: why it failed, the first error, the last lines, what changed, what mends it."""

from collections.abc import Mapping, Sequence
from typing import Any

from labrun.cli.table import hang, visible
from labrun.core.units import show_size

_BELOW = " " * len("failed: ")
_LINES = 8
_HUNK_LINES = 12
_TOLD_ABOVE = 2
"""Lines of evidence that are shown; the manifest has all."""


def card(told: Mapping[str, Any], *, is_brief: bool = False, width: int | None = None) -> list[str]:
    """Lay out a `FailureCard`.

    Args:
        told: As the API gives it.
        is_brief: How it ended is said beside it and the log was just seen: only what is news.
        width: Of the terminal: what is said is wrapped to it; what is quoted (log, code) or copied (a
            command to try) never.
    """
    failure = told["failure"]
    mode = failure["mode"].replace("_", " ")
    lines = []
    if not is_brief or failure.get("error") is not None or len(failure["evidence"]) > 1:
        lines.append(f"failed: {mode}{'?' if failure['is_guess'] else ''}: {visible(failure['evidence'][0])}")
    if not is_brief:
        lines += [f"{_BELOW}{visible(text)}" for text in failure["evidence"][1:_TOLD_ABOVE]]
        lines += [f"{_BELOW}looked at: {visible('; '.join(failure['checked']))}"] if failure.get("checked") else []
    lines += _error(failure.get("error"), failure["evidence"][0])
    lines += _memory(told) if is_brief or not _tells_memory(failure["evidence"]) else []
    lines = [piece for line in lines for piece in hang(line, width, len(_BELOW))]
    if not is_brief and told["last_lines"]:
        lines += ["last lines", *(f"  {visible(line)}" for line in told["last_lines"][-_LINES:])]
    lines += _changes(told["changes"], width)
    if told["hint"]:
        lines.append(f"try: {visible(told['hint'])}")
    return lines


def _error(error: Mapping[str, Any] | None, told: str) -> list[str]:
    if error is None:
        return []
    lines = [] if error["text"] in told else [f"first error: {visible(error['text'])}"]
    if error.get("file"):
        file = error["file"].rpartition("/work/")[2] if "/work/" in error["file"] else error["file"]
        where = f" in {error['where']}" if error.get("where") and error["where"] != "<module>" else ""
        lines.append(f"{_BELOW}at {visible(file)}:{error['line']}{visible(where)}")
    return lines


def _tells_memory(evidence: Sequence[str]) -> bool:
    """Out of memory: the peak is part of what was just said."""
    return any("memory peak" in text for text in evidence[:_TOLD_ABOVE])


def _memory(told: Mapping[str, Any]) -> list[str]:
    peak, limit = told["peak_memory_bytes"], told["memory_limit_bytes"]
    if peak is None or limit is None:
        return []
    return [f"memory: {show_size(peak)} at most, {show_size(limit)} asked for"]


def _changes(changes: Mapping[str, Any] | None, width: int | None) -> list[str]:
    if changes is None:
        return []
    if not changes["changes"]:
        return hang(f"since {changes['since']}, which succeeded, nothing changed that is recorded", width, 2)
    lines = [f"changed since {changes['since']}, which succeeded"]
    shown = 0
    for change in changes["changes"]:
        lines += hang(f"  {visible(change['text'])}", width, 4)
        hunk = change["lines"][: max(0, _HUNK_LINES - shown)]
        shown += len(hunk)
        lines += [f"    {visible(line)}" for line in hunk]
    return lines
