from collections.abc import Iterator

import pytest

from labrun.cli.survey import read_answer
from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window

pytestmark = pytest.mark.timeout(120)
PLACES = ["data", "results", "my notes", "2024"]
ASKED = "Enter for none: "


@pytest.mark.parametrize(
    ("answer", "chosen", "strange"),
    [
        ("\n", [], []),
        ("data\n", ["data"], []),
        ("results/, data/\n", ["data", "results"], []),
        ("1,2\n", ["data", "results"], []),
        ("3\n", ["my notes"], []),
        ("my notes\n", ["my notes"], []),
        ("2024\n", ["2024"], []),
        ("0 9 none\n", [], ["0", "9", "none"]),
        ("data plots\n", ["data"], ["plots"]),
        ("/\n", [], ["/"]),
    ],
)
def test_an_answer_is_numbers_or_names(answer: str, chosen: list[str], strange: list[str]) -> None:
    assert read_answer(answer, PLACES) == (chosen, strange)


@pytest.fixture
def asked(shell: Shell) -> Shell:
    """A project with two entries that are not frozen."""
    for name in ("data", "my plots"):
        (shell.project / name).mkdir()
        (shell.project / name / "x").write_text("here\n")
    (shell.project / ".labignore").write_text("/data\n/my plots\n")
    shell.write("see.py", "import os; print('sees', sorted(os.listdir()))\n")
    return shell


@pytest.fixture
def windows(asked: Shell) -> Iterator[list[Window]]:
    opened: list[Window] = []
    yield opened
    for window in opened:
        window.close()


def run(shell: Shell, windows: list[Window], *args: str) -> Window:
    windows.append(Window([*LAB, *args], shell.project, shell.variables))
    return windows[-1]


def test_one_may_answer_with_a_number(asked: Shell, windows: list[Window]) -> None:
    window = run(asked, windows, "run", "see.py")
    window.wait(ASKED)
    number = next(line.split()[0] for line in window.text.splitlines() if "my plots/" in line)
    window.type(f"{number}\r")
    assert window.wait_exit() == 0
    assert "lab: my plots will be links; remembered for this folder" in window.text
    assert "'my plots'" in window.text.partition("sees")[2]
    assert "'data'" not in window.text.partition("sees")[2]


def test_none_is_an_answer_and_is_remembered_too(asked: Shell, windows: list[Window]) -> None:
    window = run(asked, windows, "queue", "see.py")
    window.wait(ASKED)
    window.type("\r")
    assert window.wait_exit() == 0
    assert "none of it is linked; remembered" in window.text
    again = run(asked, windows, "queue", "see.py")
    assert again.wait_exit() == 0
    assert ASKED not in again.text


def test_end_of_file_is_no_answer_and_is_not_remembered(asked: Shell, windows: list[Window]) -> None:
    window = run(asked, windows, "queue", "see.py")
    window.wait(ASKED)
    window.type("\x04")
    assert window.wait_exit() == 0
    assert "no answer; none of it is linked this time" in window.text
    again = run(asked, windows, "queue", "see.py")
    again.wait(ASKED)


def test_ctrl_c_at_the_question_submits_nothing(asked: Shell, windows: list[Window]) -> None:
    window = run(asked, windows, "queue", "see.py")
    window.wait(ASKED)
    window.type("\x03")
    assert window.wait_exit() == 130
    assert asked.json("list")["experiments"] == []


@pytest.mark.parametrize(
    "args",
    [
        ["queue", "--link", "data", "see.py"],
        ["queue", "--live", "see.py"],
        ["queue", "--quiet", "see.py"],
        ["queue", "--json", "see.py"],
    ],
)
def test_nobody_is_asked_who_has_said_it_or_wants_silence(asked: Shell, windows: list[Window], args: list[str]) -> None:
    window = run(asked, windows, *args)
    assert window.wait_exit() == 0
    assert ASKED not in window.text


def test_a_script_or_a_pipe_is_never_asked(asked: Shell, windows: list[Window]) -> None:
    assert ASKED not in asked.lab("run", "see.py").stderr
    lab = " ".join(LAB)
    window = Window(
        ["sh", "-c", f"{lab} queue see.py </dev/null; {lab} queue see.py 2>told"], asked.project, asked.variables
    )
    windows.append(window)
    assert window.wait_exit() == 0
    assert ASKED not in window.text + (asked.project / "told").read_text()


def test_one_is_asked_though_the_output_goes_to_a_file(asked: Shell, windows: list[Window]) -> None:
    window = Window(["sh", "-c", f"{' '.join(LAB)} run see.py >out"], asked.project, asked.variables)
    windows.append(window)
    window.wait(ASKED)
    window.type("data\r")
    assert window.wait_exit() == 0
    assert "'data'" in (asked.project / "out").read_text()


def test_a_job_in_the_background_is_not_stopped_by_a_question(asked: Shell, windows: list[Window]) -> None:
    # `set -m` gives the job a process group of its own, as an interactive shell does
    script = f"set -m; {' '.join(LAB)} queue see.py & wait $!; echo status $?"
    window = Window(["bash", "-c", script], asked.project, asked.variables)
    windows.append(window)
    window.wait("status 0")
    assert ASKED not in window.text
