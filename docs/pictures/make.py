"""Record the documents' terminal pictures from real commands in a scratch home.

    python docs/pictures/make.py            writes every picture beside this file (`make pictures`)
    python docs/pictures/make.py --check    compares what the commands print now with what the pictures show

Each picture is what the commands printed into a terminal of 100 columns, colours included. Only names are
changed: the scratch folder is called /home/ada, and whoever records is called ada. The check passes over what
differs from run to run: numbers, ids, how full a bar is.
"""

import argparse
import io
import json
import os
import pty
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLUMNS, LINES = 100, 60
SHOWN_HOME = "/home/ada"
SHOWN_USER = "ada"
QUIET_ABOUT = "this server lives"
"""A notice about the machine that draws, which is no news to the reader."""
PATIENCE_S = 60.0


class Recorder:
    """A scratch person with a home, an environment and a copy of an example."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "digits"
        shutil.copytree(ROOT / "examples/digits", self.folder, ignore=shutil.ignore_patterns("outputs", "__pycache__"))
        (home / "venv").symlink_to(sys.prefix)
        self.variables = {
            "HOME": str(home),
            "LAB_HOME": str(home / "lab"),
            "USER": SHOWN_USER,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "VIRTUAL_ENV": str(home / "venv"),
            "PATH": f"{home}/venv/bin:/usr/bin:/bin",
        }

    def record(self, *command: str) -> str:
        """Run a command in a terminal and return everything it printed."""
        ours, theirs = pty.openpty()
        subprocess.run(["stty", "cols", str(COLUMNS), "rows", str(LINES)], stdin=theirs, check=True)
        program = f"{self.home}/venv/bin/{command[0]}"
        process = subprocess.Popen(
            [program, *command[1:]], cwd=self.folder, env=self.variables, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        pieces = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: the last process that held the terminal is gone
                break
            if not piece:
                break
            pieces.append(piece)
        process.wait()
        os.close(ours)
        return b"".join(pieces).decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_for_progress(self, least_percent: float) -> None:
        """Wait until what runs says how far it is."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            running = json.loads(self.record("lab", "status", "--json"))["running"]
            if running and (running[0]["progress"] or {"percent": 0})["percent"] >= least_percent:
                return
            time.sleep(0.2)
        sys.exit(f"no progress was shown within {PATIENCE_S:.0f} s")

    def shown(self, printed: str) -> list[str]:
        """Lines for the reader: other names, no notices about this machine."""
        # The scratch folder's name is as long as what is shown for it, so columns stay where they were.
        told = printed.replace(str(self.home), SHOWN_HOME)
        user = pwd.getpwuid(os.getuid()).pw_name

        def rename(found: re.Match[str]) -> str:
            room = len(found[0]) if len(found[1]) > 1 else 0  # a column, not a word
            return SHOWN_USER.ljust(room) if room else SHOWN_USER + found[1]

        told = re.sub(rf"(?<![\w/.-]){re.escape(user)}(?![\w/.-])( *)", rename, told)
        return [line for line in told.rstrip().splitlines() if QUIET_ABOUT not in line]


@contextmanager
def recorder() -> Iterator[Recorder]:
    """Make a scratch person whose home has as many letters as the one that is shown; clean up after."""
    home = Path("/tmp") / secrets.token_hex(2)  # a fixed length; mkdir refuses what exists
    assert len(str(home)) == len(SHOWN_HOME)
    home.mkdir(mode=0o700)
    found = Recorder(home)
    try:
        yield found
    finally:
        found.record("lab", "server", "stop")
        shutil.rmtree(home)


def scenes(person: Recorder) -> Iterator[tuple[str, list[str], list[str]]]:
    """Give name, command and printed lines of each picture, in the order in which they must happen."""

    def scene(name: str, *command: str) -> tuple[str, list[str], list[str]]:
        return name, list(command), person.shown(person.record(*command))

    person.record("lab", "list")  # once unseen: the server starts
    yield scene("run", "lab", "run", "--name", "first", "--note", "can it read?", "digits.py", "--epochs", "12")
    person.record("lab", "run", "--name", "typo", "digits.py", "--epochs", "12", "--learning-rate", "10")
    name, command, lines = scene("failure", "lab", "info", "typo")
    # below the card stand the facts that every experiment has
    end = next(number for number, line in enumerate(lines) if line.lstrip().startswith("run id"))
    yield name, command, [*lines[:end], "  …"]
    yield scene("requeue", "lab", "requeue", "typo", "--merge", "--dry-run", "--", "--learning-rate", "0.1")
    for rate in ("0.001", "0.1", "1"):
        person.record("lab", "queue", "--name", f"rate-{rate}", "digits.py", "--learning-rate", rate)
    person.record("lab", "wait", "rate-1")
    yield scene("metrics", "lab", "metrics", "rate-0.001")
    columns = "label,name,status,val_accuracy,loss,command"
    yield scene("list", "lab", "list", "--sort", "-val_accuracy", "--columns", columns)
    long = ["digits.py", "--epochs", "1500"]
    person.record("lab", "queue", "--name", "long", "--note", "does it ever stop learning?", *long)
    person.record("lab", "queue", "--name", "wide", *long, "--hidden", "256")
    person.record("lab", "queue", "--name", "urgent", "--priority", "high", "digits.py")
    person.wait_for_progress(40)
    yield scene("status", "lab", "status")
    for waiting in ("urgent", "wide", "long"):
        person.record("lab", "cancel", waiting)
    person.record("lab", "wait", "long")


