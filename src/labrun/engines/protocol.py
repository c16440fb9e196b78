"""What the worker asks of a place to run."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Literal, Protocol

from msgspec import Struct, field

from labrun.core.ids import AttemptId
from labrun.core.spec import TerminalSize
from labrun.wire.requests import Keys
from labrun.wire.responses import Typed


class LaunchOrder(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything a supervisor needs to run one attempt; written as the attempt's `order` file.

    It is evidence, so no secret stands in it: the caller's variables are named by file.
    """

    attempt_id: AttemptId
    argv: tuple[str, ...]
    cwd: str
    """Absolute."""
    variables_file: str | None = None
    """Absolute path of a JSON object with the caller's variables (mode 0600)."""
    variables: dict[str, str] = field(default_factory=dict)
    """Added last: `LAB_*` and the few others the documentation names."""
    variable_defaults: dict[str, str] = field(default_factory=dict)
    """Added only where the caller did not set them."""
    stdout: str
    stderr: str
    log_index: str
    """Absolute path; one line per second in which output grew: `{"t":…,"stdout":size,"stderr":size}`."""
    usage: str
    """Absolute path of `usage.jsonl`."""
    stdin: str | None = None
    """Absolute path of what the command reads; `/dev/null` when None."""
    terminal: TerminalSize | None = None
    """Give it a terminal instead of stdin and two logs: everything goes to `stdout`."""
    umask: int = 0o022
    nice: int = 0
    affinity: tuple[int, ...] | None = None
    limits: dict[str, int] = field(default_factory=dict)
    timeout_s: float | None = None
    grace_s: float = 10.0
    memory_bytes: int | None = None
    log_quota_bytes: int = 10 * 2**30
    """Per stream; over it the middle is punched out and the gap recorded."""
    key: str
    """Random; also in the variables as `LAB_ATTEMPT_KEY`: the last way to find what an attempt left behind."""
    context: dict[str, object] = field(default_factory=dict)
    """Evidence for people: label, note, spec. The supervisor does not read it."""


class ExitRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a supervisor writes when its attempt is over (`exit`)."""

    attempt_id: str
    code: int | None = None
    signal: int | None = None
    is_core_dumped: bool = False
    launch_error: str | None = None
    """The command could not be executed at all; no instruction of it ran."""
    launch_errno: int | None = None
    started_at: float
    """Unix seconds."""
    ended_at: float
    duration_s: float
    """By the boot clock; never negative."""
    stop_reason: Literal["cancel", "timeout"] | None = None
    """Set when the supervisor had begun to stop the command before it ended."""
    stopped_by: str | None = None
    oom_kills: int = 0
    """Rise of the kernel's counter for this attempt alone."""
    oom_source: str | None = None
    """The counter's file."""
    peak_memory_bytes: int | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    read_bytes: int | None = None
    written_bytes: int | None = None
    leftover_processes: int = 0
    cleared_by: str | None = None
    gaps: tuple[dict[str, object], ...] = ()
    """What the log quota cut out: stream, offset, size in bytes."""


class StartedRecord(Struct, frozen=True, kw_only=True):
    """What a supervisor writes before any user code may run (`started`)."""

    attempt_id: str
    pid: int
    boot_id: str
    at: float
    enforced: dict[str, str] = field(default_factory=dict)


class Ended(Struct, frozen=True):
    """The supervisor wrote its record."""

    record: ExitRecord
    started: StartedRecord | None


class Alive(Struct, frozen=True):
    """A living supervisor holds the lease."""

    started: StartedRecord | None
    """None until the start marker is whole."""


class Dead(Struct, frozen=True):
    """Proven dead without an exit record; the caller now holds its lease until `clear` and `forget`."""

    started: StartedRecord | None
    why: str


class Unstarted(Struct, frozen=True):
    """Never started and its order is intact: `launch` may be called, same attempt. The lease is held for it."""


Observation = Ended | Alive | Dead | Unstarted


class Cleared(Struct, frozen=True):
    """What `clear` found."""

    killed: int
    rung: str | None
    """cgroup, subreaper, zygote, key; None when nothing was left."""
    unkillable: tuple[int, ...] = ()
    """Processes SIGKILL could not remove yet (state D); the attempt is not over while there are any."""


class ShimStatus(Struct, frozen=True):
    """A live supervisor's own words."""

    phase: Literal["starting", "running", "stopping", "clearing"]
    command_pid: int | None = None
    unkillable: tuple[int, ...] = ()
    is_stopped: bool = False
    """Ctrl-Z, or SIGSTOP by anybody: it waits for SIGCONT."""
    trouble: str | None = None
    """Why a log or the exit record cannot be written now."""


class Capabilities(Struct, frozen=True):
    """What an engine can do, as plain data."""

    survives_worker: bool
    enforces_memory: bool


class Engine(Protocol):
    """One way to run a command somewhere. Called by the worker only; never calls back."""

    name: str
    capabilities: Capabilities

    def reserve(self, order: LaunchOrder) -> None:
        """Write the order and take the lease, unsynced, *before* the claim is made durable.

        Called once per attempt, and again after a crash for an attempt whose claim was not committed.

        Raises:
            EngineFailed: The control directory does not accept the files.
            FileExistsError: The attempt has a start marker: it must not start again.
        """
        ...

    def unreserve(self, attempt: AttemptId) -> None:
        """Drop what `reserve` made, when the claim was not committed after all."""
        ...

    async def launch(self, attempt: AttemptId) -> None:
        """Hand the reserved attempt and its lease over; return before it started. Called after the commit.

        Raises:
            EngineFailed: It could not be handed over and will not start; the lease is still held here.
        """
        ...

    async def observe(self, attempts: Collection[AttemptId]) -> Mapping[AttemptId, Observation]:
        """Look at each attempt by the decision table of the design; one call for all of them.

        Called after a restart for every claimed row, once a second for live ones, and for an attempt that
        `changes` named. Only the holder of the server lock calls it.
        """
        ...

    def changes(self) -> AsyncIterator[AttemptId]:
        """Yield an attempt whenever its start marker or exit record appeared."""
        ...

    async def status(self, attempt: AttemptId) -> ShimStatus | None:
        """Ask a live supervisor; None when it does not answer."""
        ...

    async def signal(self, attempt: AttemptId, signal: int) -> bool:
        """Pass a signal to the command's process group; False when nobody answered."""
        ...

    async def type(self, attempt: AttemptId, keys: Keys) -> Typed | None:
        """Type into a live attempt's terminal; None when nobody answered, or it has no terminal."""
        ...

    async def stop(self, attempt: AttemptId, *, by: str, grace_s: float) -> bool:
        """Ask the supervisor to stop its command. May be repeated; False when nobody answered."""
        ...

    async def clear(self, attempt: AttemptId, key: str) -> Cleared:
        """Kill whatever a dead attempt left behind, in rungs; returns within about two seconds."""
        ...

    def evidence(self, attempt: AttemptId) -> Mapping[str, str]:
        """Paths of the attempt's control files by name (`order`, `started`, `exit`), those that exist."""
        ...

    def attempts(self) -> Collection[AttemptId]:
        """Attempts that have control files here, whoever knows them."""
        ...

    def forget(self, attempt: AttemptId) -> None:
        """Remove the attempt's control files and drop its lease. Called after its row is gone."""
        ...

    async def aclose(self) -> None:
        """Let go of everything here; live attempts run on."""
        ...
