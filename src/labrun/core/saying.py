"""The words and limits of what people say of an experiment; imports nothing, for commands must start fast."""

from typing import Literal

Verdict = Literal["validates", "refutes", "inconclusive", "partial"]
VERDICTS: tuple[Verdict, ...] = ("validates", "refutes", "inconclusive", "partial")
OTHER_WORDS: dict[str, Verdict] = {
    "validated": "validates",
    "confirmed": "validates",
    "confirms": "validates",
    "invalidated": "refutes",
    "invalidates": "refutes",
    "refuted": "refutes",
    "partially": "partial",
}
"""Words of other records, taken for ours."""
TEXT_LIMIT_BYTES = 256 * 1024
"""Longest remark; what is longer is a file."""
AUTHOR_LIMIT = 200
"""Longest name of an author, in characters."""


def verdict_of(word: str) -> Verdict | None:
    """The verdict a person means; None when it is none.

    >>> verdict_of("Refuted"), verdict_of("perhaps")
    ('refutes', None)
    """
    folded = word.strip().lower()
    return next((verdict for verdict in VERDICTS if verdict == folded), OTHER_WORDS.get(folded))
