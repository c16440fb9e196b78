import json
from pathlib import Path

import pytest

from labrun.cli.pull import is_wanted
from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def ended(shared: Shell) -> str:
    script = shared.write(
        "make.py",
        "import os\nos.chdir(os.environ['LAB_OUTPUT_PATH'])\nos.mkdir('plots')\n"
        "for name in ('a.csv', 'b.csv', 'plots/c.png'):\n    open(name, 'w').write(name * 1000)\n"
        "os.symlink('a.csv', 'link')\nopen(os.environ['LAB_FOLDER'] + '/work/left.txt', 'w').write('left')\n",
    )
    label = shared.queue("--name", "made", script)
    shared.lab("wait", label)
    return label


def test_everything_but_the_code_comes_into_a_folder_of_its_name(shared: Shell, ended: str, tmp_path: Path) -> None:
    done = shared.lab("pull", ended, cwd=tmp_path)
    here = tmp_path / Path(shared.experiment(ended)["folder"]).name
    assert (here / "outputs/plots/c.png").read_text() == "plots/c.png" * 1000
    assert (here / "run_manifest.json").exists()
    assert not (here / "work").exists()
    assert done.stdout.startswith(f"{ended}: ")
    assert "links are not copied: outputs/link" in done.stderr
    assert ", 0 were" not in done.stdout


def test_only_what_is_asked_for_comes(shared: Shell, ended: str, tmp_path: Path) -> None:
    told = json.loads(shared.lab("pull", "--json", ended, "*.csv", "work", "-o", str(tmp_path / "x")).stdout)
    found = sorted(str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert found == ["outputs/a.csv", "outputs/b.csv", "work/left.txt", "work/make.py", "work/pyproject.toml"]
    assert told["copied"] == len(found)


def test_again_it_copies_nothing(shared: Shell, ended: str, tmp_path: Path) -> None:
    shared.lab("pull", ended, "outputs", "-o", str(tmp_path))
    assert shared.lab("pull", ended, "outputs", "-o", str(tmp_path)).stdout == (
        f"{ended}: 0 files, 0 B, to {tmp_path}, 3 were here\n"
    )


def test_what_differs_here_is_kept_until_force(shared: Shell, ended: str, tmp_path: Path) -> None:
    shared.lab("pull", ended, "outputs", "-o", str(tmp_path))
    mine = tmp_path / "outputs/a.csv"
    mine.write_text("mine")
    done = shared.lab("pull", ended, "outputs", "-o", str(tmp_path), status=1)
    assert f"kept, it differs from the one there: {mine}" in done.stderr
    assert mine.read_text() == "mine"
    shared.lab("pull", "--force", ended, "outputs", "-o", str(tmp_path))
    assert mine.read_text() == "a.csv" * 1000


def test_a_file_that_is_not_what_was_sealed_is_refused(shared: Shell, ended: str, tmp_path: Path) -> None:
    sealed = Path(shared.experiment(ended)["folder"]) / "outputs/b.csv"
    sealed.write_text("X.csv" * 1000)
    done = shared.lab("pull", ended, "outputs/b.csv", "-o", str(tmp_path), status=3)
    assert "it is not what its seal says" in done.stderr
    assert list(tmp_path.rglob("*.csv")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    sealed.write_text("b.csv" * 1000)


def test_a_link_that_lies_here_leads_nowhere(shared: Shell, ended: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "x/outputs").symlink_to(tmp_path / "elsewhere")
    done = shared.lab("pull", ended, "outputs", "-o", str(tmp_path / "x"), status=2)
    assert "a link would lead the files elsewhere" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_running_one_gives_what_it_has(shared: Shell, tmp_path: Path) -> None:
    label = shared.queue(shared.write("talk.py", "import time\nprint('begun', flush=True)\ntime.sleep(1000)\n"))
    shared.wait_step(label, "running")
    shared.lab("pull", label, "attempts/1/stdout.log", "-o", str(tmp_path))
    assert (tmp_path / "attempts/1/stdout.log").exists()
    shared.lab("cancel", label)


def test_what_is_not_there_is_said(shared: Shell, ended: str, tmp_path: Path) -> None:
    assert "*.nothing" in shared.lab("pull", ended, "*.nothing", status=1, cwd=tmp_path).stderr
    assert shared.lab("pull", "--quiet", ended, "*.csv", cwd=tmp_path).stdout.strip()
    (tmp_path / "file").touch()
    assert "a folder that can be" in shared.lab("pull", ended, "-o", str(tmp_path / "file"), status=2).stderr


def test_a_name_is_a_file_or_a_whole_folder() -> None:
    assert is_wanted("outputs/plots/c.png", ["outputs/plots/"])
    assert not is_wanted("outputs/plots2/c.png", ["outputs/plots"])
    assert is_wanted("README.md", [])
