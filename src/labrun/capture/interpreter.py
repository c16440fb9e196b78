"""What a Python is and where it imports from: asked of the interpreter itself, once."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from labrun.capture.caller import interpreter
from labrun.capture.readings import Readings
from labrun.core.environment import Python
from labrun.core.errors import NotRunnable

ANSWER_LIMIT_S = 20.0
"""An interpreter that says nothing for so long (a dead network folder, a prompt) is not asked further."""

_PROBE = """
import sys
if sys.path and sys.path[0] == "":
    del sys.path[0]
import json, os, platform, sysconfig
try:
    import site
    sites = list(getattr(site, "getsitepackages", lambda: [])()) + [site.getusersitepackages()]
except Exception:
    sites = []
try:
    from importlib.machinery import EXTENSION_SUFFIXES as suffixes
except ImportError:
    suffixes = [".so"]
sys.stdout.write(chr(30) + json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "prefix": sys.prefix,
    "base_prefix": getattr(sys, "real_prefix", getattr(sys, "base_prefix", sys.prefix)),
    "platform": sysconfig.get_platform(),
    "path": sys.path,
    "sites": [folder for folder in sites if folder],
    "suffixes": list(suffixes),
    "standard": sorted(getattr(sys, "stdlib_module_names", sys.builtin_module_names)),
}) + chr(30))
"""
"""Runs under any Python from 2.7 on; what `sitecustomize` may print stands outside the marks."""
_STEERING = ("PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR")
"""Of the variables for Python, those that choose its folders."""


class Interpreter(Struct, frozen=True):
    """A Python and its folders."""

    executable: str
    version: str
    implementation: str
    prefix: str
    base_prefix: str
    platform: str
    path: tuple[str, ...]
    """`sys.path` as `site` leaves it, without `PYTHONPATH` and the script's folder."""
    sites: tuple[str, ...]
    """Folders whose `.pth` files were read, the user's own among them, there or not."""
    suffixes: tuple[str, ...]
    """Endings of compiled extensions it loads."""
    standard: frozenset[str]
    """Top-level modules of its standard library (of Pythons before 3.10 only the built-in ones)."""

    @property
    def is_before_312(self) -> bool:
        """Whether it is older than 3.12, the first without setuptools in new environments."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return (major, minor) < (3, 12)

    def described(self) -> Python:
        """Give what is recorded of it."""
        prefix = Path(self.prefix)
        if (prefix / "conda-meta").is_dir():
            kind = "conda environment"
        elif self.prefix != self.base_prefix:
            kind = "virtual environment"
        else:
            kind = "system"
        return Python(self.executable, self.version, self.implementation, self.prefix, kind, self.platform)


class SilentInterpreter(Exception):
    """The interpreter did not say what it is; the text says why."""


def callers_python(variables: Mapping[str, str], cwd: Path) -> Path | None:
    """The Python a caller would run a script with; None when there is none."""
    try:
        return interpreter(variables, cwd)
    except NotRunnable:
        return None


def ask_interpreter(
    path: Path,
    variables: Mapping[str, str],
    cwd: Path,
    readings: Readings,
    answer_limit_s: float = ANSWER_LIMIT_S,
) -> Interpreter:
    """Ask a Python what it is, unless it, its environment and its `.pth` files look as they did.

    Args:
        path: The interpreter, links kept: a virtual environment is known by them.
        variables: The caller's; those that steer imports are left out, those that choose folders stay.
        cwd: The caller's directory: `pyenv` chooses by it.
        readings: What was read before.
        answer_limit_s: How long it may take.

    Raises:
        SilentInterpreter: It does not start, fails or does not answer.

    Source:
        "Using the site module", `pyvenv.cfg` and `.pth` files; `python -c`: the first entry of
        `sys.path` is the empty string.
    """
    steering = tuple(sorted((name, variables[name]) for name in (*_STEERING, "HOME") if name in variables))
    shim = _version_files(variables, cwd) if _is_script(path) else ()
    chooser = (str(cwd), variables.get("PATH"), variables.get("PYENV_VERSION")) if shim else None

    def read() -> tuple[Interpreter, list[str]]:
        found = _ask(path, variables, cwd, answer_limit_s)
        cfg = [str(Path(folder, "pyvenv.cfg")) for folder in (found.prefix, path.parent, path.parent.parent)]
        lines = [str(file) for folder in found.sites for file in Path(folder).glob("*.pth")]
        return found, [str(path), found.executable, *cfg, *found.sites, *lines, *shim]

    return readings.recall(("interpreter", str(path), steering, chooser), read)


def _ask(path: Path, variables: Mapping[str, str], cwd: Path, answer_limit_s: float) -> Interpreter:
    environment = {k: v for k, v in variables.items() if not k.startswith("PYTHON") or k in _STEERING}
    try:
        asked = subprocess.Popen(
            [str(path), "-B", "-c", _PROBE],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise SilentInterpreter(getattr(error, "strerror", None) or str(error)) from error
    with asked:
        try:
            said, complaint = asked.communicate(timeout=answer_limit_s)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(asked.pid, signal.SIGKILL)
            raise SilentInterpreter(f"no answer within {answer_limit_s:.0f} s") from error
    try:
        answer: dict[str, Any] = json.loads(said.split(b"\x1e")[1])
    except (IndexError, ValueError) as error:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise SilentInterpreter(lines[-1] if lines else f"exit status {asked.returncode}") from error
    answer["standard"] = frozenset(answer["standard"])
    for name in ("path", "sites", "suffixes"):
        answer[name] = tuple(answer[name])
    return Interpreter(**answer)


def _is_script(path: Path) -> bool:
    """Whether the interpreter is a script that chooses one, as `pyenv` and `asdf` put on PATH."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _version_files(variables: Mapping[str, str], cwd: Path) -> tuple[str, ...]:
    """Files by which such a script chooses.

    Source:
        pyenv, "Understanding Python version selection"; asdf, "Versions", `.tool-versions`.
    """
    home = Path(variables.get("HOME") or "/")
    chosen = [Path(variables.get("PYENV_ROOT") or home / ".pyenv") / "version", home / ".tool-versions"]
    chosen += [folder / name for folder in (cwd, *cwd.parents) for name in (".python-version", ".tool-versions")]
    return tuple(map(str, chosen))
