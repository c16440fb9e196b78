"""What was said of an experiment, before it ran and afterwards, laid out."""

from typing import Any

from labrun.cli import show
from labrun.cli.output import fields
from labrun.cli.table import visible

BEFORE = {
    "Hypothesis": "hypothesis",
    "Context": "context",
    "Intent": "intent",
    "Expected outcome": "expected_outcome",
}
NOTHING_SAID = ["nothing was said of it yet"]


def told_lines(detail: dict[str, Any], width: int | None = None) -> list[str]:
    """Everything said, laid out in so many columns."""
    before, after = detail["narrative"], detail["told"]
    rows = [(name.lower(), _text(before.get(field))) for name, field in BEFORE.items()]
    rows += [("follows from", _text(before.get("parent_run"))), ("group", _text(before.get("experiment_group")))]
    rows += [("tags", ", ".join(map(visible, before.get("tags", ()))))]
    rows += [
        (
            f"{each['field'].replace('_', ' ')}, amended",
            f"{_text(each['text'])}\n{visible(each['author'])}, {show.local(each['at'])}",
        )
        for each in after.get("amendments", ())
    ]
    rows += [("verdict", _text(after.get("verdict"))), ("outcome", _text(after.get("outcome")))]
    rows += [("learned", "\n".join(map(_text, after.get("learnings", ()))))]
    rows += [("next", "\n".join(map(_text, after.get("next_steps", ()))))]
    rows += [
        ("note", f"{_text(each['text'])}\n{visible(each['author'])}, {show.local(each['at'])}")
        for each in after.get("annotations", ())
    ]
    if count := after.get("unreadable", 0):
        rows += [("unreadable", f"{count} line{'s' if count != 1 else ''} of notes.jsonl, torn or altered")]
    return fields(rows, indent=0, width=width) or NOTHING_SAID


def _text(text: str | None) -> str:
    return "\n".join(visible(line) for line in (text or "").splitlines())
