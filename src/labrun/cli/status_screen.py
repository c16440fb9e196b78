"""The one screen of `lab status`: what it says, and how a watch draws it over itself."""

from collections.abc import Sequence
from typing import Any

from labrun.cli import show
from labrun.cli.output import Output
from labrun.cli.table import hang, table, visible
from labrun.core.units import show_size

_MANY = 980
"""The server counts no further."""
_LINES = 4
"""A command, or why something waits, may take so many."""


def redrawn(lines: list[str], height: int, last: str) -> str:
    """The screen over the one before, line by line, so that nothing flickers; never higher than the window.

    Args:
        lines: The screen.
        height: Of the window.
        last: Stands below a screen that was too high.
    """
    room = max(2, height - 1)
    if len(lines) > room:  # what runs stands above and stays
        lines = [*lines[: room - 1], last]
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


def screen(output: Output, seen: dict[str, Any], looked_at: float) -> list[str]:
    """What runs, what waits and why, what ended; then GPUs, capacity and counts."""
    lines = [
        *_section(output, "running", seen["running"], _running, spare=(2, 3, 5)),
        *_section(output, "waiting", seen["waiting"], _waiting, spare=(2, 3)),
    ]
    hidden = seen["waiting_count"] - len(seen["waiting"])
    if hidden > 0:
        lines.append(f"  and {hidden} more: `lab list --status created`")
    lines += _section(output, "ended", seen["ended"], lambda one: _ended(one, looked_at), spare=(2,))
    if (more := seen["news_count"] - len(seen["ended"])) > 0:
        lines.append(f"  and {more}{' or more' if more >= _MANY else ''} since you last looked: `lab list`")
    if not lines:
        lines.append("nothing here yet: `lab run train.py` runs a first experiment")
    closing = [*hang(_capacity(seen["capacity"]), output.width, 7), *hang(counts(seen), output.width, 2)]
    return [*lines, *gpus(output, seen), "", *closing]


def gpus(output: Output, seen: dict[str, Any]) -> list[str]:
    """One line for each GPU: who has it, and how far that is."""
    if not seen["capacity"]["gpus"]:
        return []
    holders = {gpu: one for one in seen["running"] for gpu in one["gpus"]}
    rows = []
    for index in seen["capacity"]["gpus"]:
        one = holders.get(index)
        told = [one["label"], show.name(one), show.progress(one) or show.state(one)] if one else ["idle", "", ""]
        taken = "taken in another lab" if one is None and index in seen["capacity"]["gpus_taken"] else told[0]
        rows.append([f"GPU {index}", taken, *told[1:]])
    return [output.colour("GPUs", "bold"), *table(rows, output.width, indent=2)]


def _section(
    output: Output, title: str, experiments: list[dict[str, Any]], cells: Any, spare: Sequence[int]
) -> list[str]:
    if not experiments:
        return []
    rows = [cells(experiment) for experiment in experiments]

    def paint(row: int, column: int, text: str) -> str:
        return show.paint(output, text, experiments[row]) if column == 0 else text

    return [output.colour(title, "bold"), *table(rows, output.width, paint, indent=2, spare=spare, last_lines=_LINES)]


def _running(one: dict[str, Any]) -> list[str]:
    step = visible(one["reason"]) if one["reason"] else show.progress(one) or show.state(one)
    lasted = show.took(one) or show.ago(one["queued_at"])
    peak = show_size(one["peak_memory_bytes"]) if one["peak_memory_bytes"] else "-"
    return [one["label"], show.name(one), visible(one["user"]), lasted, step, peak, show.command(one)]


def _waiting(one: dict[str, Any]) -> list[str]:
    return [one["label"], show.name(one), visible(one["user"]), f"prio {one['priority']}", show.waiting(one)]


def _ended(one: dict[str, Any], looked_at: float) -> list[str]:
    is_news = (show.moment(one["ended_at"]) or 0.0) > looked_at
    how = one["status"] if one["status"] == "succeeded" else visible(one["ending_text"] or one["status"])
    return [
        one["label"],
        show.name(one),
        visible(one["user"]),
        show.ago(one["ended_at"]),
        ("new: " if is_news else "") + how,
    ]


def _capacity(seen: dict[str, Any]) -> str:
    parts = [
        f"slots {seen['slots_taken']}/{seen['slots']}",
        f"CPUs {seen['cpus_taken']}/{seen['cpus']}",
        f"memory {show_size(seen['memory_taken_bytes'])}/{show_size(seen['memory_bytes'])}",
    ]
    if seen["gpus"]:
        parts.append(f"GPUs {len(seen['gpus_taken'])}/{len(seen['gpus'])}")
    return "taken: " + ", ".join(parts)


def counts(seen: dict[str, Any]) -> str:
    """How many stand how, in one line."""
    ended = {name: number for name, number in seen["counts"].items() if name in show.OVER and number}
    parts = [f"{len(seen['running'])} running", f"{seen['waiting_count']} waiting"]
    return ", ".join([*parts, *(f"{number} {name}" for name, number in ended.items())])
