"""Record the README's terminal pictures from real commands in a scratch home.

    python docs/pictures/make.py            writes run.svg and status.svg beside this file

Each picture is what the commands printed into a terminal of 100 columns, colours included.
"""

import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLUMNS, LINES = 100, 40
QUEUE = [
    ["lab", "queue", "--name", "tails", "--note", "are the tails converged?", "hubble.py", "--samples", "4000000"],
    ["lab", "queue", "--name", "wide", "hubble.py", "--step", "3"],
    ["lab", "queue", "--name", "narrow", "--priority", "high", "hubble.py", "--step", "0.1"],
]


def record(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    """Run a command in a terminal and return everything it printed."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "cols", str(COLUMNS), "rows", str(LINES)], stdin=theirs, check=True)
    process = subprocess.Popen(command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
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


def draw(path: Path, title: str, shown: list[tuple[list[str], str]], home: Path) -> None:
    """Draw commands and what they printed as one SVG without any address in it."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, file=io.StringIO())
    for command, printed in shown:
        console.print(Text.assemble(("$ ", "bold green"), (shlex.join(command), "bold")))
        told = printed.replace(str(home), "~/lab").replace(sys.prefix, "~/labrun/.venv")
        # a notice about the machine that draws is no news to the reader
        kept = [line for line in told.rstrip().splitlines() if "this server" not in line]
        console.print(Text.from_ansi("\n".join(kept)))
    drawing = console.export_svg(title=title, unique_id=path.stem)
    # rich asks the reader's browser to load a font from the network; any monospaced one will do
    drawing = re.sub(r"@font-face \{.*?\}\n", "", drawing, flags=re.DOTALL)
    path.write_text("\n".join(line.rstrip() for line in drawing.splitlines()) + "\n", encoding="utf-8")


def main() -> None:
    """Run, draw, clean up."""
    with tempfile.TemporaryDirectory(prefix="lab-pictures-") as scratch:
        home = Path(scratch) / "lab"
        folder = Path(scratch) / "hubble"
        shutil.copytree(ROOT / "examples/hubble", folder)
        variables = {
            "HOME": scratch,
            "LAB_HOME": str(home),
            "USER": "ada",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "VIRTUAL_ENV": sys.prefix,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        }
        try:
            # once unseen: the server starts, fonts are cached
            record(["lab", "run", "hubble.py", "--samples", "100"], folder, variables)
            first = ["lab", "run", "--name", "hubble", "hubble.py", "--samples", "20000"]
            draw(HERE / "run.svg", "lab run", [(first, record(first, folder, variables))], home)
            for command in QUEUE:
                record(command, folder, variables)
            status = ["lab", "status"]
            draw(HERE / "status.svg", "lab status", [(status, record(status, folder, variables))], home)
            for name in ("narrow", "wide", "tails"):
                record(["lab", "cancel", name], folder, variables)
            record(["lab", "wait", "tails"], folder, variables)
        finally:
            record(["lab", "server", "stop"], folder, variables)


if __name__ == "__main__":
    main()
