import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.metrics import NAME_LIMIT, Point, goal_of, points_of, to_float, to_number, writable


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("loss", "min"),
        ("val_loss", "min"),
        ("train/loss_epoch", "min"),
        ("validation.RMSE", "min"),
        ("valLoss", "min"),
        ("mean_squared_error", "min"),
        ("brier_score", "min"),
        ("accuracy_error", "min"),
        ("chi2", "min"),
        ("top5_error", "min"),
        ("accuracy", "max"),
        ("test-acc", "max"),
        ("roc_auc", "max"),
        ("f1_macro", "max"),
        ("f1_score", "max"),
        ("score", "max"),
        ("precision@5", "max"),
        ("log_likelihood", "max"),
        ("accuracy_top5", "max"),
        ("neg_log_likelihood", "min"),
        ("neg_mean_squared_error", "max"),
        ("negLogLikelihood", "min"),
        ("loss_scale", None),
        ("loss_weight", None),
        ("reward_loss", "min"),
        ("learning_rate", None),
        ("lr", None),
        ("steps", None),
        ("energy", None),
        ("glossy", None),
        ("", None),
        ("損失", None),
    ],
)
def test_which_way_is_better_is_claimed_only_where_the_name_says_so(name: str, goal: str | None) -> None:
    assert goal_of(name) == goal


def test_any_name_is_judged_quickly() -> None:
    assert goal_of("loss" * 100_000) is None
    assert goal_of("_" * 1_000_000) is None


def test_an_object_with_name_and_value_is_one_point() -> None:
    plain = {"name": "a", "value": 1, "step": 2, "time": "2026-11-20T12:00:00Z", "other": 3}
    assert points_of(plain) == [Point("a", 1, 2, 1795176000.0)]
    assert points_of({"name": "a", "value": math.nan, "step": math.inf}) == [Point("a", "NaN")]
    assert points_of({"name": "a", "value": 1, "time": "noon", "timestamp": 5}) == [Point("a", 1, None, 5.0)]


def test_any_other_object_is_a_point_for_each_number() -> None:
    plain = {"step": 3, "epoch": 1, "loss": 0.5, "acc": "nan", "phase": "fit", "list": [1], "is_best": True, "time": 9}
    assert points_of(plain) == [
        Point("epoch", 1, 3, 9.0),
        Point("loss", 0.5, 3, 9.0),
        Point("acc", "NaN", 3, 9.0),
        Point("is_best", 1, 3, 9.0),
    ]
    assert points_of({"step": 3}) == []


@pytest.mark.parametrize(
    "plain", [None, 3, "x", [], [{"a": 1}], {}, {"name": "a"}, {"value": 1}, {"name": 1, "value": 1}]
)
def test_what_holds_no_point_gives_none(plain: object) -> None:
    assert points_of(plain) == []


@pytest.mark.parametrize("name", ["", "x" * (NAME_LIMIT + 1)])
def test_a_name_that_is_none_makes_no_point(name: str) -> None:
    assert points_of({"name": name, "value": 1}) == []
    assert points_of({name: 1}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(JSON | st.fixed_dictionaries({"name": st.text(), "value": JSON, "step": JSON, "time": JSON}))
def test_whatever_json_holds_comes_out_as_points_that_json_can_hold(plain: object) -> None:
    for point in points_of(json.loads(json.dumps(plain))):
        assert 1 <= len(point.name) <= NAME_LIMIT
        point.name.encode()
        assert to_number(point.value) == point.value
        assert point.step is None or math.isfinite(point.step)
        assert isinstance(to_float(point.value), float)


def test_a_name_is_written_the_same_everywhere() -> None:
    assert writable("a\ud800b") == "a\\ud800b"
    assert len(writable("\udc80" * NAME_LIMIT) or "") == NAME_LIMIT
