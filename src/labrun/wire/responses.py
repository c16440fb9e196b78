"""What the server answers. A field that is not known yet is null; nothing is invented."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from labrun.core.changes import Change
from labrun.core.events import Status, Step, StepStatus
from labrun.core.failure import Failure
from labrun.core.narrative import Told
from labrun.core.resources import Request
from labrun.core.spec import Narrative, NotFrozen, Staged
from labrun.wire.metrics import MetricsView


class Problem(Struct, frozen=True):
    """Body of every error; the client raises the class the server raised."""

    code: str
    message: str
    hint: str | None = None
    details: object = None


class ProgressView(Struct, frozen=True):
    """What a running script's progress bar says, read from the end of its log."""

    percent: float
    """0 to 100."""
    left_s: float | None
    """The script's own estimate at that moment; null when it gives none."""
    text: str
    """The bar's line."""
    written_at: datetime
    """When the log was last written to: an old moment means that nothing moves."""


class Experiment(Struct, frozen=True, kw_only=True):
    """One experiment as lists and streams show it."""

    run_id: str
    label: str
    lab: str
    name: str | None
    status: Status
    step: Step
    step_status: StepStatus
    attempt: int
    priority: int
    command: tuple[str, ...]
    note: str | None
    user: str
    resources: Request
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    ending: str | None
    """Kind of the ending: exited, signalled, oom, timeout, cancelled, lost, never_started."""
    ending_text: str | None
    """Half a sentence for people."""
    reason: str | None
    """The one reason it waits, or cannot be stopped."""
    position: int | None
    """Place in the queue, 1 is next; null when it does not wait."""
    is_sealed: bool
    folder: str | None
    """Absolute path; null while it waits for its first attempt."""
    definition: str | None = None
    tree: str | None = None
    tags: tuple[str, ...] = ()
    group: str | None = None
    hypothesis: str | None = None
    peak_memory_bytes: int | None = None
    """Most it had at once so far, while it runs."""
    gpus: tuple[int, ...] = ()
    """Assigned to its current attempt."""
    verdict: str | None = None
    """What it says about its hypothesis: validates, refutes, inconclusive, partial; said by people."""
    remarks: str | None = None
    """What people noted afterwards, the newest first, shortened."""
    parent: str | None = None
    """Run id of the experiment it follows from."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Last finite values of its first fifty metrics, once it is sealed."""
    hint: str | None = None
    """A ready command that mends what made it fail, when one is sure."""
    deleted_at: datetime | None = None
    """When it was deleted; its folder is in the trash, or gone."""
    deleted_by: str | None = None
    is_purged: bool = False
    """Its folder is gone for good."""
    progress: ProgressView | None = None
    """Only while it runs, and only if its log ends in a progress bar."""


class StepView(Struct, frozen=True):
    """One of the eight steps of the current attempt."""

    step: Step
    status: StepStatus
    started_at: datetime | None
    ended_at: datetime | None
    note: str | None
    """Why a step had nothing to do, or what it did."""


class AttemptView(Struct, frozen=True, kw_only=True):
    """One execution."""

    attempt: int
    started_at: datetime | None
    ended_at: datetime | None
    ending: str | None
    ending_text: str | None
    exit_code: int | None
    seal: str | None
    """SHA-256 of its `seal.json`."""


class Artifact(Struct, frozen=True):
    """A file the experiment left behind; path relative to the experiment's folder."""

    path: str
    size_bytes: int
    modified: datetime


class ChangesView(Struct, frozen=True):
    """What differs from the last success of the same definition or script."""

    since: str
    """Label of that success."""
    changes: tuple[Change, ...]


class FailureCard(Struct, frozen=True, kw_only=True):
    """Everything that helps after a failure."""

    failure: Failure
    last_lines: tuple[str, ...]
    """The last lines it wrote to stderr, else to stdout."""
    peak_memory_bytes: int | None
    memory_limit_bytes: int | None
    hint: str | None
    changes: ChangesView | None
    """None when nothing of its kind ever succeeded."""


class ExperimentDetail(Struct, frozen=True, kw_only=True):
    """`GET …/{id}`: everything about one experiment."""

    experiment: Experiment
    steps: tuple[StepView, ...]
    attempts: tuple[AttemptView, ...]
    artifacts: tuple[Artifact, ...]
    """At most 1,000; the manifest has all."""
    artifact_count: int
    artifact_bytes: int
    tree: str | None
    source_root: str | None
    interpreter: str | None
    cwd: str
    enforced: dict[str, str]
    """Which limits are enforced, and by what; the others are only counted."""
    timeout_s: float | None
    grace_s: float
    narrative: Narrative = field(default_factory=Narrative)
    """What was said before it ran; sealed."""
    told: Told = field(default_factory=Told)
    """What was said afterwards."""
    card: FailureCard | None = None
    """After a failure."""
    expected_outputs: tuple[str, ...] = ()
    missing_outputs: tuple[str, ...] = ()
    """Expected outputs that nothing matches; known once it was checked."""
    not_frozen: tuple[NotFrozen, ...] = ()
    has_terminal: bool = False
    """Started by `lab run -i`: somebody may attach to it."""
    metrics: MetricsView | None = None
    """What the last attempt measured, its first 1,000 metrics; null when nothing."""


class Accepted(Struct, frozen=True):
    """Answer to a submit: it is durable."""

    experiment: Experiment
    notices: tuple[str, ...] = ()
    """What the user should know: what was left out of the snapshot, what is only counted."""
    similar: Experiment | None = None
    """The newest other experiment of the same definition."""
    is_reused: bool = False
    """`experiment` is an earlier one; nothing new was accepted."""


