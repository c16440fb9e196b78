"""All SQL of the house: named and described queries in `.sql` files, and the reader of those files.

A query begins with `-- name: claim_row`; a comment below says what it does, the statements follow.
Never here: a connection, a decision. The queue back end and the index come in.
"""

import re
from pathlib import Path

_HEAD = re.compile(r"^-- name: (\w+)\n((?:--.*\n)+)", re.MULTILINE)


def queries(file_name: str) -> dict[str, str]:
    """Read a file of this folder; statements by the name of their query.

    Raises:
        ValueError: A name comes twice, or a query has no description.
    """
    return split((Path(__file__).parent / file_name).read_text(encoding="utf-8"))


def split(text: str) -> dict[str, str]:
    r"""Split a text into its queries.

    >>> split("-- name: one\n-- The number one.\nSELECT 1;\n")
    {'one': 'SELECT 1;'}

    Raises:
        ValueError: A name comes twice, or a query has no description.
    """
    heads = list(_HEAD.finditer(text))
    if len(heads) != text.count("-- name:"):
        raise ValueError("every query needs a line below its name that describes it")
    found: dict[str, str] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        if head.group(1) in found:
            raise ValueError(f"the query `{head.group(1)}` is there twice")
        found[head.group(1)] = text[head.end() : following.start() if following else len(text)].strip()
    return found