def prompt(command: list[str]) -> str:
    """Write a command as it is typed."""
    return f"$ {shlex.join(command)}"


def draw(name: str, command: list[str], lines: list[str]) -> str:
    """Draw a command and what it printed as one SVG without any address in it."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, file=io.StringIO())
    typed = Text.assemble(("$ ", "bold green"), (prompt(command)[2:], "bold"))
    for line in [typed, *map(Text.from_ansi, lines)]:
        # a terminal breaks at its last column, not between words
        for begin in range(0, max(1, line.cell_len), COLUMNS):
            console.print(line[begin : begin + COLUMNS], no_wrap=True, overflow="ignore", crop=False)
    console.print()  # the lower edge would cut what hangs below the last line
    drawing = console.export_svg(title=" ".join(command[:2]), unique_id=name)
    # rich asks the reader's browser to load a font from the network; any monospaced one will do
    drawing = re.sub(r"@font-face \{.*?\}\n", "", drawing, flags=re.DOTALL)
    # some viewers swallow the spaces at the beginning of a text unless told not to
    drawing = drawing.replace("<svg ", '<svg xml:space="preserve" ', 1)
    return "\n".join(line.rstrip() for line in drawing.splitlines()) + "\n"


def texts(drawing: str) -> list[str]:
    """Read the lines of a terminal picture back, without colours."""
    lines: dict[int, list[tuple[float, str]]] = {}
    for text in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text"):
        number = re.search(r"line-(\d+)", text.get("clip-path", ""))
        if number is not None:
            lines.setdefault(int(number[1]), []).append((float(text.get("x", 0)), text.text or ""))
    found = [
        "".join(piece for _, piece in sorted(lines.get(number, []))).replace("\xa0", " ").rstrip()
        for number in range(max(lines, default=-1) + 1)
    ]
    while found and not found[-1]:
        found.pop()
    return found


def structure(lines: list[str]) -> list[str]:
    """What of a picture is the same in every run.

    >>> structure(["EXP-003  12 s ago   loss 0.07  █▂▁", "EXP-003  1.3 min ago  loss 7e-05 █▁▁"])
    ['EXP-0 0 ago loss 0 ~', 'EXP-0 0 ago loss 0 ~']
    """
    told = []
    for line in lines:
        text = re.sub(r"\d{4}-\d\d-\d\d_[0-9a-z]+", "RUN", line)
        text = re.sub(r"\b\d[\d.,:]*(?:e[-+]?\d+)?(?: (?:ms|s|min|h|[KMG]iB|B\b|%))?", "0", text)
        text = re.sub(r"[▁▂▃▄▅▆▇█]+", "~", text)
        text = re.sub(r"\[[#.]+\]", "[bar]", text)
        indent = text[: len(text) - len(text.lstrip())]  # columns follow what they hold, a margin does not
        told.append(indent + " ".join(text.split()))
    return told


def main() -> None:
    """Record all; write, or compare."""
    parser = argparse.ArgumentParser(description="Record the documents' terminal pictures.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing; exits 1 when something differs")
    is_check = parser.parse_args().check
    stale = []
    with recorder() as person:
        for name, command, lines in scenes(person):
            path = HERE / f"{name}.svg"
            drawing = draw(name, command, lines)
            if not is_check:
                path.write_text(drawing, encoding="utf-8")
                continue
            now = structure(texts(drawing))
            before = structure(texts(path.read_text(encoding="utf-8"))) if path.exists() else []
            if now != before:
                stale.append(name)
                print(f"--- {path.name} shows", *before, f"+++ `{prompt(command)}` prints", *now, sep="\n")
    if stale:
        sys.exit(f"pictures are not what the commands print now: {', '.join(stale)}; `make pictures` draws them anew")


if __name__ == "__main__":
    main()
