import json
import math
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from labrun.store.folder import AttemptFolder, Folder
from labrun.store.metric_summary import CURVE_POINTS, NAMES_LIMIT, Summary, recorded_summary, sum_up, summary_at_end
from labrun.store.metrics import sources_of
from labrun.store.seal import seal_batch
from labrun.wire.metrics import MetricSummary, MetricsView
from tests.store.experiments import Experiment


def attempt(folder: Path, points: Iterable[tuple[str, object, object]]) -> AttemptFolder:
    found = AttemptFolder(folder / "attempts/1")
    found.path.mkdir(parents=True, exist_ok=True)
    with found.metrics.open("a") as stream:
        stream.writelines(json.dumps({"name": n, "value": v, "step": s}) + "\n" for n, v, s in points)
    return found


def summed(folder: AttemptFolder) -> MetricsView:
    summary = sum_up(folder)
    summary.read_on(is_final=True)
    return summary.show(has_curve=True)


def only(view: MetricsView) -> MetricSummary:
    (one,) = view.series
    return one


def test_a_metric_is_summed_up(tmp_path: Path) -> None:
    one = only(summed(attempt(tmp_path, [("loss", 3, 0), ("loss", 1.5, 1), ("loss", 2, 2)])))
    assert (one.count, one.last, one.last_step) == (3, 2, 2)
    assert (one.min, one.min_step, one.max, one.max_step) == (1.5, 1, 3, 0)
    assert (one.goal, one.best, one.best_step) == ("min", 1.5, 1)
    assert one.curve == (3.0, 1.5, 2.0)


def test_nan_and_infinities_are_counted_and_hide_nothing(tmp_path: Path) -> None:
    values = ["NaN", 2, "Infinity", -1, "-Infinity", "NaN"]
    one = only(summed(attempt(tmp_path, [("acc", value, i) for i, value in enumerate(values)])))
    assert (one.count, one.nan_count, one.infinite_count) == (6, 2, 2)
    assert (one.min, one.max, one.best, one.best_step) == (-1, 2, 2, 1)
    assert (one.last, one.last_step) == ("NaN", 5)


def test_a_metric_that_is_never_finite_has_no_extremes(tmp_path: Path) -> None:
    one = only(summed(attempt(tmp_path, [("loss", "NaN", 1)])))
    assert (one.min, one.max, one.best, one.curve) == (None, None, None, ())


def test_the_first_of_equal_values_is_the_best(tmp_path: Path) -> None:
    one = only(summed(attempt(tmp_path, [("loss", 1, 1), ("loss", 1, 2), ("loss", 1.0, 3)])))
    assert one.best_step == 1


def test_steps_that_go_back_or_are_missing_are_counted_and_change_nothing_else(tmp_path: Path) -> None:
    folder = attempt(tmp_path, [("a", i, step) for i, step in enumerate([0, 5, 3, None, 4, 4, -1])])
    one = only(summed(folder))
    assert (one.count, one.steps_back, one.last, one.last_step) == (7, 2, 6, -1)


def test_a_million_names_are_bounded_and_said(tmp_path: Path) -> None:
    count = 3 * NAMES_LIMIT  # a million behave alike, and take longer
    view = summed(attempt(tmp_path, ((f"n{i}", i, None) for i in range(count))))
    assert (view.name_count, view.point_count, view.unnamed_count) == (NAMES_LIMIT, count, count - NAMES_LIMIT)
    assert len(view.series) == NAMES_LIMIT


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.floats() | st.integers(-99, 99), st.none() | st.integers(-3, 9)),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_read_piece_by_piece_it_is_the_same_as_at_once(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[str, float, int | None]], cut: int
) -> None:
    folder = attempt(tmp_path_factory.mktemp("m"), points[:cut])
    summary = sum_up(folder)
    summary.read_on(is_final=False)
    attempt(folder.path.parents[1], points[cut:])
    summary.read_on(is_final=True)
    assert summary.show(has_curve=True) == summed(folder)
    for one in summary.show().series:
        values = [value for name, value, _ in points if name == one.name]
        finite = [value for value in values if math.isfinite(value)]
        assert (one.count, one.min, one.max) == (len(values), min(finite, default=None), max(finite, default=None))


