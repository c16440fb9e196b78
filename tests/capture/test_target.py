import os
from pathlib import Path

import pytest

from labrun.capture.target import Target, recognise
from labrun.core.errors import LabError

CALLER = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print(1)\n")
    (tmp_path / "fit").write_text("#!/usr/bin/env python3\nprint(1)\n")
    (tmp_path / "notes.txt").write_text("no script\n")
    (tmp_path / "junk.bin").write_bytes(b"\x00\x01\x02")
    (tmp_path / "junk.py").write_bytes(b"\x00\x01\x02")
    (tmp_path / "sim").write_text("#!/bin/sh\n")
    (tmp_path / "sim").chmod(0o755)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    return tmp_path


def seen(here: Path, *words: str, module: str | None = None, is_program: bool = False) -> Target:
    return recognise(
        words, module=module, is_program=is_program, cwd=here, path=CALLER["PATH"], python=lambda: _python(here)
    )


def _python(here: Path) -> Path:
    (here / ".venv/bin").mkdir(parents=True, exist_ok=True)
    python = here / ".venv/bin/python"
    if not python.exists():
        python.write_text("")
        python.chmod(0o755)
    return python


@pytest.mark.parametrize("name", ["train.py", "./train.py", "fit", "folder/../train.py"])
def test_python_files_are_scripts_executable_or_not(here: Path, name: str) -> None:
    target = seen(here, name, "--x", "1")
    assert (target.kind, target.word, target.arguments) == ("script", name, ("--x", "1"))
    assert target.python == here / ".venv/bin/python"


def test_an_executable_py_file_is_still_a_script(here: Path) -> None:
    (here / "train.py").chmod(0o755)
    assert seen(here, "train.py").kind == "script"


def test_an_executable_file_without_dashes_is_a_program(here: Path) -> None:
    assert seen(here, "sim", "-n")[:4] == ("program", "sim", "./sim", ("-n",))
    (here / "fit").chmod(0o755)
    assert seen(here, "./fit").kind == "program"


def test_dashes_introduce_any_program(here: Path) -> None:
    target = seen(here, "sh", "-c", "true", is_program=True)
    assert (target.kind, target.word, target.file, target.python) == ("program", "sh", None, None)
    assert seen(here, "./sim", is_program=True).file == here / "sim"


@pytest.mark.parametrize(
    ("code", "words", "is_program", "says"),
    [
        ("no_such_script", ("missing.py",), False, "there is no such file"),
        ("no_such_script", ("sleep", "5"), False, "there is no such file"),
        ("no_such_script", ("folder",), False, "it is a directory"),
        ("no_such_script", ("train.py/x",), False, "there is no such file"),
        ("no_such_script", ("pipe.py",), False, "no regular file"),
        ("no_such_script", ("-",), False, "standard input"),
        ("no_such_script", ("x" * 300,), False, "a name that long"),
        ("not_runnable", ("junk.bin",), False, "neither text nor executable"),
        ("not_runnable", ("junk.py",), False, "not text"),
        ("not_runnable", ("notes.txt",), False, "not executable and no Python script"),
        ("no_such_script", ("no-such-program-1",), True, "no such program on PATH"),
        ("no_such_script", ("./missing",), True, "there is no such file"),
        ("no_such_script", ("./folder",), True, "it is a directory"),
        ("no_such_script", ("",), True, "no such program"),
        ("not_runnable", ("./notes.txt",), True, "not executable"),
        ("bad_value", (), False, "a script"),
        ("bad_value", (), True, "a script"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_way_out(
    here: Path, code: str, words: tuple[str, ...], is_program: bool, says: str
) -> None:
    with pytest.raises(LabError) as refusal:
        seen(here, *words, is_program=is_program)
    assert refusal.value.code == code
    assert says in refusal.value.message
    assert refusal.value.hint


def test_a_program_on_path_without_dashes_is_pointed_at_them(here: Path) -> None:
    with pytest.raises(LabError) as refusal:
        seen(here, "sleep", "5")
    assert refusal.value.hint == "a program on PATH comes after `--`: `lab run -- sleep`"


def test_an_empty_module_is_refused(here: Path) -> None:
    with pytest.raises(LabError, match="-m"):
        seen(here, module="")
