"""An experiment written down: the same in three formats, checked whole, overruled by the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell, shared, shell

__all__ = ["shared", "shell"]  # pytest finds them here

FILES = {
    "e.yaml": "script: show.py\nargs: [--lr, 1e-3, 1.10]\nname: planck\nseed: 7\ntimeout: 1m\nenv: {A: 3.10}\n"
    "config: prior.yaml\ninputs: {stars: stars.csv}\ntags: [a, b]\nhypothesis: wider is better\nresources: {cpus: 1}\n",
    "e.toml": 'script = "show.py"\nargs = ["--lr", 1e-3, 1.10]\nname = "planck"\nseed = 7\ntimeout = "1m"\n'
    'env.A = 3.10\nconfig = "prior.yaml"\ninputs.stars = "stars.csv"\ntags = ["a", "b"]\n'
    'hypothesis = "wider is better"\nresources.cpus = 1\n',
    "e.json": '{"script": "show.py", "args": ["--lr", 1e-3, 1.10], "name": "planck", "seed": 7, "timeout": "1m",'
    ' "env": {"A": 3.10}, "config": "prior.yaml", "inputs": {"stars": "stars.csv"}, "tags": ["a", "b"],'
    ' "hypothesis": "wider is better", "resources": {"cpus": 1}}',
}
SCRIPT = "import os, sys\nprint(sys.argv[1:], os.environ['A'], flush=True)\n"


@pytest.fixture(scope="module")
def files(shared: Shell) -> Path:
    """A folder of the project with a script, what it needs and the three files."""
    folder = shared.project / "study"
    folder.mkdir()
    for name, text in {**FILES, "show.py": SCRIPT, "prior.yaml": "wide\n", "stars.csv": "1,2\n"}.items():
        (folder / name).write_text(text)
    return folder


def spec_of(shell: Shell, label: str) -> dict[str, Any]:
    """What was accepted, as the folder keeps it."""
    shell.lab("wait", label)
    folder = Path(shell.experiment(label)["folder"])
    first = (folder / "events.jsonl").read_text().splitlines()[0]
    found: dict[str, Any] = json.loads(first)["spec"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_three_formats_make_the_same_experiment(name: str, shared: Shell, files: Path) -> None:
    label = shared.queue("-f", str(files / name))
    spec = spec_of(shared, label)
    assert (spec["name"], spec["seed"], spec["timeout_s"]) == ("planck", 7, 60.0)
    assert spec["target"]["argv"][1:] == ["show.py", "--lr", "1e-3", "1.10"]
    assert spec["source"]["cwd"] == "study"
    assert spec["narrative"]["hypothesis"] == "wider is better"
    assert list(spec["narrative"]["tags"]) == ["a", "b"]
    assert spec["resources"] == {"cpus": 1}
    assert shared.lab("logs", label).stdout == "['--lr', '1e-3', '1.10'] 3.10\n"


def test_three_formats_mean_the_same_request(shared: Shell, files: Path) -> None:
    requests = [shared.json("queue", "--dry-run", "-f", str(files / name))["request"] for name in FILES]
    assert requests[0] == requests[1] == requests[2]
    assert requests[0]["configs"] == [str(files / "prior.yaml")]
    assert requests[0]["inputs"] == {"stars": str(files / "stars.csv")}


def test_every_value_says_where_it_was_written(shared: Shell, files: Path) -> None:
    shown = shared.json("queue", "--dry-run", "--seed", "8", "-f", "study/e.yaml")
    assert shown["origins"]["seed"] == "--seed"
    assert shown["origins"]["timeout"] == "study/e.yaml:5:1"
    assert shown["origins"]["resources.cpus"] == "study/e.yaml:11:13"


def test_paths_count_from_where_they_were_written(shared: Shell, files: Path) -> None:
    (shared.project / "narrow.yaml").touch()
    args = ("--config", "narrow.yaml", "--input", "stars=narrow.yaml", "-f", "study/e.yaml")
    request = shared.json("queue", "--dry-run", *args)["request"]
    assert request["configs"] == [str(shared.project / "narrow.yaml")]
    assert request["inputs"] == {"stars": str(shared.project / "narrow.yaml")}
    shared.write("other.py", "")
    request = shared.json("queue", "--dry-run", "-f", "study/e.yaml", "other.py")["request"]
    assert request["configs"] == [str(files / "prior.yaml")]
    assert request["spec"]["source"]["cwd"] == "."


def test_the_command_line_wins_over_the_file(shared: Shell, files: Path) -> None:
    spec = spec_of(shared, shared.queue("-f", str(files / "e.yaml"), "--seed", "8", "--name", "other"))
    assert (spec["seed"], spec["name"], spec["timeout_s"]) == (8, "other", 60.0)


def test_a_file_with_errors_is_refused_before_anything_happens(shell: Shell) -> None:
    (shell.project / "wrong.yaml").write_text("scirpt: train.py\ntimeout: 4x\nresources: {cpu: 4}\n")
    done = shell.lab("queue", "-f", "wrong.yaml", status=2)
    assert done.stderr.splitlines() == [
        "lab: `wrong.yaml` has 3 errors; nothing was submitted",
        "  wrong.yaml:1:1: unknown field `scirpt`; did you mean `script`?",
        "  wrong.yaml:2:10: `timeout` is '4x', not a duration above zero such as 90s, 15m or 4h",
        "  wrong.yaml:3:13: unknown field `cpu` of `resources`; did you mean `cpus`?",
        "  mend it and try again; `lab schema` prints what is allowed",
    ]
    assert not shell.home.exists()


def test_programs_get_the_errors_one_by_one(shell: Shell) -> None:
    (shell.project / "wrong.toml").write_text('script = "gone.py"\nlive = 1\n')
    error = shell.json("queue", "-f", "wrong.toml", status=2)["error"]
    assert error["code"] == "bad_description"
    assert [item["at"] for item in error["details"]] == ["wrong.toml:1:10", "wrong.toml:2:8"]
