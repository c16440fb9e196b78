"""The form people edit: leaving it alone says nothing, whatever its texts hold."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labrun.cli.narrative_form import HEADINGS, form, read_form
from labrun.cli.told import BEFORE
from labrun.core.errors import BadDescription

ONE = {"label": "EXP-007", "name": "wide", "status": "succeeded", "step": "completed", "command": ["python", "fit.py"]}
DETAIL: dict[str, Any] = {
    "experiment": ONE,
    "narrative": {"hypothesis": "it is so"},
    "told": {"verdict": "partial", "learnings": ["mask first"]},
}
TEXTS = st.text() | st.text(alphabet="#\\ \n\r-*a\x0b\x85\u2028")


def detail(**told: Any) -> dict[str, Any]:
    return {"experiment": ONE, "narrative": {}, "told": told}


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), TEXTS)
@example("", "", [], "first\r\nsecond")
def test_a_form_that_is_not_touched_says_nothing(before: str, outcome: str, learnings: list[str], later: str) -> None:
    whole = {
        "experiment": ONE,
        "narrative": {"hypothesis": before, "context": later},
        "told": {
            "outcome": outcome,
            "learnings": learnings,
            "amendments": [{"field": "context", "text": before}],
        },
    }
    assert read_form(form(whole), whole, "f.md") == ([], [])


@given(TEXTS.filter(str.strip))
def test_what_is_written_below_a_heading_arrives_as_it_was_shown_again(text: str) -> None:
    shown = form({"experiment": ONE, "narrative": {"intent": text}, "told": {}})
    remarks, removed = read_form(shown, detail(), "f.md")
    normal = text.replace("\r\n", "\n").strip()
    assert (remarks, removed) == ([{"text": normal, "field": "intent"}], [])


def test_an_editor_of_another_system_changes_nothing_by_its_line_ends() -> None:
    text = "\ufeff" + form(DETAIL).replace("\n", "\r\n")
    assert read_form(text, DETAIL, "f.md") == ([], [])


def test_an_emptied_form_says_nothing() -> None:
    assert read_form("", DETAIL, "f.md") == ([], [])
    assert read_form(" \n\n", DETAIL, "f.md") == ([], [])


def test_what_was_changed_becomes_amendments_conclusions_and_notes() -> None:
    text = form(DETAIL).replace("it is so", "it is so below z = 0.1")
    text = text.replace("## Verdict\n# validates, refutes, inconclusive, partial\npartial", "## verdict\nRefuted")
    text = text.replace("- mask first\n", "- mask first\n- less noise\n  than before\n- -1 dB is enough\n*\n")
    text += "seen again\nin the evening\n"
    remarks, removed = read_form(text, DETAIL, "f.md")
    assert remarks == [
        {"text": "it is so below z = 0.1", "field": "hypothesis"},
        {"verdict": "refutes", "learnings": ["less noise than before", "-1 dB is enough"]},
        {"text": "seen again\nin the evening"},
    ]
    assert removed == []


def test_items_may_be_written_without_dashes() -> None:
    text = form(detail()).replace("## Next steps\n", "## Next steps\nfirst this\nthen that\n")
    assert read_form(text, detail(), "f.md")[0] == [{"next_steps": ["first this", "then that"]}]


def test_what_is_taken_out_is_named_and_changes_nothing() -> None:
    text = form(DETAIL).replace("- mask first\n", "").replace("it is so\n", "")
    assert read_form(text, DETAIL, "f.md") == ([], ["Hypothesis", "Learnings"])


def test_a_heading_that_is_taken_out_is_like_its_text() -> None:
    assert read_form("## Note\nonly this", DETAIL, "f.md")[0] == [{"text": "only this"}]


def test_an_amended_text_is_what_one_goes_on_from() -> None:
    amended = DETAIL | {"told": {"amendments": [{"field": "hypothesis", "text": "it is not"}]}}
    assert "it is not" in form(amended)
    back = form(amended).replace("it is not", "it is so")
    assert read_form(back, amended, "f.md")[0] == [{"text": "it is so", "field": "hypothesis"}]


def test_what_is_wrong_is_told_with_its_lines_and_how_to_give_it_again() -> None:
    text = "stray\n" + form(DETAIL).replace("## Context", "## Contxt").replace("\npartial", "\nperhaps")
    with pytest.raises(BadDescription) as refusal:
        read_form(text, DETAIL, "f.md")
    told = str(refusal.value.details)
    lines = text.split("\n")
    places = [f"f.md:{number}" for number in (1, lines.index("## Contxt") + 1, lines.index("perhaps"))]
    assert [place in told for place in places] == [True, True, True], told
    assert told.index(places[0]) < told.index(places[1]) < told.index("perhaps")
    assert "lab narrative EXP-007 -F f.md" in str(refusal.value.hint)


def test_every_field_of_the_narrative_has_its_heading_once() -> None:
    lines = form(DETAIL).splitlines()
    assert [line[3:] for line in lines if line.startswith("## ")] == list(HEADINGS)
    assert set(BEFORE) < set(HEADINGS)


def test_escape_sequences_of_names_do_not_reach_the_editor() -> None:
    odd = DETAIL | {"experiment": ONE | {"name": "a\x1b[2J", "command": ["\x1b[31m"]}}
    assert "\x1b" not in form(odd)
