import re
from pathlib import Path

import apsw
import pytest

from labrun.store.sql import queries, split

STORE = Path(__file__).parents[2] / "src/labrun/store"
USERS = {"queue.sql": ["queue/sqlite.py", "queue/committer.py", "queue/database.py"], "index.sql": ["index.py"]}


@pytest.mark.parametrize("name", USERS)
def test_every_query_is_valid_and_every_one_is_used(name: str) -> None:
    found = queries(name)
    text = "".join((STORE / user).read_text(encoding="utf-8") for user in USERS[name])
    used = {a or b for a, b in re.findall(r'SQL\["(\w+)"\]|_(?:one|many|rows)\("(\w+)"', text)}
    assert used == set(found)
    connection = apsw.Connection(":memory:")
    connection.execute(found.pop("schema"))
    for statement in found.values():
        numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
        count = max(numbered, default=0) or statement.count("?")
        connection.execute(f"EXPLAIN {statement}", [None] * count)


@pytest.mark.parametrize("name", USERS)
def test_no_list_is_read_by_offset(name: str) -> None:
    assert not [query for query in queries(name).values() if "OFFSET" in query.upper()]


def test_a_query_without_description_is_refused() -> None:
    with pytest.raises(ValueError, match="describes"):
        split("-- name: one\nSELECT 1;\n")


def test_two_queries_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        split("-- name: one\n-- The first.\nSELECT 1;\n-- name: one\n-- The second.\nSELECT 2;\n")
