from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labrun.core.layers import DEFAULTS, MERGED, RESOURCES, Layer, anchored, lay_over

PODS: Mapping[str, Mapping[str, Any]] = {
    "h100": {"gpus": 1, "memory": "64G", "price_per_hour": 2.5},
    "cpu": {"cpus": 4},
}


def layer(name: str, **description: Any) -> Layer:
    return Layer(description, lambda field: f"{name}: {field}")


def test_the_stronger_layer_wins_and_the_place_of_each_value_is_kept() -> None:
    merged = lay_over([layer("home", priority=3, note="x"), layer("flag", priority=7)], {})
    assert merged.description == {"priority": 7, "note": "x"}
    assert merged.origins == {"priority": "flag: priority", "note": "home: note"}


def test_members_of_tables_are_taken_one_by_one_and_lists_as_a_whole() -> None:
    weak = layer("home", env={"A": "1", "B": "1"}, resources={"cpus": 1, "gpus": 1}, tags=["a"])
    strong = layer("flag", env={"B": "2"}, resources={"gpus": 2}, tags=["b"])
    merged = lay_over([weak, strong], {})
    assert merged.description == {"env": {"A": "1", "B": "2"}, "resources": {"cpus": 1, "gpus": 2}, "tags": ["b"]}
    assert merged.origins["env.A"] == "home: env.A"
    assert merged.origins["resources.gpus"] == "flag: resources.gpus"


def test_a_pod_replaces_weaker_resources_and_yields_to_those_beside_and_above_it() -> None:
    weak = layer("home", resources={"cpus": 9, "disk": "1T"})
    middle = layer("file", resources={"memory": "8G"}, pod="h100")
    merged = lay_over([weak, middle, layer("flag", resources={"gpus": 2})], PODS)
    assert merged.description == {"resources": {"gpus": 2, "memory": "8G"}, "pod": "h100"}
    assert merged.origins == {
        "pod": "file: pod",
        "resources.memory": "file: resources.memory",
        "resources.gpus": "flag: resources.gpus",
    }


def test_a_stronger_pod_replaces_a_weaker_one_whole() -> None:
    merged = lay_over([layer("home", pod="h100"), layer("flag", pod="cpu")], PODS)
    assert merged.description == {"pod": "cpu", "resources": {"cpus": 4}}
    assert merged.origins == {"pod": "flag: pod", "resources.cpus": "the pod of flag: pod"}


def test_a_pod_nobody_knows_is_left_for_whoever_knows_the_home() -> None:
    merged = lay_over([layer("home", resources={"cpus": 1}), layer("flag", pod="h200")], PODS)
    assert merged.description == {"pod": "h200"}


fields = st.dictionaries(
    st.sampled_from(["priority", "note", "tags", "resources", "env", "pod"]), st.integers(), max_size=4
)


def plain(numbers: Mapping[str, int]) -> dict[str, Any]:
    """A description in which every value is a number, tables and pods included."""
    found: dict[str, Any] = dict(numbers)
    for table, names in (("resources", RESOURCES), ("env", ("A", "B"))):
        if table in found:
            found[table] = {names[found[table] % len(names)]: found[table]}
    if "pod" in found:
        found["pod"] = sorted(PODS)[found["pod"] % len(PODS)]
    return found


@given(st.lists(fields, max_size=4))
def test_every_value_has_exactly_one_place(several: list[dict[str, int]]) -> None:
    merged = lay_over([layer(str(at), **plain(numbers)) for at, numbers in enumerate(several)], PODS)
    named = {
        f"{field}.{name}" if field in MERGED else field
        for field, value in merged.description.items()
        for name in (value if field in MERGED else [None])
    }
    assert named == set(merged.origins)


@given(st.lists(fields, max_size=4))
def test_an_empty_layer_changes_nothing(several: list[dict[str, int]]) -> None:
    layers = [layer(str(at), **plain(numbers)) for at, numbers in enumerate(several)]
    assert lay_over([layer("empty"), *layers, layer("empty")], PODS) == lay_over(layers, PODS)


def test_paths_count_from_the_folder_they_were_written_in() -> None:
    given_ = {
        "config": ["a.yaml", "/etc/b.yaml", "~/c.yaml"],
        "links": ["data"],
        "inputs": {"stars": "stars.csv"},
        "outputs": ["*.csv"],
        "python": "venv/bin/python",
    }
    assert anchored(given_, "/p") == {
        "config": ["/p/a.yaml", "/etc/b.yaml", "~/c.yaml"],
        "links": ["/p/data"],
        "inputs": {"stars": "/p/stars.csv"},
        "outputs": ["*.csv"],
        "python": "/p/venv/bin/python",
    }
    assert given_["links"] == ["data"], "what was given is left alone"


def test_what_holds_without_a_word_is_said_in_words() -> None:
    assert DEFAULTS["priority"] == "5"
    assert all(isinstance(text, str) for text in DEFAULTS.values())
