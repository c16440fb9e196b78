import os
import subprocess
import sys

import pytest

from labrun.cli.curves import brief, curve, number, remarks, set_goals


def test_a_curve_is_as_wide_as_asked_or_as_long_as_it_is() -> None:
    assert curve([1.0, 2.0], 24) == "▁█"
    assert len(curve(list(range(1000)), 24)) == 24
    assert curve(list(range(8)), 8) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize("values", [[1e308, -1e308], [5e-324, 0.0], [0.0] * 9, [1.0]])
def test_no_value_breaks_a_curve(values: list[float]) -> None:
    assert len(curve(values, 24)) == len(values)


def test_a_terminal_without_blocks_gets_plain_characters() -> None:
    code = "from labrun.cli.curves import curve; print(curve(list(range(8)), 8))"
    variables = {"PYTHONIOENCODING": "ascii", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "_.-~=+*#\n"


def test_numbers_are_short_and_whole_ones_whole() -> None:
    assert [number(value) for value in (0, 12345678, 1 / 3, -1e300, "-Infinity", None)] == [
        "0",
        "12345678",
        "0.33333",
        "-1e+300",
        "-Infinity",
        "-",
    ]


def test_a_goal_that_was_asked_for_wins_over_the_name() -> None:
    one = {"name": "loss", "min": 1, "min_step": 2, "max": 3, "max_step": 4, "goal": "min", "best": 1, "best_step": 2}
    other = one | {"name": "acc"}
    set_goals([one, other], {"loss": "max"})
    assert (one["goal"], one["best"], one["best_step"]) == ("max", 3, 4)
    assert other["best"] == 1


def test_what_is_left_out_is_said() -> None:
    told = {"name_count": 7, "unnamed_count": 5, "left_out_bytes": 9000, "rejected_count": 2, "rejected": ["x\x1b"]}
    assert remarks(told, 3) == [
        "lab: 4 more metrics: name them, or `--csv` has every point",
        "lab: 5 points of further names are not told apart",
        "lab: 9,000 bytes in the middle are left out of counts and extremes",
        "lab: 2 lines are no measurements, such as",
        r"  x\x1b",
    ]


def test_the_first_few_fit_into_half_a_line() -> None:
    told = {"series": [{"name": f"m{i}", "last": i} for i in range(6)], "name_count": 60}
    assert brief(told) == "m0 0, m1 1, m2 2, m3 3 and 56 more"
