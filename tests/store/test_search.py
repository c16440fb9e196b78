"""The query and the plain predicate say the same of every experiment."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from labrun.store.folder import Folder
from labrun.store.index import Index
from labrun.store.search import build_search, key_of, last_values, matches, words_of
from labrun.store.sql.calls import fetch
from labrun.wire.requests import MetricRange, Order, Search
from labrun.wire.responses import Experiment
from tests.helpers import examples
from tests.store.test_index import AT, ended

TAGS, WORDS, USERS = ["sky", "sea", "a:b"], ["prior", "Wider", "köln"], ["ada", "bob"]


def described(number: int, tags: list[str], words: list[str], user: str, loss: float | None) -> Experiment:
    return structs.replace(
        ended(number, name=" ".join(words) or None),
        tags=tuple(tags),
        group=tags[0] if tags else None,
        user=user,
        metrics={} if loss is None else {"loss": loss},
        status="failed" if number % 3 == 0 else "succeeded",
        ended_at=AT + timedelta(seconds=number * 3 % 5) if number % 4 else None,
    )


EXPERIMENT = st.tuples(
    st.lists(st.sampled_from(TAGS), unique=True),
    st.lists(st.sampled_from(WORDS), unique=True),
    st.sampled_from(USERS),
    st.none() | st.sampled_from([0.1, 0.3, 2.0]),
)
SEARCH = st.builds(
    Search,
    status=st.none() | st.sampled_from(["failed", "succeeded"]),
    name=st.none() | st.sampled_from(["wider", "pri"]),
    tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
    group=st.none() | st.sampled_from(TAGS),
    user=st.none() | st.sampled_from(USERS),
    words=st.lists(st.sampled_from(["PRIOR", "wider köln"]), max_size=1).map(tuple),
    since=st.none() | st.integers(0, 8).map(lambda s: AT + timedelta(seconds=s)),
    metrics=st.lists(
        st.builds(MetricRange, st.just("loss"), st.sampled_from(["<", "<=", ">", ">=", "="]), st.just(0.3)), max_size=1
    ).map(tuple),
)


ORDER = st.one_of(
    st.builds(Order, st.sampled_from(["label", "name", "took"]), st.booleans()),
    st.builds(Order, st.just("metric"), st.booleans(), st.just("loss")),
)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    found = Index.open(tmp_path / "index.sqlite")
    yield found
    found.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150), deadline=None)
@given(made=st.lists(EXPERIMENT, max_size=8), search=SEARCH)
def test_the_index_finds_what_the_predicate_says(
    index: Index, made: list[tuple[list[str], list[str], str, float | None]], search: Search
) -> None:
    index.clear()
    experiments = [described(number, *facts) for number, facts in enumerate(made, start=1)]
    index.apply(experiments, consumed={})
    expected = [one.label for one in reversed(experiments) if matches(one, search)]
    assert [one.label for one in index.search("main", search, limit=50)] == expected
    assert [one.label for one in index.search("main", search, limit=1)] == expected[:1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150), deadline=None)
@given(made=st.lists(EXPERIMENT, max_size=8), search=SEARCH, order=ORDER, limit=st.integers(1, 3))
def test_pages_in_any_order_lose_and_double_nothing(
    index: Index, made: list[tuple[list[str], list[str], str, float | None]], search: Search, order: Order, limit: int
) -> None:
    index.clear()
    experiments = [described(number, *facts) for number, facts in enumerate(made, start=1)]
    index.apply(experiments, consumed={})
    keyed = [(key, one.label) for one in experiments if matches(one, search) and (key := key_of(one, order))]
    expected = [label for _, label in sorted(keyed, reverse=order.is_descending)]
    found, after = list[str](), None
    while page := index.search("main", search, order, limit=limit, after=after):
        found += [one.label for one in page]
        after = key_of(page[-1], order)
    assert found == expected


MANY = 3500
"""More than are counted before a condition is called frequent."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("crowded") / "index.sqlite"
    index = Index.open(path)
    tags = [["sky", "sea"] if number % 500 else ["sky", "a:b"] for number in range(MANY)]
    index.apply([described(n, tags[n - 1], ["prior"], "ada", n / MANY) for n in range(1, MANY + 1)], consumed={})
    index.close()
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@pytest.mark.parametrize("order", [Order(), Order("name"), Order("took"), Order("metric", metric="loss")])
@pytest.mark.parametrize(
    "search",
    [
        Search(),
        Search(status="succeeded"),
        Search(tags=("sky",)),
        Search(tags=("sky", "sea"), user="ada"),
        Search(words=("prior",), metrics=(MetricRange("loss", "<", 2.0),)),
        Search(since=AT, metrics=(MetricRange("loss", ">", 0.0),)),
    ],
    ids=str,
)
def test_what_is_frequent_is_found_along_the_order_without_sorting(
    crowded: apsw.Connection, search: Search, order: Order
) -> None:
    plan = plan_of(crowded, search, order)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan


@pytest.mark.parametrize("order", [Order(), Order("metric", metric="loss")])
@pytest.mark.parametrize(
    "rare",
    [
        {"tags": ("sky", "a:b")},
        {"tags": ("sky", "never")},
        {"metrics": (MetricRange("loss", "<", 0.01),)},
        {"since": AT + timedelta(days=400)},
        {"status": "cancelled"},
    ],
    ids=str,
)
def test_a_search_begins_with_what_is_rare(crowded: apsw.Connection, rare: dict[str, object], order: Order) -> None:
    frequent = Search(tags=("sky",), user="ada", words=("prior",))
    query, _ = query_of(crowded, structs.replace(frequent, **rare), order)
    assert " first CROSS JOIN " in query
    assert "FROM (SELECT label_number FROM" in query
    assert query.partition("(")[2].startswith("SELECT label_number FROM experiments") == bool(
        {"since", "status"} & rare.keys()
    )


def query_of(connection: apsw.Connection, search: Search, order: Order) -> tuple[str, list[object]]:
    return build_search("main", search, order, None, lambda *ask: fetch(connection, *ask)[0][0])


def plan_of(connection: apsw.Connection, search: Search, order: Order) -> list[str]:
    query, values = query_of(connection, search, order)
    return [row[3] for row in fetch(connection, f"EXPLAIN QUERY PLAN {query}", *values, 50)]


def test_a_page_begins_below_the_last_one(index: Index) -> None:
    index.apply([described(number, ["sky"], [], "ada", 0.1) for number in range(1, 8)], consumed={})
    page = index.search("main", Search(tags=("sky",)), limit=3, after=(0.0, 6))
    assert [one.label for one in page] == ["EXP-005", "EXP-004", "EXP-003"]
    assert index.search("other", Search(tags=("sky",)), limit=3) == []


def test_an_experiment_that_is_replaced_or_removed_leaves_nothing_behind(index: Index) -> None:
    index.apply([described(1, ["sky"], ["prior"], "ada", 0.1)], consumed={})
    index.apply([described(1, ["sea"], [], "bob", None)], consumed={})
    assert index.search("main", Search(tags=("sky",)), limit=9) == []
    assert index.search("main", Search(metrics=(MetricRange("loss", "<", 1.0),)), limit=9) == []
    index.remove("2026-11-20_00000001")
    assert index.search("main", Search(tags=("sea",)), limit=9) == []


def test_words_are_bounded() -> None:
    assert len(words_of(structs.replace(ended(1), note=" ".join(f"w{n}" for n in range(10_000))))) == 64


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b'{"metrics":{"loss":0.5,"steps":3,"bad":"NaN","none":null}}', {"loss": 0.5, "steps": 3.0}),
        (b"{}", {}),
        (b"torn", {}),
        (None, {}),
    ],
)
def test_last_values_come_from_the_manifest(tmp_path: Path, content: bytes | None, values: dict[str, float]) -> None:
    if content is not None:
        (tmp_path / "run_manifest.json").write_bytes(content)
    assert last_values(Folder(tmp_path)) == values
