import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from labrun.capture.environment import Captured, capture_environment
from labrun.capture.listing import list_code
from labrun.capture.readings import Readings
from labrun.core.environment import Environment
from tests.capture.installed import git, install, make_environment, pip_freeze, project, site_of


def captured(root: Path, python: Path | None, readings: Readings | None = None, **variables: str) -> Captured:
    files = list_code(root).files
    tree = hashlib.sha1("".join(files).encode(), usedforsecurity=False).hexdigest()
    return capture_environment(
        root=root,
        cwd=root,
        interpreter=python,
        variables={"HOME": str(root.parent), **variables},
        tree=tree,
        files=files,
        readings=readings,
    )


@pytest.fixture
def python(tmp_path: Path) -> Path:
    python = make_environment(tmp_path / "env")
    install(site_of(python), "thing", "1.0")
    return python


def test_everything_is_in_one_file_and_the_rest_beside_it(tmp_path: Path, python: Path) -> None:
    root = project(tmp_path / "root", {"a.py": "1\n", "uv.lock": "pins\n"})
    (root / "a.py").write_text("2\n")
    found = captured(root, python, TZ="UTC", API_TOKEN="hunter2")
    assert msgspec.json.decode(found.files["environment.json"], type=Environment) == found.environment
    assert sorted(found.files) == ["code.diff", "environment.json", "locks/uv.lock", "packages.txt"]
    assert found.files["packages.txt"] == b"thing==1.0\n"
    assert found.environment.python is not None
    assert found.environment.python.prefix == str(tmp_path / "env")
    assert found.environment.repository is not None
    assert found.environment.repository.diff == "submitted/code.diff"
    assert [lock.place for lock in found.environment.locks] == ["submitted/locks/uv.lock"]
    assert found.environment.variables == {"TZ": "UTC"}
    assert found.notices == ()


def test_a_folder_that_is_no_project_has_a_machine_and_a_python(tmp_path: Path, python: Path) -> None:
    found = capture_environment(root=None, cwd=tmp_path, interpreter=python, variables={}, tree=None, files=())
    assert (found.environment.repository, found.environment.locks) == (None, ())
    assert found.environment.packages == ("thing==1.0",)


def test_a_program_is_described_with_the_callers_python(tmp_path: Path, python: Path) -> None:
    found = captured(project(tmp_path / "root", {"a": ""}), None, VIRTUAL_ENV=str(tmp_path / "env"), PATH="")
    assert found.environment.packages == ("thing==1.0",)


def test_without_any_python_there_is_none(tmp_path: Path) -> None:
    found = captured(project(tmp_path / "root", {"a": ""}), None, PATH=str(tmp_path))
    assert (found.environment.python, found.environment.packages) == (None, ())
    assert "packages.txt" not in found.files


def test_a_python_that_does_not_answer_is_said_and_the_rest_is_there(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": ""})
    found = captured(root, tmp_path / "no-python")
    assert found.environment.python is None
    assert found.environment.repository is not None
    assert found.notices == (
        f"packages are not recorded: {tmp_path}/no-python does not say what it is: No such file or directory",
    )


def test_names_that_are_no_utf_8_do_not_hinder_the_record(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    make_environment(tmp_path / "env").parents[1].rename(folder / "env")
    found = captured(project(tmp_path / "root", {"a": ""}), folder / "env/bin/python")
    assert found.environment.python is not None
    assert "caf\\xe9" in found.environment.python.executable
    assert json.loads(found.files["environment.json"])["python"]["prefix"].endswith("caf\\xe9/env")


def test_a_conda_environment_is_listed_by_address_as_well(tmp_path: Path, python: Path) -> None:
    meta = tmp_path / "env/conda-meta"
    meta.mkdir()
    (meta / "thing-1.0-0.json").write_text('{"url": "https://conda.example.org/main/linux-64/thing-1.0-0.conda"}')
    found = captured(project(tmp_path / "root", {"a": ""}), python, CONDA_PREFIX=str(tmp_path / "env"))
    assert found.environment.python is not None
    assert found.environment.python.kind == "conda environment"
    assert b"thing-1.0-0.conda" in found.files["locks/conda-explicit.txt"]
    assert found.environment.packages == ("thing==1.0",)


def test_under_uv_run_it_is_the_environment_uv_chose(tmp_path: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("no uv here")
    root = project(tmp_path / "root", {"pyproject.toml": '[project]\nname = "mine"\nversion = "0"\n'})
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, ".venv"], cwd=root, env=plain, check=True)
    install(site_of(root / ".venv/bin/python"), "thing", "2.0")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    command = [uv, "run", "-q", "--no-sync", "python", "-c", show]
    variables = json.loads(subprocess.check_output(command, cwd=root, env=plain))
    found = captured(root, None, **variables)
    assert found.environment.python is not None
    assert found.environment.python.prefix == str(root / ".venv")
    assert list(found.environment.packages) == pip_freeze(root / ".venv/bin/python", tmp_path) == ["thing==2.0"]


def test_an_unchanged_folder_starts_no_process(tmp_path: Path, python: Path) -> None:
    """The budget is 10 ms; what would break it is a process, so processes are counted."""
    root = project(tmp_path / "root", {"a.py": "1\n", "uv.lock": "pins"})
    (root / "a.py").write_text("2\n")
    calls, bin_folder = tmp_path / "calls", tmp_path / "bin"
    bin_folder.mkdir()
    for name, real in (("git", shutil.which("git")), ("python", python)):
        (bin_folder / name).write_text(f'#!/bin/sh\necho {name} >>{calls}\nexec {real} "$@"\n')
        (bin_folder / name).chmod(0o755)
    readings = Readings(settled_s=0)
    files = list_code(root).files
    path, os.environ["PATH"] = os.environ["PATH"], f"{bin_folder}:{os.environ['PATH']}"
    try:
        found = [
            capture_environment(
                root=root,
                cwd=root,
                interpreter=bin_folder / "python",
                variables={"HOME": str(tmp_path)},
                tree="0" * 40,
                files=files,
                readings=readings,
            )
            for _ in range(3)
        ]
    finally:
        os.environ["PATH"] = path
    assert found[0] == found[1] == found[2]
    assert sorted(calls.read_text().split()) == ["git"] * 4 + ["python"], "the first time, and never again"


def test_a_commit_and_an_install_are_seen_at_the_next_submit(tmp_path: Path, python: Path) -> None:
    root, readings = project(tmp_path / "root", {"a.py": "1\n"}), Readings(settled_s=0)
    first = captured(root, python, readings)
    git(root, "commit", "-q", "--allow-empty", "-m", "two")
    install(site_of(python), "other", "1.0")
    second = captured(root, python, readings)
    assert first.environment.repository != second.environment.repository
    assert second.environment.packages == ("other==1.0", "thing==1.0")