def test_a_curve_stays_small_and_keeps_its_shape(tmp_path: Path) -> None:
    count = 10_000
    one = only(summed(attempt(tmp_path, (("a", i, None) for i in range(count)))))
    assert CURVE_POINTS <= len(one.curve) <= 2 * CURVE_POINTS
    assert list(one.curve) == sorted(one.curve)
    assert one.curve[0] < count / 50
    assert one.curve[-1] > count * 0.97


def test_values_at_the_edge_of_numbers_break_no_curve(tmp_path: Path) -> None:
    one = only(summed(attempt(tmp_path, [("a", value, None) for value in [1e308, 1e308, -1e308, 5e-324] * 200])))
    assert all(map(math.isfinite, one.curve))
    msgspec.json.decode(msgspec.json.encode(one), type=MetricSummary)


def test_what_is_read_at_once_is_bounded_and_reading_goes_on(tmp_path: Path) -> None:
    folder = attempt(tmp_path, (("a", i, i) for i in range(50_000)))
    summary = sum_up(folder)
    summary.read_on(is_final=True, budget_bytes=1)
    first = summary.show()
    assert not first.is_complete
    assert 0 < first.point_count < 50_000
    while not summary.show().is_complete:
        summary.read_on(is_final=True, budget_bytes=300_000)
    assert summary.show() == sum_up_whole(folder)


def sum_up_whole(folder: AttemptFolder) -> MetricsView:
    summary = sum_up(folder)
    summary.read_on(is_final=True)
    return summary.show()


def test_of_a_very_large_file_the_two_ends_are_summed_up_and_that_is_said(tmp_path: Path) -> None:
    folder = attempt(tmp_path, (("a", i, i) for i in range(100_000)))
    summary = Summary(1, sources_of(folder), limit_bytes=2**20)
    summary.read_on(is_final=True)
    view = summary.show()
    assert view.is_complete
    assert view.left_out_bytes > 1_000_000
    assert (only(view).last, only(view).min) == (99_999, 0)
    assert only(view).count == view.point_count < 100_000
    assert view.rejected_count == 0


def test_a_file_that_was_cut_is_summed_up_anew(tmp_path: Path) -> None:
    folder = attempt(tmp_path, [("a", 1, None)] * 5)
    summary = sum_up(folder)
    summary.read_on(is_final=False)
    folder.metrics.write_text("")
    attempt(tmp_path, [("b", 2, None)])
    summary.read_on(is_final=False)
    assert [(one.name, one.count) for one in summary.show().series] == [("b", 1)]


def test_rejected_lines_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    folder = attempt(tmp_path, [("a", "x", None)] * 10)
    view = summed(folder)
    assert (view.rejected_count, len(view.rejected), view.series) == (10, 3, ())
    assert view.rejected[0].startswith("byte 0: not a number")


def test_the_seal_keeps_the_last_values_and_the_summary_in_the_manifest(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    attempt(experiment.folder.path, [("loss", 0.5, 1), ("loss", "NaN", 2), ("\x1b[2J\x00", 3, None)])
    seal_batch([experiment.end()])
    manifest = json.loads(experiment.folder.manifest.read_bytes())
    assert manifest["metrics"] == {"loss": "NaN", "\x1b[2J\x00": 3}
    assert manifest["metric_summaries"]["series"][0]["nan_count"] == 1
    told = recorded_summary(experiment.folder)
    assert isinstance(told, MetricsView)
    assert told == sum_up_whole(experiment.folder.attempt(1))


def test_an_experiment_without_metrics_says_so_and_an_old_manifest_does_not_say(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    seal_batch([experiment.end()])
    assert recorded_summary(experiment.folder) is None
    assert summary_at_end(experiment.folder.attempt(1)) is None
    experiment.folder.manifest.write_text('{"metrics": {}}')
    assert recorded_summary(experiment.folder) is UNSET
    experiment.folder.manifest.write_text('{"torn')
    assert recorded_summary(Folder(experiment.folder.path)) is UNSET
