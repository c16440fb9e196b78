from datetime import UTC, datetime

from labrun.core.narrative import Amendment, Annotation, Conclusion, Entry, Told, fold

AT = datetime(2026, 11, 20, tzinfo=UTC)


def test_nothing_said_is_nothing_told() -> None:
    assert fold([]) == Told()


def test_the_last_verdict_counts_and_lists_add_up() -> None:
    entries: list[Entry] = [
        Annotation(at=AT, author="ada", text="odd"),
        Conclusion(at=AT, author="ada", verdict="partial", outcome="so so", learnings=("mask first",)),
        Conclusion(
            at=AT, author="bob", verdict="refutes", learnings=("mask first", "less noise"), next_steps=("again",)
        ),
        Amendment(at=AT, author="ada", field="hypothesis", text="450 for z < 0.1"),
        Conclusion(at=AT, author="ada", next_steps=("write it up",)),
    ]
    told = fold(entries)
    assert (told.verdict, told.outcome) == ("refutes", "so so")
    assert told.learnings == ("mask first", "less noise")
    assert told.next_steps == ("again", "write it up")
    assert [note.text for note in told.annotations] == ["odd"]
    assert [later.field for later in told.amendments] == ["hypothesis"]
