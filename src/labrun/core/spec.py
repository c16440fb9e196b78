"""The immutable intention: what to run, where from, with what, and why."""

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from labrun.core.resources import Request

SPEC_VERSION = 1


class Target(Struct, frozen=True, omit_defaults=True):
    """What is executed."""

    kind: Literal["script", "module", "program"]
    name: str
    """The script's path, the module's name or the program, as the user wrote it."""
    argv: tuple[str, ...]
    """The whole command line as it will be executed, interpreter first."""


class Link(Struct, frozen=True, omit_defaults=True):
    """A place in `work/` that is no copy: a symbolic link to the live file or folder."""

    place: str
    """Relative to the source root, and so to `work/`."""
    target: str
    """Absolute path it points at."""


NotFrozenKind = Literal[
    "link", "linked_out", "editable", "import_path", "argument", "working_directory", "program", "extension"
]


class NotFrozen(Struct, frozen=True, omit_defaults=True):
    """Something the command may use that was not copied: as it was when the experiment was submitted."""

    kind: NotFrozenKind
    path: str
    size_bytes: int | None = None
    """Of a file; of a folder it is not counted."""
    modified: datetime | None = None
    commit: str | None = None
    """The git commit its folder stood at, when it lies in a repository."""
    is_dirty: bool | None = None


class Source(Struct, frozen=True, omit_defaults=True):
    """The code and where the command runs."""

    root: str | None = None
    """Absolute path of the source root at submit; None when nothing was frozen."""
    only: tuple[str, ...] = ()
    """When not empty, only these paths below root were frozen (a script that lies in `/tmp` or `$HOME`)."""
    tree: str | None = None
    """Hash of the frozen git tree (40 hexadecimal digits); set by the server at submit."""
    cwd: str = "."
    """Working directory: relative to `work/` when `cwd_is_live` is false, else absolute."""
    cwd_is_live: bool = False
    """The caller stood outside the root and keeps his directory: not frozen, recorded as such."""
    is_elsewhere: bool = False
    """`root` lies on the machine it was submitted from (`Spec.host`); what was frozen there was uploaded."""
    is_live: bool = False
    """`--live`: it runs in the caller's own folder; `tree` says what lay there at submit."""
    links: tuple[Link, ...] = ()
    import_path: tuple[str, ...] | None = None
    """`PYTHONPATH` as executed: entries that begin with `./` lie in `work/`, others are as given. None: untouched."""
    not_frozen: tuple[NotFrozen, ...] = ()


class Surroundings(Struct, frozen=True, omit_defaults=True):
    """What the caller's process looked like; set per attempt, nothing is inherited from the server."""

    variables: str | None = None
    """Hash of the variables' file in `store/env/`; the values themselves are never in a record."""
    umask: int = 0o022
    nice: int = 0
    affinity: tuple[int, ...] | None = None
    limits: dict[str, int] = field(default_factory=dict)
    """Soft resource limits by name, such as `NOFILE`; -1 means unlimited."""


class ConfigFile(Struct, frozen=True, omit_defaults=True):
    """A configuration file as it was at submit; its copy lies in `submitted/config/`."""

    path: str
    """As the user wrote it."""
    place: str
    """Relative to the experiment's folder."""
    sha256: str
    size_bytes: int


class Input(Struct, frozen=True, omit_defaults=True):
    """Declared data: hashed at submit, not copied."""

    name: str
    path: str
    """Absolute."""
    sha256: str
    """Of the file; of a folder the hash over its files, see `capture.inputs`."""
    size_bytes: int
    file_count: int
    modified: datetime


class Staged(Struct, frozen=True, omit_defaults=True):
    """A file of an earlier experiment, copied into `staged/` of this one before it starts."""

    name: str
    """In `staged/`; `{staged:NAME}` in an argument becomes its place."""
    run_id: str
    """Of the experiment it comes from."""
    path: str
    """Relative to that experiment's folder."""
    sha256: str
    size_bytes: int


class Narrative(Struct, frozen=True, omit_defaults=True):
    """Why it is run, said before it ran: sealed with the order, so nobody can say it afterwards."""

    hypothesis: str | None = None
    context: str | None = None
    intent: str | None = None
    expected_outcome: str | None = None
    parent_run: str | None = None
    """Run id; a client may send any reference, the server resolves it."""
    experiment_group: str | None = None
    tags: tuple[str, ...] = ()


class TerminalSize(Struct, frozen=True):
    """Of a terminal, in characters."""

    rows: int
    columns: int


class Spec(Struct, frozen=True, omit_defaults=True):
    """What to run and how. Never changes after it was accepted."""

    target: Target
    lab: str = "main"
    name: str | None = None
    source: Source = field(default_factory=Source)
    surroundings: Surroundings = field(default_factory=Surroundings)
    interpreter: str | None = None
    """Absolute path of the Python that runs a script or module."""
    resources: Request = field(default_factory=Request)
    priority: int = 5
    """1 (whenever) to 10 (first); earlier, never exclusive."""
    timeout_s: float | None = None
    grace_s: float = 10.0
    """Seconds between the polite signal and the kill."""
    note: str | None = None
    narrative: Narrative = field(default_factory=Narrative)
    configs: tuple[ConfigFile, ...] = ()
    inputs: tuple[Input, ...] = ()
    staged: tuple[Staged, ...] = ()
    expected_outputs: tuple[str, ...] = ()
    """Globs below `work/` and `outputs/`; one that matches nothing at the end is named."""
    seed: int | None = None
    """Given by the user or drawn at submit; in the script's environment as `LAB_SEED`."""
    is_seed_drawn: bool = False
    pod: str | None = None
    """Name of the resource class the request came from."""
    metrics_from: str | None = None
    """Read metrics from what it prints too: `json`, `key=value` or a pattern, see `core.printed_metrics`."""
    stdin: Literal["none", "spooled", "terminal"] = "none"
    """`/dev/null`, the spooled `submitted/stdin`, or a terminal held by the supervisor."""
    terminal: TerminalSize | None = None
    """What its terminal has at the start."""
    submitted: str | None = None
    """Hash of the git tree of `submitted/`: environment, packages, lock files, diff, configuration, stdin."""
    definition: str | None = None
    """Identity of what is run: SHA-256 over target, configuration and declared inputs, see `core.definition`."""
    user: str = ""
    """Login name of whoever submitted."""
    host: str = ""
    version: int = SPEC_VERSION


PRIORITY_WORDS = {"low": 2, "normal": 5, "high": 7, "critical": 9}
