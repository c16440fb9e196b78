from typing import Any

import pytest

from labrun.cli import show

ENDED: dict[str, Any] = {
    "label": "EXP-054",
    "status": "succeeded",
    "step": "completed",
    "command": ["/opt/venv/bin/python3", "train.py", "--name", "a b\n"],
    "folder": "/home/ada/lab/labs/main/2026-11/EXP-054",
    "started_at": "2026-11-20T10:00:00Z",
    "ended_at": "2026-11-20T10:00:03.200000Z",
    "ending_text": "finished",
}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["EXP-054 succeeded, 3.2 s", "files: /home/ada/lab/labs/main/2026-11/EXP-054"]),
        (
            {"status": "failed", "ending_text": "exited with 3"},
            ["EXP-054 failed: exited with 3, 3.2 s", "files: /home/ada/lab/labs/main/2026-11/EXP-054"],
        ),
        (
            {"status": "cancelled", "ending_text": "cancelled by ada", "folder": None, "started_at": None},
            ["EXP-054 cancelled by ada", "no files: it had not started"],
        ),
    ],
)
def test_every_end_says_how_and_where_the_files_are(changes: dict[str, Any], lines: list[str]) -> None:
    assert show.closing(ENDED | changes, ENDED | changes) == lines


@pytest.mark.parametrize(
    ("position", "reason", "text"),
    [
        (1, None, "#1 in line"),
        (2, "1 ahead of it in the queue", "#2, 1 ahead of it in the queue"),
        (None, "held", "held"),
        (None, None, "in line"),
    ],
)
def test_place_and_reason_read_as_two_things(position: int | None, reason: str | None, text: str) -> None:
    assert show.waiting({"position": position, "reason": reason}) == text


def test_a_command_is_shown_as_it_could_be_typed() -> None:
    assert show.command(ENDED) == r"python3 train.py --name 'a b\n'"


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0.0 s"), (119, "119 s"), (3600, "60 min"), (172800, "2 d 0 h")])
def test_durations_are_short_words(seconds: float, text: str) -> None:
    assert show.show_duration(seconds) == text
