"""The example trains for real, alone and through `lab run`, and its failure card says what went wrong."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrun.client.experiment_file import read
from tests.cli.conftest import Shell

EXAMPLE = Path(__file__).parents[2] / "examples/digits"


def train(folder: Path, *options: str, interpreter: tuple[str, ...] = (sys.executable,), **variables: str) -> str:
    """Run the script as anybody would; give what it printed."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    done = subprocess.run(
        [*interpreter, str(EXAMPLE / "digits.py"), *options],
        cwd=folder,
        env=plain | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A home that knows one training that succeeded and one that failed."""
    found = Shell(tmp_path_factory.mktemp("digits"))
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, found.project)
    found.lab("run", "--name", "good", "digits.py", "--epochs", "10", VIRTUAL_ENV=sys.prefix)
    found.lab("run", "--name", "bad", "digits.py", "--epochs", "10", "--fail", status=1, VIRTUAL_ENV=sys.prefix)
    yield found
    found.end()


# --- as a script


def test_it_learns_to_read_and_says_so_epoch_by_epoch(tmp_path: Path) -> None:
    printed = train(tmp_path).splitlines()
    assert printed[0] == "1347 digits to learn from, 450 unseen"
    assert sum(line.startswith("epoch ") for line in printed) == 40
    summary = json.loads((tmp_path / "outputs/summary.json").read_text())
    assert summary["val_accuracy"] > 0.95
    with (tmp_path / "outputs/confusion.csv").open(newline="") as file:
        rows = [[int(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]]
    assert sum(map(sum, rows)) == 450
    assert sum(rows[digit][digit] for digit in range(10)) / 450 == pytest.approx(summary["val_accuracy"])


def test_the_same_seed_gives_the_same_results_and_another_seed_others(tmp_path: Path) -> None:
    written = []
    for name, seed in (("first", "7"), ("again", "7"), ("other", "8")):
        train(tmp_path, "--epochs", "3", "--seed", seed, LAB_OUTPUT_PATH=str(tmp_path / name))
        written.append((tmp_path / name / "confusion.csv").read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]
    assert not (tmp_path / "outputs").exists()  # LAB_OUTPUT_PATH was used instead


def test_without_labrun_it_trains_all_the_same_and_its_metrics_are_kept(tmp_path: Path) -> None:
    # `None` among the modules is what an environment without labrun looks like to an import.
    hide = "import runpy, sys; sys.modules['labrun'] = None; del sys.argv[0]; "
    hide += "runpy.run_path(sys.argv[0], run_name='__main__')"
    points = tmp_path / "points.jsonl"
    train(tmp_path, "--epochs", "2", interpreter=(sys.executable, "-c", hide), LAB_METRICS=str(points))
    found = [json.loads(line) for line in points.read_text().splitlines()]
    assert [(point["name"], point["step"]) for point in found] == [
        ("loss", 1),
        ("val_accuracy", 1),
        ("loss", 2),
        ("val_accuracy", 2),
    ]
    train(tmp_path, "--epochs", "1", interpreter=(sys.executable, "-c", hide))


@pytest.mark.parametrize("options", [["--epochs", "0"], ["--learning-rate", "-1"], ["--seed", "-1"], ["--hidden", "x"]])
def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "digits.py"), *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- as an experiment


def test_its_metrics_and_results_are_in_the_record(laboratory: Shell) -> None:
    series = {one["name"]: one for one in laboratory.json("metrics", "good")["series"]}
    assert {name: one["count"] for name, one in series.items()} == {"loss": 10, "val_accuracy": 10}
    summary = json.loads((Path(laboratory.experiment("good")["folder"]) / "outputs/summary.json").read_text())
    assert series["val_accuracy"]["last"] == summary["val_accuracy"]
    assert laboratory.lab("list", "--quiet", "--metric", "val_accuracy>0.5").stdout == "EXP-001\n"


def test_the_failure_card_names_mode_exception_place_and_what_changed(laboratory: Shell) -> None:
    told = laboratory.json("info", "bad")["card"]
    assert told["failure"]["mode"] == "code_error"
    assert told["failure"]["error"]["text"].startswith("Diverged: loss ")
    assert told["failure"]["error"]["text"].endswith("with learning rate 10")
    assert told["failure"]["error"]["where"] == "train"
    assert told["changes"]["since"] == "EXP-001"
    (change,) = told["changes"]["changes"]
    assert change["kind"] == "arguments"
    assert "--fail" in change["text"]


def test_what_it_measured_before_it_failed_is_kept(laboratory: Shell) -> None:
    assert {one["name"] for one in laboratory.json("metrics", "bad")["series"]} == {"loss", "val_accuracy"}


def test_the_experiment_file_beside_it_says_how_to_run_it() -> None:
    found = read(EXAMPLE / "experiment.yaml")
    assert found.notices == ()
    assert found.description["args"][:4] == ["--epochs", "40", "--learning-rate", "0.01"]
