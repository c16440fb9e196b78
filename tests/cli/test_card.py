"""The failure card, laid out and through the real thing."""

from pathlib import Path
from typing import Any

import pytest

from labrun.cli.card import card
from tests.cli.conftest import Shell
from tests.helpers import wait_until

TOLD: dict[str, Any] = {
    "failure": {
        "mode": "code_error",
        "is_guess": False,
        "evidence": ["ValueError: no such column", "exited with 1"],
        "error": {
            "text": "ValueError: no such column",
            "name": "ValueError",
            "file": "/h/labs/main/2026-11/EXP-007-fit/work/src/fit.py",
            "line": 12,
            "where": "load",
        },
    },
    "last_lines": ["reading", "ValueError: no such column"],
    "peak_memory_bytes": 3 * 2**30,
    "memory_limit_bytes": 8 * 2**30,
    "hint": None,
    "changes": {
        "since": "EXP-005",
        "changes": [
            {"kind": "arguments", "text": "arguments: 0.1 became 0.2", "lines": []},
            {"kind": "code", "text": "fit.py changed", "lines": ["@@ -1 +1 @@", "-a", "+b"]},
        ],
    },
}


def test_it_says_why_where_and_what_changed() -> None:
    assert card(TOLD) == [
        "failed: code error: ValueError: no such column",
        "        exited with 1",
        "        at src/fit.py:12 in load",
        "memory: 3.0 GiB at most, 8.0 GiB asked for",
        "last lines",
        "  reading",
        "  ValueError: no such column",
        "changed since EXP-005, which succeeded",
        "  arguments: 0.1 became 0.2",
        "  fit.py changed",
        "    @@ -1 +1 @@",
        "    -a",
        "    +b",
    ]


def test_a_guess_carries_its_question_mark_and_what_was_looked_at() -> None:
    failure = {
        "mode": "oom",
        "is_guess": True,
        "evidence": ["killed by signal SIGKILL"],
        "checked": ["no counter rose"],
    }
    lines = card({**TOLD, "failure": failure, "changes": None})
    assert lines[:2] == ["failed: oom?: killed by signal SIGKILL", "        looked at: no counter rose"]


def test_escape_sequences_of_a_script_are_harmless() -> None:
    told = {**TOLD, "last_lines": ["\x1b[2Jgone"], "hint": "lab run\x07"}
    assert not any("\x1b" in line or "\x07" in line for line in card(told))


def test_a_run_that_fails_ends_with_the_card_and_its_files(shell: Shell) -> None:
    script = shell.write("fit.py", "import sys\nprint(1 / int(sys.argv[1]))\n")
    shell.lab("run", script, "1")
    told = shell.lab("run", script, "0", status=1).stderr.splitlines()
    assert "lab: failed: code error: ZeroDivisionError: division by zero" in told
    assert "lab:         at fit.py:2" in told
    assert "lab:   arguments: 1 became 0" in told
    assert told[-1].startswith("lab: files: ")
    screen = shell.lab("info").stdout
    assert "failed: code error: ZeroDivisionError" in screen
    assert "changed since EXP-001" in screen
    found = shell.json("info")["card"]
    assert (found["failure"]["mode"], found["changes"]["since"]) == ("code_error", "EXP-001")


def test_the_folder_s_readme_has_the_whole_card_and_keeps_it(shell: Shell) -> None:
    script = shell.write("fit.py", "import sys\nprint(1 / int(sys.argv[1]))\n")
    shell.lab("run", script, "1")
    shell.write("fit.py", "import sys\n\nprint(1 / int(sys.argv[1]))\n")
    shell.lab("run", "--memory", "100M", script, "0", status=1)
    readme = Path(shell.json("info", "EXP-002")["experiment"]["folder"], "README.md")
    found = readme.read_text()
    for words in (
        "- Changed since EXP-001, which succeeded:\n  - arguments: 1 became 0\n",
        "  - fit.py changed\n\n        @@ -1,2 +1,3 @@\n",
        "The last lines it wrote:\n\n    Traceback (most recent call last):\n",
        "    ZeroDivisionError: division by zero\n",
        " at most, 100 MiB asked for.",
    ):
        assert words in found, f"{words!r} is not in\n{found}"
    shell.lab("run", script, "2")
    shell.lab("note", "EXP-002", "seen")
    wait_until(lambda: "seen" in readme.read_text(), 10, "the note is shown")
    assert "Changed since EXP-001" in readme.read_text()


def test_a_success_that_came_later_is_not_what_it_is_compared_with(shell: Shell) -> None:
    script = shell.write("fit.py", "import sys\nsys.exit(int(sys.argv[1]))\n")
    shell.lab("run", script, "1", status=1)
    shell.lab("run", script, "0")
    assert shell.json("info", "EXP-001")["card"]["changes"] is None
    shell.lab("run", script, "1", status=1)
    shell.lab("run", "--new", script, "0")
    assert shell.json("info", "EXP-003")["card"]["changes"]["since"] == "EXP-002"


def test_code_packages_and_data_that_changed_are_named(shell: Shell) -> None:
    data = shell.project / "data.csv"
    data.write_text("1\n")
    script = shell.write("fit.py", "import sys\n")
    shell.lab("run", "--input", f"sky={data}", script)
    data.write_text("2\n")
    shell.write("fit.py", "import sys\nsys.exit(3)\n")
    changes = "\n".join(shell.lab("run", "--input", f"sky={data}", script, status=3).stderr.splitlines())
    assert "input `sky` changed" in changes
    assert "+sys.exit(3)" in changes


def test_a_link_that_was_left_out_is_named(shell: Shell) -> None:
    (shell.project / "planck").mkdir()
    shell.write("planck/bao.txt", "1\n")
    shell.write("notes", "")
    shell.write(".gitignore", "planck/\n")
    script = shell.write("fit.py", "open('planck/bao.txt')\n")
    shell.lab("run", "--link", "planck", script)
    told = shell.lab("run", "--link", "notes", script, status=1).stderr
    assert "link `planck` is gone" in told
    assert "link `notes` is new" in told


@pytest.mark.parametrize("words", [["--", "sh", "-c", "exit 3"], ["--timeout", "0.3s", "--", "sleep", "10"]])
def test_where_nothing_is_known_beyond_the_ending_nothing_is_repeated(shell: Shell, words: list[str]) -> None:
    status = 124 if "sleep" in words else 3
    told = shell.lab("run", *words, status=status).stderr
    assert "lab: failed:" not in told


def test_an_experiment_that_succeeded_has_no_card(shell: Shell) -> None:
    shell.lab("run", "--", "true")
    assert shell.json("info")["card"] is None
