"""The example runs for real, without labrun, and its answer is right."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labrun.client.experiment_file import read

SCRIPT = Path(__file__).parents[2] / "examples/hubble/hubble.py"
SLOPE, INTERCEPT = 454.16, -40.78  # least squares of the same 24 points, km/s/Mpc and km/s


def fit(folder: Path, *options: str, output: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    if output is not None:
        variables["LAB_OUTPUT_PATH"] = str(output)
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("hubble")
    done = fit(folder)
    assert done.returncode == 0, done.stderr
    return folder / "outputs", done.stdout


def test_posterior_mean_agrees_with_least_squares_and_the_chains_with_each_other(default_run: tuple[Path, str]) -> None:
    output, _ = default_run
    summary = json.loads((output / "summary.json").read_text())
    assert summary["least_squares"]["slope"] == pytest.approx(SLOPE, abs=0.005)
    assert summary["least_squares"]["intercept"] == pytest.approx(INTERCEPT, abs=0.005)
    assert summary["parameters"]["slope"]["mean"] == pytest.approx(SLOPE, rel=0.05)
    assert all(parameter["r_hat"] < 1.05 for parameter in summary["parameters"].values())
    assert all(0.1 < share < 0.7 for share in summary["acceptance"])


def test_it_leaves_four_chains_and_a_figure_and_prints_progress(default_run: tuple[Path, str]) -> None:
    output, printed = default_run
    chains = sorted(path.name for path in (output / "chains").iterdir())
    assert chains == [f"chain-{number}.csv" for number in (1, 2, 3, 4)]
    with (output / "chains/chain-1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20_000
    assert set(rows[0]) == {"slope", "intercept", "sigma", "log_posterior"}
    assert (output / "hubble.png").read_bytes().startswith(b"\x89PNG")
    assert printed.count("% accepted") == 4


def test_summary_mean_is_the_mean_of_the_written_chains(default_run: tuple[Path, str]) -> None:
    output, _ = default_run
    slopes = [
        float(row["slope"])
        for path in (output / "chains").iterdir()
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    mean = json.loads((output / "summary.json").read_text())["parameters"]["slope"]["mean"]
    assert sum(slopes) / len(slopes) == pytest.approx(mean, rel=1e-4)


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    written = []
    for name, seed in (("first", "7"), ("again", "7"), ("other", "8")):
        output = tmp_path / name
        assert fit(tmp_path, "--samples", "300", "--seed", seed, output=output).returncode == 0
        written.append(b"".join(path.read_bytes() for path in sorted((output / "chains").iterdir())))
    assert written[0] == written[1]
    assert written[0] != written[2]
    assert not (tmp_path / "outputs").exists()  # LAB_OUTPUT_PATH was used instead


@pytest.mark.parametrize("options", [["--samples", "3"], ["--step", "0"], ["--seed", "-1"], ["--samples", "many"]])
def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path, options: list[str]) -> None:
    done = fit(tmp_path, *options)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_experiment_file_beside_it_says_how_to_run_it() -> None:
    found = read(SCRIPT.parent / "experiment.yaml")
    assert found.notices == ()
    assert found.description["cwd"] == str(SCRIPT.parent)
    assert found.description["args"] == ["--samples", "4000", "--seed", "1929"]
