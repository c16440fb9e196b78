"""Which Python a command uses that is neither our script nor our module: said only where something says it.

`.venv/bin/python x.py`, `torchrun x.py` and an executable script with a `#!` line name their interpreter.
`uv run` and its like choose an environment as they start, in the frozen copy, where they may even make a
new one: what is in it is not known at submit. `poetry run` and its like have one for each folder, and would
make an empty one for the copy: the `.venv` of the folder is linked into it. Of `make` or a binary nobody
knows whether it uses one.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labrun.capture.caller import is_executable, which

RUNNERS = {
    "uv": ("run",),
    "uvx": (),
    "poetry": ("run",),
    "pixi": ("run", "exec"),
    "pdm": ("run",),
    "pipenv": ("run",),
    "pipx": ("run",),
    "hatch": ("run",),
    "rye": ("run",),
    "tox": (),
    "nox": (),
    "nix": ("run", "develop", "shell"),
    "nix-shell": (),
    "conda": ("run",),
    "mamba": ("run",),
    "micromamba": ("run",),
    "docker": ("run", "exec"),
    "podman": ("run", "exec"),
    "apptainer": ("run", "exec"),
    "singularity": ("run", "exec"),
}
"""Programs that choose the environment of what they start, and the words that make them do it; none: they always do."""
_OF_A_FOLDER = {"poetry": "pyproject.toml", "pdm": "pyproject.toml", "pipenv": "Pipfile"}
"""Those whose environment belongs to a folder and its path, and the file that marks such a folder."""
_CONDAS = ("conda", "mamba", "micromamba")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*t?")
_HEAD_BYTES = 1024


class Uses(NamedTuple):
    """What is known of the Python a program uses; nothing when both are None."""

    python: Path | None = None
    chooser: str | None = None
    """`uv run`, when the program chooses an environment that is not known before it starts."""
    environment: Path | None = None
    """The `.venv` the program looks for in the folder it is started in, and must find in the frozen copy too."""

    @property
    def notice(self) -> str | None:
        """What to tell of a chooser."""
        if self.chooser is None:
            return None
        if self.chooser.split()[0] in _OF_A_FOLDER:
            why = "has an environment for each folder, and makes an empty one for the frozen copy"
            return f"`{self.chooser}` {why}; `{self.chooser} lab …` takes yours along, and `--live` runs in the folder"
        return f"`{self.chooser}` chooses the environment as it starts: its Python and packages are not recorded"


def python_of_program(argv: Sequence[str], variables: Mapping[str, str], cwd: Path) -> Uses:
    """Say which Python a program uses. Reads the beginning of one file, starts nothing.

    Args:
        argv: The command.
        variables: What it will get.
        cwd: The caller's directory.
    """
    program = _find(argv[0], variables, cwd)
    if program is None:
        return Uses()
    return _named(program, argv[0], argv[1:], variables, cwd) or _from_first_lines(program, variables, cwd)


def _find(word: str, variables: Mapping[str, str], cwd: Path) -> Path | None:
    if "/" not in word:
        return which(word, variables.get("PATH"), cwd)
    return cwd / word if is_executable(cwd / word) else None


def _named(program: Path, word: str, rest: Sequence[str], variables: Mapping[str, str], cwd: Path) -> Uses | None:
    """What the name of a program says: an interpreter, or a chooser."""
    name = word.rpartition("/")[2]
    if _PYTHON.fullmatch(name):
        return Uses(program)
    verbs = RUNNERS.get(name)
    if verbs is None:
        return None
    verb = next((each for each in rest if each in verbs), None)
    if verbs and verb is None:
        return None
    if name in _CONDAS:
        return _conda(program, list(rest[rest.index("run") + 1 :]), variables, cwd)
    if name in _OF_A_FOLDER and verb == rest[0]:
        return _of_a_folder(f"{name} {verb}", _OF_A_FOLDER[name], variables, cwd)
    return Uses(chooser=f"{name} {verb}" if verb else name)


def _of_a_folder(chooser: str, mark: str, variables: Mapping[str, str], cwd: Path) -> Uses:
    """Find the environment of a folder: the active one goes first, wherever it lies.

    Source:
        Poetry documentation, "Managing environments" and `virtualenvs.in-project`; PDM documentation, "Working
        with virtual environments"; Pipenv documentation, "Virtual environments" (`PIPENV_VENV_IN_PROJECT`).
    """
    active = variables.get("VIRTUAL_ENV")
    if active and is_executable(cwd / active / "bin/python"):
        return Uses(cwd / active / "bin/python")
    folder = next((each for each in (cwd, *cwd.parents) if (each / mark).exists()), cwd)
    if is_executable(folder / ".venv/bin/python"):
        return Uses(folder / ".venv/bin/python", environment=folder / ".venv")
    return Uses(chooser=chooser)


def _conda(program: Path, options: list[str], variables: Mapping[str, str], cwd: Path) -> Uses:
    """Find the environment of `conda run -n NAME` or `-p PREFIX`.

    Source:
        conda documentation, "conda run" and "Specifying environment directories" (`envs_dirs`).
    """
    prefixes = list[Path]()
    given = _option(options)
    if given is None:
        active = variables.get("CONDA_PREFIX")
        prefixes = [cwd / active] if active else []
    elif given[0] == "prefix":
        prefixes = [cwd / Path(given[1]).expanduser()]
    else:
        tops = [program.resolve().parent.parent]
        tops += [Path(variables[key]) for key in ("MAMBA_ROOT_PREFIX", "CONDA_ROOT") if variables.get(key)]
        tops += [Path(variables["CONDA_EXE"]).parent.parent] if variables.get("CONDA_EXE") else []
        folders = [Path(each) for each in (variables.get("CONDA_ENVS_PATH") or "").split(os.pathsep) if each]
        folders += [top / "envs" for top in tops] + [Path(variables.get("HOME") or "/", ".conda/envs")]
        prefixes = tops if given[1] == "base" else [folder / given[1] for folder in folders]
    for prefix in prefixes:
        if is_executable(prefix / "bin/python"):
            return Uses(prefix / "bin/python")
    return Uses(chooser=f"{program.name} run")


def _option(options: Sequence[str]) -> tuple[str, str] | None:
    """The environment a `conda run` names: how, and what."""
    for at, word in enumerate(options):
        if not word.startswith("-"):
            return None  # here the command begins
        for how, long, short in (("name", "--name", "-n"), ("prefix", "--prefix", "-p")):
            if word in (long, short):
                return (how, options[at + 1]) if at + 1 < len(options) else None
            for begin in (f"{long}=", short):
                if word.startswith(begin) and not (begin == short and word.startswith("--")):
                    return how, word.removeprefix(begin)
    return None


def _from_first_lines(program: Path, variables: Mapping[str, str], cwd: Path) -> Uses:
    """What a `#!` line says; installers write a second one where the first would be too long.

    Source:
        execve(2), "Interpreter scripts"; distlib, `ScriptMaker._build_shebang`.
    """
    try:
        with program.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return Uses()
    if not head.startswith(b"#!"):
        return Uses()
    lines = head.decode("utf-8", "surrogateescape").splitlines()
    words = _split(lines[0][2:])
    if words[:1] == ["/bin/sh"] and len(lines) > 1 and lines[1].startswith("'''exec' "):
        words = _split(lines[1].removeprefix("'''exec' "))
    if words and words[0].rpartition("/")[2] == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    found = _find(words[0], variables, cwd) if words else None
    return (_named(found, words[0], words[1:], variables, cwd) or Uses()) if found is not None else Uses()


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
