"""What a command will run in, as it is at submit: interpreter, packages, locks, repository, machine, variables.

Nothing here refuses an experiment. What cannot be read is left out of the record, and a notice says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from labrun.capture.interpreter import Interpreter, SilentInterpreter, ask_interpreter, callers_python
from labrun.capture.listing import shown
from labrun.capture.locks import read_locks
from labrun.capture.machine import machine
from labrun.capture.packages import freeze, import_folders, list_packages
from labrun.capture.program import Uses
from labrun.capture.readings import Readings
from labrun.capture.repository import DIFF_PLACE, read_head, read_repository
from labrun.capture.variables import recorded_variables
from labrun.core.environment import Environment, Python

ENVIRONMENT_PLACE = "environment.json"
PACKAGES_PLACE = "packages.txt"


class Captured(Struct, frozen=True):
    """What is recorded, and the files that go with it."""

    environment: Environment
    files: dict[str, bytes] = field(default_factory=dict)
    """Content by place below `submitted/`, `environment.json` among them."""
    notices: tuple[str, ...] = ()
    """What the user should know."""


def capture_environment(
    *,
    root: Path | None,
    cwd: Path,
    interpreter: Path | None,
    variables: Mapping[str, str],
    tree: str | None,
    files: Sequence[str],
    readings: Readings | None = None,
    uses: Uses = Uses(),  # noqa: B008  it cannot be changed
) -> Captured:
    """Read everything a record says about the environment. Blocks; raises nothing for what cannot be read.

    Args:
        root: Source root, absolute; None when nothing is frozen.
        cwd: The caller's directory.
        interpreter: The Python that will run the command; None for a program.
        variables: What the command will get.
        tree: Hash of the frozen code.
        files: What was frozen, relative to the root.
        readings: What was read before; keep one per process, or every submit reads everything anew.
        uses: What is known of a program; when nothing is, the caller's Python is described, as a guess.
    """
    readings = readings if readings is not None else Readings()
    asked = interpreter or uses.python
    is_guess = asked is None and uses.chooser is None
    if is_guess:
        asked = callers_python(variables, cwd)
    found, lines, notices = _python(asked, variables, cwd, readings)
    if uses.notice is not None:
        notices = (uses.notice,)
    head = read_head(root) if root is not None else None
    locks = read_locks(root, cwd, Path(head.top) if head else None, Path(found.prefix) if found else None, readings)
    code = read_repository(root, files, tree, readings) if root is not None else None
    environment = Environment(
        machine=machine(readings),
        python=_recorded(found, is_guess=is_guess) if found is not None else None,
        packages=lines,
        chosen_by=uses.chooser,
        locks=locks.locks,
        repository=code.repository if code is not None else None,
        variables=recorded_variables(variables),
    )
    submitted = dict(locks.files)
    submitted[ENVIRONMENT_PLACE] = msgspec.json.format(msgspec.json.encode(environment), indent=2) + b"\n"
    if found is not None:
        submitted[PACKAGES_PLACE] = "".join(f"{line}\n" for line in lines).encode()
    if code is not None and code.diff is not None:
        submitted[DIFF_PLACE] = code.diff
    return Captured(environment, submitted, (*notices, *locks.notices, *(code.notices if code is not None else ())))


def _python(
    asked: Path | None, variables: Mapping[str, str], cwd: Path, readings: Readings
) -> tuple[Interpreter | None, tuple[str, ...], tuple[str, ...]]:
    """Ask the interpreter and list its packages: facts, lines, notices."""
    if asked is None:
        return None, (), ()
    try:
        found = ask_interpreter(asked, variables, cwd, readings)
    except SilentInterpreter as silent:
        return (
            None,
            (),
            (f"packages are not recorded: {shown(str(asked))} does not say what it is: {silent}",),
        )
    packages = list_packages(import_folders(found, variables.get("PYTHONPATH"), cwd), readings)
    return found, tuple(map(shown, freeze(packages, found))), ()


def _recorded(found: Interpreter, *, is_guess: bool) -> Python:
    place, prefix = shown(found.executable), shown(found.prefix)
    return msgspec.structs.replace(found.described(), executable=place, prefix=prefix, is_guess=is_guess)
