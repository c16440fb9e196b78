import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labrun.capture.interpreter import Interpreter, SilentInterpreter, ask_interpreter, callers_python
from labrun.capture.readings import Readings
from tests.capture.installed import make_environment, site_of


def ask(python: Path, cwd: Path, readings: Readings | None = None, **variables: str) -> Interpreter:
    return ask_interpreter(python, {"HOME": str(cwd), **variables}, cwd, readings or Readings())


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_virtual_environment_says_what_it_is(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    found = ask(python, tmp_path)
    described = found.described()
    assert described.executable == str(python)
    assert described.version == ".".join(map(str, sys.version_info[:3]))
    assert (described.kind, described.prefix, described.implementation) == (
        "virtual environment",
        str(tmp_path / "env"),
        "CPython",
    )
    assert str(site_of(python)) in found.path
    assert "json" in found.standard
    assert ".so" in found.suffixes


def test_the_interpreter_behind_it_is_the_system(tmp_path: Path) -> None:
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
    assert ask(base, tmp_path).described().kind == "system"


def test_a_conda_environment_is_known_by_its_records(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "conda")
    (tmp_path / "conda/conda-meta").mkdir()
    assert ask(python, tmp_path).described().kind == "conda environment"


def test_variables_that_steer_imports_do_not_reach_it(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    found = ask(Path(sys.executable), tmp_path, PYTHONPATH=str(tmp_path), PYTHONSTARTUP="/no", PYTHONSAFEPATH="1")
    assert str(tmp_path) not in found.path


def test_what_a_start_up_file_prints_does_not_disturb(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    (site_of(python) / "sitecustomize.py").write_text("print('hello')")
    assert ask(python, tmp_path).prefix == str(tmp_path / "env")


def test_it_is_asked_again_when_a_pth_file_changes(tmp_path: Path) -> None:
    python, readings = make_environment(tmp_path / "env"), Readings(settled_s=0)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    line = site_of(python) / "mine.pth"
    for name in ("one", "two"):
        line.write_text(str(tmp_path / name))
        assert str(tmp_path / name) in ask(python, tmp_path, readings).path


def test_a_script_that_chooses_an_interpreter_is_asked_again_when_its_choice_changes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_environment(tmp_path / name)
    shim = write_program(
        tmp_path / "shims/python", f'#!/bin/sh\nexec "{tmp_path}/$(cat .python-version)/bin/python" "$@"\n'
    )
    readings = Readings(settled_s=0)
    for name in ("one", "two"):
        (tmp_path / ".python-version").write_text(name)
        assert ask(shim, tmp_path, readings, PATH="/usr/bin:/bin").prefix == str(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho no such thing >&2\nexit 1\n", "no such thing"),
        ("#!/no/such/program\n", "No such file"),
        ("#!/bin/sh\nprintf '\\036not json\\036'\n", "exit status 0"),
    ],
)
def test_one_that_fails_says_why(tmp_path: Path, text: str, said: str) -> None:
    program = write_program(tmp_path / "python", text)
    with pytest.raises(SilentInterpreter, match=said):
        ask(program, tmp_path)


def test_one_that_hangs_is_given_up_with_all_it_started(tmp_path: Path) -> None:
    program = write_program(tmp_path / "python", "#!/bin/sh\nsleep 300 & echo $! >pid\nwait\n")
    with pytest.raises(SilentInterpreter, match="no answer within 0 s"):
        ask_interpreter(program, {}, tmp_path, Readings(), answer_limit_s=0.3)
    child = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("name", ["python2.7", "python3.6", "python3.9", "python3.13"])
def test_old_and_new_pythons_answer_too(tmp_path: Path, name: str) -> None:
    program = shutil.which(name)
    started = program and subprocess.run([program, "-c", ""], check=False, capture_output=True).returncode == 0
    if not started or program is None:
        pytest.skip(f"no {name} here")
    assert name.endswith(".".join(ask(Path(program), tmp_path).version.split(".")[:2]))


def test_the_callers_python_is_that_of_his_environment_before_his_path(tmp_path: Path) -> None:
    for name in ("env/bin/python", "path/python3", "conda/bin/python"):
        write_program(tmp_path / name, "")
    path, env, conda = str(tmp_path / "path"), tmp_path / "env", tmp_path / "conda"
    assert callers_python({"VIRTUAL_ENV": str(env), "PATH": path}, tmp_path) == env / "bin/python"
    assert callers_python({"PATH": "path"}, tmp_path) == tmp_path / "path/python3"
    assert callers_python({"CONDA_PREFIX": str(conda), "PATH": ""}, tmp_path) == conda / "bin/python"
    assert callers_python({"PATH": str(tmp_path)}, tmp_path) is None
