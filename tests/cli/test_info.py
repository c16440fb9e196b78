import json
import re
from pathlib import Path

import pytest

from labrun.cli.table import cells
from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def fit(shared: Shell) -> str:
    shared.write("fit.py", "import os\nopen(os.environ['LAB_OUTPUT_PATH'] + '/chain.csv', 'w').write('1')\n")
    label = shared.queue("--name", "fit/é\n", "--note", "is it\nwider?", "--timeout", "2h", "fit.py", "--lr", "1")
    shared.lab("wait", label)
    return label


def test_one_screen_answers_what_why_how_it_stands_and_where(shared: Shell, fit: str) -> None:
    text = shared.lab("info", fit).stdout
    lines = text.splitlines()
    assert lines[0] == rf"{fit} fit/é\n  succeeded"
    values = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:] if len(line.split()) > 1}
    assert values["what"] == "python fit.py --lr 1" or values["what"].endswith("fit.py --lr 1")
    assert "wider?" in text
    assert values["stands"].startswith("finished after ")
    assert Path(values["where"]).is_dir()
    assert "outputs/chain.csv" in text
    assert "running" in values


def test_every_kind_of_reference_finds_it(shared: Shell, fit: str) -> None:
    one = shared.experiment(fit)
    folder = Path(one["folder"])
    for reference in (fit.lower(), fit.removeprefix("EXP-"), one["run_id"], one["run_id"][:-2], str(folder), "latest"):
        assert shared.experiment(reference)["run_id"] == one["run_id"], reference
    assert shared.experiment(str(folder / "outputs"))["run_id"] == one["run_id"]
    assert json.loads(shared.lab("info", "--json", ".", cwd=folder / "work").stdout)["experiment"]["label"] == fit
    assert shared.experiment("fit/é\n")["label"] == fit, "a name with a slash"
    assert shared.lab("info", "--quiet", fit).stdout == f"{folder}\n"


def test_an_unknown_and_an_ambiguous_reference_are_refused_with_status_1(shared: Shell, fit: str) -> None:
    done = shared.lab("info", "EXP-999", status=1)
    assert done.stderr.startswith("lab: no experiment `EXP-999` in lab `main`\n")
    shared.lab("info", "no/such/path", status=1)
    labels = [shared.queue("--name", "twin", "--", "true") for _ in range(2)]
    refusal = json.loads(shared.lab("info", "--json", "twin", status=1).stdout)
    assert refusal["error"]["code"] == "ambiguous_reference"
    assert sorted(refusal["error"]["details"]) == labels


def test_a_failed_experiment_is_no_failed_question(shared: Shell) -> None:
    shared.lab("run", "--quiet", "--", "false", status=1)
    assert "exited with 1" in shared.lab("info").stdout


def screen_of(shell: Shell, columns: int, *words: str) -> list[str]:
    """What a terminal of so many columns shows, without colours."""
    in_window = ["sh", "-c", f'stty cols {columns} rows 90; exec "$@"', "sh", *LAB, *words]
    window = Window(in_window, shell.project, shell.variables)
    try:
        assert window.wait_exit() == 0
        return re.sub("\x1b\\[[0-9]*m", "", window.text).replace("\r", "").splitlines()
    finally:
        window.close()


@pytest.mark.parametrize("columns", [40, 80])
def test_in_a_narrow_window_everything_stands_under_its_field_and_nothing_is_cut(shell: Shell, columns: int) -> None:
    shell.write("fit.py", "raise SystemExit('no column `dec` in the table of the survey; it has ra, de and z')\n")
    note, name = "does the wide network learn faster than the narrow one, as a paper claims?", "a-name-of-some-length"
    label = shell.queue("--name", name, "--note", note, "fit.py", "--learning-rate", "0.001", "--data", "data/planck")
    shell.lab("wait", label, status=1)
    folder = shell.experiment(label)["folder"]
    before_log, _, after_log = "\n".join(screen_of(shell, columns, "info", label)).partition("  last lines")
    said = before_log.splitlines() + after_log.partition("run id")[2].splitlines()
    wide = [line.split() for line in said if cells(line) > columns]
    assert all(len(words) == 2 for words in wide), "a path alone stays whole, to be copied"
    assert ["where", folder] in wide
    told = "".join("".join(said).split())
    for text in (note, name, folder, "--learning-rate 0.001 --data data/planck", "the caller's environment is used"):
        assert "".join(text.split()) in told, text
    assert "…" not in told
    assert note in shell.lab("info", label).stdout, "in a pipe nothing is wrapped"
