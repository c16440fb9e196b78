from pathlib import Path

import pytest

from labrun.capture import caller
from labrun.cli import surroundings
from labrun.core.errors import BadValue, NotRunnable


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)
    return path


def test_the_callers_environment_wins_over_path(tmp_path: Path) -> None:
    venv, conda = executable(tmp_path / "v/bin/python"), executable(tmp_path / "c/bin/python")
    on_path = executable(tmp_path / "p/python3")
    path = str(tmp_path / "p")
    both = {"VIRTUAL_ENV": str(tmp_path / "v"), "CONDA_PREFIX": str(tmp_path / "c"), "PATH": path}
    assert caller.interpreter(both, tmp_path) == venv
    assert caller.interpreter({"CONDA_PREFIX": str(tmp_path / "c"), "PATH": path}, tmp_path) == conda
    assert caller.interpreter({"VIRTUAL_ENV": "/gone", "PATH": path}, tmp_path) == on_path


def test_python3_comes_before_python_and_relative_path_entries_count_from_the_caller(tmp_path: Path) -> None:
    executable(tmp_path / "a/python")
    python3 = executable(tmp_path / "b/python3")
    assert caller.interpreter({"PATH": "a:b"}, tmp_path) == python3
    assert caller.interpreter({"PATH": "a"}, tmp_path) == tmp_path / "a/python"


def test_a_linked_interpreter_keeps_its_own_path(tmp_path: Path) -> None:
    executable(tmp_path / "real")
    (tmp_path / "v/bin").mkdir(parents=True)
    (tmp_path / "v/bin/python").symlink_to(tmp_path / "real")
    assert caller.interpreter({"VIRTUAL_ENV": "v"}, tmp_path) == tmp_path / "v/bin/python"


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRunnable):
        caller.interpreter({"PATH": str(tmp_path)}, tmp_path)


def test_variables_of_this_terminal_and_login_stay_here() -> None:
    mine = {
        "HOME": "/h",
        "LAB_DATA": "/d",
        "SSH_AUTH_SOCK": "/s",
        "DISPLAY": ":0",
        "SLURM_JOB_ID": "7",
        "TMUX": "x",
        "LAB_ATTEMPT_KEY": "k",
        "PWD": "/h",
    }
    sent, left_out = caller.variables_to_send(mine, ())
    assert (sent, left_out) == ({"HOME": "/h", "LAB_DATA": "/d"}, [])


def test_a_variable_can_be_set_and_a_dropped_one_passed_on_purpose() -> None:
    mine = {"DISPLAY": ":0", "A": "1"}
    sent, _ = caller.variables_to_send(mine, ("DISPLAY", "A=2=3", "EMPTY="))
    assert sent == {"DISPLAY": ":0", "A": "2=3", "EMPTY": ""}


def test_a_value_that_is_not_utf8_is_left_out_by_name() -> None:
    sent, left_out = caller.variables_to_send({"A": "\udcff", "B": "b"}, ())
    assert (sent, left_out) == ({"B": "b"}, ["A"])
    assert caller.variables_to_send({"A": "\udcff"}, ("A=ok",)) == ({"A": "ok"}, [])


@pytest.mark.parametrize("text", ["", "=x", "A\0=b", "A=\udcff", "NOT_SET"])
def test_a_malformed_variable_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        caller.variables_to_send({}, (text,))


def test_the_process_is_described_in_the_wires_words() -> None:
    found = caller.process_settings()
    assert set(found) >= {"umask", "nice", "limits"}
    assert found["limits"]["NOFILE"] > 0
    assert all(value >= -1 for value in found["limits"].values())


@pytest.mark.parametrize(
    ("variables", "may"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_follow_the_conventions(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], may: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert surroundings.may_colour() is may


def test_a_server_gets_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "LD_PRELOAD", "VIRTUAL_ENV", "LAB_ATTEMPT_KEY", "TMUX"):
        monkeypatch.setenv(name, "x")
    assert not {"PYTHONPATH", "LD_PRELOAD", "VIRTUAL_ENV", "LAB_ATTEMPT_KEY", "TMUX"} & set(
        surroundings.server_variables()
    )
