import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def old(shared: Shell) -> str:
    shared.write("prior.yaml", "wide\n")
    shared.write("stars.csv", "1,2\n")
    script = shared.write("cloned.py", "import sys\nprint(sys.argv[1:])\n")
    options = [
        "--note",
        "wider: #1",
        "--config",
        "prior.yaml",
        "--input",
        "stars=stars.csv",
        "--tag",
        "on",
        "--seed",
        "7",
    ]
    label = shared.queue(
        "--name", "fit", "--timeout", "90s", "--memory", "1G", *options, script, "--lr", "1e-3", "on", ""
    )
    shared.lab("wait", label)
    return label


@pytest.mark.parametrize("name", ["next.yaml", "next.yml", "next.json"])
def test_the_file_queued_as_it_is_makes_the_same_definition(shared: Shell, old: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / name  # elsewhere: its paths are absolute
    assert str(file) in shared.lab("clone", old, "-o", str(file)).stdout
    new = shared.queue("-f", str(file))
    shared.lab("wait", new)
    one, other = shared.experiment(old), shared.experiment(new)
    for what in ("definition", "tree", "name", "note", "tags", "resources", "command"):
        assert other[what] == one[what], what
    assert other["parent"] == one["run_id"]


def test_it_is_printed_with_what_no_file_can_say(shared: Shell, old: str) -> None:
    lines = shared.lab("clone", old).stdout.splitlines()
    assert lines[0].startswith(f"# From {old} (")
    assert any("environment variables are not in it" in line for line in lines if line.startswith("# "))
    assert 'note: "wider: #1"' in lines
    assert lines[lines.index("args:") + 1 :][:4] == ['  - "--lr"', '  - "1e-3"', '  - "on"', '  - ""']
    assert shared.lab("clone", "--quiet", old).stdout == f"{old}\n"
    answer = shared.json("clone", old)
    assert answer["description"]["args"] == ["--lr", "1e-3", "on", ""]


def test_nothing_is_written_over(shared: Shell, old: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine\n")
    assert "nothing is written over" in shared.lab("clone", old, "-o", str(file), status=2).stderr
    assert file.read_text() == "mine\n"
    for wrong in ("next.toml", "next", str(tmp_path / "no/such/folder.yaml")):
        shared.lab("clone", old, "-o", wrong, status=2)


def test_a_staged_file_is_named_by_its_copy(shared: Shell) -> None:
    script = 'import os; open(os.environ["LAB_OUTPUT_PATH"] + "/m.pt", "w").write("w")\n'
    first = shared.queue(shared.write("stages.py", script))
    shared.lab("wait", first)
    second = shared.lab("requeue", "--quiet", first, "--stage", "outputs/m.pt", "--", "{staged}").stdout.strip()
    shared.lab("wait", second)
    copy = Path(shared.experiment(second)["folder"]) / "staged/m.pt"
    assert json.loads(shared.lab("clone", "--json", second).stdout)["description"]["args"] == [str(copy)]
    assert copy.read_text() == "w"
