"""How experiments are put into words: times, commands, states."""

import shlex
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from labrun.cli.connect import chosen_host
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.units import show_size

COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "processing": "blue"}
OVER = ("succeeded", "failed", "cancelled")
SILENT_S = 120.0
"""After so long without a new byte the age of what a progress bar says is shown."""


def moment(text: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp() if text else None


def show_duration(seconds: float) -> str:
    """Write a length of time for people.

    >>> show_duration(3.21), show_duration(75), show_duration(700), show_duration(11000), show_duration(200000)
    ('3.2 s', '75 s', '11 min', '3 h 3 min', '2 d 7 h')
    """
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def ago(text: str | None) -> str:
    """How long ago a moment was; empty when it is not known."""
    at = moment(text)
    return f"{show_duration(time.time() - at)} ago" if at is not None else ""


def local(text: str | None) -> str:
    """A moment in the reader's own time."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}" if text else ""


def took(experiment: Mapping[str, Any]) -> str:
    """How long it has been running, or ran; empty before its start."""
    begin, end = moment(experiment["started_at"]), moment(experiment["ended_at"])
    return show_duration((end if end is not None else time.time()) - begin) if begin is not None else ""


def command(experiment: Mapping[str, Any]) -> str:
    """The command line as one could type it, with the interpreter by its name alone."""
    argv = list(experiment["command"])
    if len(argv) > 1 and argv[0].rpartition("/")[2].startswith("python"):
        argv[0] = argv[0].rpartition("/")[2]
    return visible(shlex.join(argv))


def name(experiment: Mapping[str, Any]) -> str:
    """Its name, or a dash."""
    return visible(experiment["name"]) if experiment["name"] else "-"


def state(experiment: Mapping[str, Any]) -> str:
    """How it stands, in a word or two."""
    if experiment["status"] in OVER:
        return str(experiment["status"])
    return str(experiment["step"])


def progress(experiment: Mapping[str, Any]) -> str:
    """What its progress bar says; empty when it has none. Old news are called so."""
    seen = experiment.get("progress")
    if not seen:
        return ""
    parts = [f"{seen['percent']:.0f} %"]
    if seen["left_s"] is not None and seen["percent"] < 100:
        parts.append(f"{show_duration(seen['left_s'])} left")
    silent_s = time.time() - (moment(seen["written_at"]) or 0.0)
    if silent_s > SILENT_S:
        parts.append(f"said {show_duration(silent_s)} ago")
    return ", ".join(parts)


def paint(output: Output, text: str, experiment: Mapping[str, Any]) -> str:
    """Colour a word by how the experiment stands."""
    return output.colour(text, COLOURS.get(experiment["status"], ""))


def waiting(experiment: Mapping[str, Any]) -> str:
    """Its place in the queue and why it waits; no reason is made up where none was given yet."""
    reason = visible(experiment["reason"]) if experiment["reason"] else None
    position = experiment["position"]
    if position is None:
        return reason or "in line"
    return f"#{position}, {reason}" if reason else f"#{position} in line"


def no_folder(experiment: Mapping[str, Any], usual: str) -> str:
    """Why an experiment has no folder: it was deleted, or what is usual."""
    if experiment.get("deleted_at"):
        who = visible(experiment["deleted_by"] or "somebody")
        if experiment["is_purged"]:
            return f"removed for good {ago(experiment['deleted_at'])} by {who}"
        return f"deleted {ago(experiment['deleted_at'])} by {who}; `lab undelete {experiment['label']}` brings it back"
    return usual


def place(folder: str) -> str:
    """Where files are; on another machine as `scp` takes it."""
    host = chosen_host()
    return visible(folder) if host is None else f"{host.name}:{visible(folder)}"


def where(experiment: Mapping[str, Any], usual: str) -> str:
    """Where its files are, or why there are none."""
    return place(experiment["folder"]) if experiment["folder"] else no_folder(experiment, usual)


def missing(gap: Mapping[str, Any]) -> str:
    """What the quota cut out of a log."""
    size = show_size(gap["size"])
    return f"{size} of {gap['stream']} are left out here: the log went over its quota, its middle is not kept"


def closing(experiment: Mapping[str, Any], ending: Mapping[str, Any]) -> list[str]:
    """What is said at an end: how it ended, how long it took, where the files are.

    Args:
        experiment: As the API shows it.
        ending: Its attempt, or itself when it never had one.
    """
    text = visible(ending["ending_text"] or "")
    head = f"{experiment['label']} {experiment['status']}"
    if text and text != "finished" and not text.startswith(experiment["status"]):
        head += f": {text}"
    elif text.startswith(f"{experiment['status']} "):
        head = f"{experiment['label']} {text}"
    lasted = took(ending)
    lines = [f"{head}, {lasted}" if lasted else head]
    folder = experiment["folder"]
    lines.append(f"files: {place(folder)}" if folder else f"no files: {no_folder(experiment, 'it had not started')}")
    return lines
