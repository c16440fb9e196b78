"""Every command in README.md and docs/ is executed, in order, by a shell, against a real home.

Two kinds of blocks are read:

    ```sh         a script: executed as it stands, must succeed
    ```console    lines that begin with `$ ` are commands, the lines below are what they print

In printed lines `…` stands for anything within the line, and a line that is only `…` for any lines. A
command that is meant to fail says so: `$ lab info EXP-999  # exits 1`. A command with nothing below it
may print what it likes. A block after `<!-- not run: reason -->` is left out, and the reason must be a sentence.
All blocks of one document share one shell, one home (`~/lab` of a scratch user) and one folder, in
which `examples/` lies.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.box import a_box

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS += sorted((ROOT / "examples").rglob("*.md"))
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]*?) -->\n+)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
STATUS = re.compile(r"\s*# exits (\d+)$")


@dataclass(frozen=True)
class Command:
    """One thing to execute."""

    line: int
    text: str
    status: int
    printed: tuple[str, ...] | None
    """Expected lines; None when the document does not show any."""
    is_script: bool = False
    """Several lines that must all succeed."""


def blocks(document: Path) -> Iterator[tuple[str, int, str, str | None]]:
    """Give kind, line number, body and, where there is one, the reason not to run it."""
    text = document.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("body")) + 1
        yield found["kind"], line, found["body"], found["reason"]


def commands(document: Path) -> list[Command]:
    found = []
    for kind, line, body, reason in blocks(document):
        if reason is not None:
            continue
        if kind == "sh":
            found.append(Command(line, body, 0, None, is_script=True))
        elif kind == "console":
            found += list(transcript(line, body))
    return found


def transcript(line: int, body: str) -> Iterator[Command]:
    """Divide a console block into commands; a trailing backslash or `> ` continues one."""
    for piece in re.split(r"(?m)^(?=\$ )", body):
        lines = piece.splitlines()
        if not lines or not lines[0].startswith("$ "):
            line += len(lines)
            continue
        command = [lines[0][2:]]
        rest = lines[1:]
        while rest and (command[-1].endswith("\\") or rest[0].startswith("> ")):
            command.append(rest.pop(0).removeprefix("> "))
        text = "\n".join(command)
        status = STATUS.search(text)
        printed = tuple(text.rstrip() for text in rest)
        yield Command(line, STATUS.sub("", text), int(status[1]) if status else 0, printed or None)
        line += len(lines)


def matches(expected: tuple[str, ...], printed: list[str]) -> bool:
    """Compare what a document shows with what was printed."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\s*\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def surroundings(folder: Path) -> dict[str, str]:
    """Make the environment of a scratch user whose virtual environment is active."""
    home = folder / "me"
    home.mkdir()
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": sys.prefix,
        "USER": "ada",
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }


@contextmanager
def another_machine(document: Path, folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """For the page about one: `ssh box` leads to a real sshd, with a home of its own behind it."""
    if document.name != "use-another-machine.md":
        yield
        return
    with a_box(folder / "box") as (box, cable):
        reached = box.reach("127.0.0.1", cable.port)
        variables |= {name: text for name, text in reached.items() if name != "LAB_HOST"}
        yield


def run_all(folder: Path, found: list[Command], variables: dict[str, str]) -> list[tuple[int, str]]:
    """Run the commands in one shell; give exit status and output of each that was reached."""
    script = []
    for number, command in enumerate(found):
        output = shlex.quote(str(folder / f"output-{number}"))
        # Braces, not a subshell: `cd` and variables last. Standard input is empty, as in no terminal.
        body = f"{{\n{command.text}\n}} >{output} 2>&1 </dev/null"
        if command.is_script:
            body = f"trap 'echo $? >{output}.status' EXIT\nset -e\n{body}\nset +e\ntrap - EXIT\ntrue"
        script.append(f"{body}; echo $? >{output}.status")
    project = folder / "project"
    shutil.copytree(ROOT / "examples", project / "examples")
    shutil.copy(ROOT / "pyproject.toml", project)
    process = subprocess.Popen(
        ["bash", "-c", "\n".join(script)], cwd=project, env=variables, start_new_session=True, stdin=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    results = []
    for number in range(len(found)):
        path = folder / f"output-{number}"
        status = Path(f"{path}.status")
        if not status.exists():
            break
        results.append((int(status.read_text()), path.read_text(encoding="utf-8", errors="replace")))
    return results


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS if path.exists() and commands(path)],
)
def test_every_command_shown_does_what_is_shown(document: Path, tmp_path: Path) -> None:
    found = commands(document)
    variables = surroundings(tmp_path)
    try:
        with another_machine(document, tmp_path, variables):
            results = run_all(tmp_path, found, variables)
    finally:
        # a page may make another machine the one that is meant
        stop = ["lab", "--host", "local", "server", "stop"]
        subprocess.run(stop, env=variables, capture_output=True, check=False, timeout=30, cwd=tmp_path)
    for command, (status, output) in zip(found, results, strict=False):
        where = f"{document.relative_to(ROOT)}:{command.line}: $ {command.text}\nprinted:\n{output}"
        assert status == command.status, f"{where}\nexit status {status}"
        if command.printed is not None:
            expected = "\n".join(command.printed)
            assert matches(command.printed, [line.rstrip() for line in output.splitlines()]), (
                f"{where}\nnot:\n{expected}"
            )
    assert len(results) == len(found), f"stopped at: $ {found[len(results)].text}"


def test_what_is_not_run_has_a_reason() -> None:
    for document in DOCUMENTS:
        for _, line, _, reason in blocks(document):
            assert reason is None or len(reason.split()) >= 5, f"{document.relative_to(ROOT)}:{line}"


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    # decisions have an index of their own
    pages -= {page for page in pages if page.startswith("explanation/decisions/")} | {"README.md"}
    pages |= {f"../examples/{path.parent.name}/README.md" for path in (ROOT / "examples").glob("*/README.md")}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_blocks_that_hold_commands_are_marked_as_such() -> None:
    # A block of another kind that begins with `lab` or `$ ` would be shown and never tried.
    for document in DOCUMENTS:
        for kind, line, body, _ in blocks(document):
            if kind not in ("sh", "console") and document.name != "cli.md":
                assert not re.search(r"(?m)^(?:\$ |lab |make )", body), f"{document.relative_to(ROOT)}:{line}"


# --- the harness itself


def test_the_harness_notices_other_output_and_other_statuses(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one\ntwo\n$ false\n$ cd / && pwd\n/\n$ pwd\n/\n$ sh -c 'exit 3'  # exits 3\n```\n"
    )
    found = commands(page)
    results = run_all(tmp_path, found, surroundings(tmp_path))
    told = [
        status == command.status and (command.printed is None or matches(command.printed, output.splitlines()))
        for command, (status, output) in zip(found, results, strict=True)
    ]
    assert told == [False, False, True, True, True]


def test_a_script_block_stops_at_its_first_failure(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nfalse\necho never\n```\n")
    found = commands(page)
    assert run_all(tmp_path, found, surroundings(tmp_path))[0][0] != 0


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (("a", "b"), ["a", "b"], True),
        (("a", "b"), ["a", "x", "b"], False),
        (("a", "…", "b"), ["a", "x", "y", "b"], True),
        (("EXP-…: done",), ["EXP-001: done"], True),
        (("EXP-…: done",), ["EXP-001: failed"], False),
        (("…",), [], True),
        (("a", "…"), ["a"], True),
    ],
)
def test_dots_stand_for_anything(expected: tuple[str, ...], printed: list[str], fits: bool) -> None:
    assert matches(expected, printed) is fits
