import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

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