class Rerunning(Struct, frozen=True):
    """Answer to a rerun: what became of the command line, and the new experiment."""

    label: str
    """Of the old experiment."""
    code: Literal["same", "now"]
    before: tuple[str, ...]
    after: tuple[str, ...]
    """Placeholders of staged files are filled when it starts."""
    staged: tuple[Staged, ...]
    accepted: Accepted | None
    """Null when only asked what would be."""
    notices: tuple[str, ...] = ()


class DescriptionView(Struct, frozen=True):
    """`GET …/{id}/description`: an experiment as a person would write it."""

    label: str
    run_id: str
    description: dict[str, Any]
    """Fields of `wire.description`."""
    notices: tuple[str, ...] = ()
    """What no description can say."""


class TrashView(Struct, frozen=True):
    """What is in a lab's trash, or was removed from it."""

    experiments: tuple[Experiment, ...]
    """Last deleted first."""
    size_bytes: int | None = None
    """Space that a purge frees; null when it was not counted."""


class Restored(Struct, frozen=True):
    """Answer to a restore: the files are there, each checked against its hash."""

    label: str
    tree: str
    destination: str
    file_count: int
    notices: tuple[str, ...] = ()
    """What belonged to the run and is not among the files."""


class Unfrozen(Struct, frozen=True):
    """A top-level entry of a source root that a snapshot leaves out."""

    place: str
    is_folder: bool
    size_bytes: int
    why: Literal["ignored", "too big"]
    is_whole: bool = True
    """False: counting stopped, `size_bytes` is the least it has."""


class SurveyView(Struct, frozen=True):
    """Answer to a survey of a source root."""

    is_known: bool
    """The question was answered before; `links` is the answer."""
    links: tuple[str, ...]
    unfrozen: tuple[Unfrozen, ...]


class ExperimentPage(Struct, frozen=True):
    """`GET /v1/labs/{lab}/experiments`: newest first."""

    experiments: tuple[Experiment, ...]
    next: str | None
    """Pass as `before` for the next page; null at the end."""


class EventPage(Struct, frozen=True):
    """`GET …/{id}/events`: the journal from a cursor on."""

    events: tuple[object, ...]
    """As in `events.jsonl`."""
    next: int
    """Pass as `after`; counts lines of the journal, so it survives a restart of the server."""
    is_over: bool
    """The experiment ended and nothing will follow."""


class LogSegment(Struct, frozen=True):
    """One piece of the body of `GET …/{id}/logs`."""

    stream: str
    offset: int
    size: int


class LogGap(Struct, frozen=True):
    """What a log does not have any more: over its quota the middle was cut out."""

    stream: str
    offset: int
    """The body goes on after the missing bytes that begin here."""
    size: int


class LogTime(Struct, frozen=True, array_like=True):
    """When a part of the body was written, to the second; it reaches from the part before to `end`."""

    stream: str
    end: int
    """Offset in the stream."""
    written: float
    """Unix seconds."""


class LogHeader(Struct, frozen=True):
    """Header `Lab-Log` of `GET …/{id}/logs`, as JSON."""

    segments: tuple[LogSegment, ...]
    """How the body divides, in order."""
    stdout: int
    """Next offset of stdout."""
    stderr: int
    is_over: bool
    """The attempt ended and every byte up to its end has been sent."""
    attempt: int
    gaps: tuple[LogGap, ...] = ()
    """What was passed over because it is not there any more."""
    times: tuple[LogTime, ...] = ()
    """Given on request, in order for each stream."""


class CapacityView(Struct, frozen=True):
    """What the host has and what is taken."""

    cpus: int
    cpus_taken: int
    memory_bytes: int
    memory_taken_bytes: int
    gpus: tuple[int, ...]
    gpus_taken: tuple[int, ...]
    slots: int
    slots_taken: int


class ServerView(Struct, frozen=True):
    """`GET /v1/server`."""

    version: str
    pid: int
    home: str
    started_at: datetime
    epoch: int
    known: int
    waiting: int
    live: int
    notices: tuple[str, ...] = ()
    """What the administrator should know: recovered attempts, a server that dies with its login …"""


class Typed(Struct, frozen=True):
    """Answer to keys."""

    is_writer: bool
    """False: somebody else types, and this session only looks on."""
    received: int
    """Bytes of this session taken so far; what is missing is to be sent again."""
    is_stopped: bool
    """Ctrl-Z, or SIGSTOP by anybody: it waits for SIGCONT."""


class StatusView(Struct, frozen=True):
    """`GET /v1/labs/{lab}/status`: one screen."""

    running: tuple[Experiment, ...]
    waiting: tuple[Experiment, ...]
    """The first 20 in the order they will start."""
    waiting_count: int
    ended: tuple[Experiment, ...]
    """The last 5, the last one first; up to 20 of what ended since the moment given."""
    counts: dict[str, int]
    """Experiments of the lab by status."""
    capacity: CapacityView
    server: ServerView
    news_count: int = 0
    """How many ended since the moment given, counted up to 1,000."""


class Finding(Struct, frozen=True):
    """One line of `lab doctor`."""

    check: str
    is_good: bool
    text: str
    hint: str | None = None


class Diagnosis(Struct, frozen=True):
    """`GET /v1/doctor`."""

    findings: tuple[Finding, ...] = field(default_factory=tuple)
