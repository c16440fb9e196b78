"""The form people edit, alone and with a real editor."""

from pathlib import Path
from typing import Any

import pytest

from labrun.cli.narrative import form, read_form
from labrun.core.errors import BadDescription
from tests.cli.conftest import Shell

DETAIL: dict[str, Any] = {
    "experiment": {
        "label": "EXP-007",
        "name": "wide",
        "status": "succeeded",
        "step": "completed",
        "command": ["python", "fit.py"],
    },
    "narrative": {"hypothesis": "it is so"},
    "told": {"verdict": "partial", "learnings": ["mask first"]},
}


def test_a_form_that_is_not_touched_says_nothing() -> None:
    assert read_form(form(DETAIL), DETAIL, "f.md") == ([], [])
    assert read_form("", DETAIL, "f.md") == ([], [])


def test_what_was_changed_becomes_amendments_conclusions_and_notes() -> None:
    text = form(DETAIL).replace("it is so", "it is so below z = 0.1")
    text = text.replace("## Verdict\n# validates, refutes, inconclusive, partial\npartial", "## verdict\nrefutes")
    text = text.replace("- mask first\n", "- mask first\n- less noise\n  than before\n")
    text += "seen again\nin the evening\n"
    remarks, taken_out = read_form(text, DETAIL, "f.md")
    assert taken_out == []
    assert remarks == [
        {"text": "it is so below z = 0.1", "field": "hypothesis"},
        {"verdict": "refutes", "learnings": ["less noise than before"]},
        {"text": "seen again\nin the evening"},
    ]


def test_what_is_wrong_is_told_with_its_lines() -> None:
    text = "stray\n" + form(DETAIL).replace("## Context", "## Contxt").replace("\npartial", "\nperhaps")
    with pytest.raises(BadDescription) as refusal:
        read_form(text, DETAIL, "f.md")
    told = str(refusal.value.details)
    assert "f.md:1" in told
    assert "Contxt" in told
    assert "perhaps" in told


def editor(shell: Shell, body: str) -> dict[str, str]:
    """A program that edits the form."""
    path = shell.project.parent / "editor"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return {"EDITOR": str(path)}


def test_an_editor_changes_the_narrative(shell: Shell) -> None:
    label = shell.queue("--hypothesis", "flat", "--", "true")
    shell.lab(
        "narrative", label, "--edit", **editor(shell, "sed -i 's/^flat$/open/' \"$1\"; echo 'late thought' >> \"$1\"")
    )
    told = shell.lab("narrative", label).stdout
    for words in ("flat", "open", "late thought"):
        assert words in told
    assert shell.json("narrative", label)["narrative"]["hypothesis"] == "flat", "what was sealed stays"
    assert "nothing changed" in shell.lab("narrative", label, "--edit", **editor(shell, "true")).stderr


def test_a_form_with_an_error_is_kept_for_its_writer(shell: Shell) -> None:
    label = shell.queue("--", "true")
    told = shell.lab("narrative", label, "--edit", status=2, **editor(shell, "echo '## Nonsense' >> \"$1\"")).stderr
    (path,) = {word.strip("`;") for word in told.split() if word.strip("`;").endswith(".md")}
    assert "## Nonsense" in Path(path).read_text()
    Path(path).unlink()


def test_an_editor_that_fails_or_is_not_there_is_told(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("narrative", label, "--edit", status=2, **editor(shell, "exit 1"))
    shell.lab("narrative", label, "--edit", status=2, EDITOR="/no/such/editor")
