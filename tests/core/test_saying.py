import pytest

from labrun.core.saying import VERDICTS, verdict_of


@pytest.mark.parametrize("word", [*VERDICTS, *(word.upper() for word in VERDICTS)])
def test_a_verdict_is_itself_in_any_case(word: str) -> None:
    assert verdict_of(f" {word} ") == word.lower()


def test_words_of_other_records_are_taken_for_ours() -> None:
    assert [verdict_of(word) for word in ("validated", "Invalidated", "confirmed")] == [
        "validates",
        "refutes",
        "validates",
    ]
    assert verdict_of("perhaps") is None
    assert verdict_of("") is None
