"""What can happen to an experiment: past facts, in past participles. A journal is a list of these."""

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from labrun.core.endings import Ending
from labrun.core.failure import Failure
from labrun.core.ids import Label, RunId
from labrun.core.spec import Spec


class _Event(Struct, frozen=True, omit_defaults=True, tag_field="event", kw_only=True):
    at: datetime
    """When it happened; time arrives inside the event, nobody asks a clock while folding."""


class Accepted(_Event, frozen=True, tag="accepted"):
    """The experiment is durable and waits. Always the first event."""

    run_id: RunId
    label: Label
    spec: Spec
    attempt: int = 1
    """The attempt it waits for; more than 1 only where a lost journal had to begin anew."""


class Dispatched(_Event, frozen=True, tag="dispatched"):
    """A worker claimed it: attempt n begins with the cloning step."""

    attempt: int
    worker: str
    gpus: tuple[int, ...] = ()


class Cloned(_Event, frozen=True, tag="cloned"):
    """The code lies in `work/`, its hash checked. Building and Fetching end here when they have nothing to do."""

    attempt: int
    tree: str | None = None
    file_count: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Steps that had nothing to do, with the reason."""
    kept: tuple[str, ...] = ()
    """Code files an earlier attempt had changed; they were left as they are."""


class Started(_Event, frozen=True, tag="started"):
    """The supervisor wrote its start marker; from now on user code may have run."""

    attempt: int
    pid: int
    """Of the supervisor, for humans; nothing is decided by it."""
    enforced: dict[str, str] = field(default_factory=dict)
    """Which limits are enforced, and by what; the rest is only counted."""


class CancelRequested(_Event, frozen=True, tag="cancel_requested"):
    """Somebody asked to stop it; re-applied until nothing is left."""

    by: str


class Ended(_Event, frozen=True, tag="ended"):
    """The attempt is over, for the reason given with its evidence."""

    attempt: int
    ending: Ending
    started_at: datetime | None = None
    ended_at: datetime | None = None
    """When the command itself ended, by the supervisor's clock."""
    leftover_processes: int = 0
    cleared_by: str | None = None
    """The rung that removed what was left: cgroup, subreaper, zygote, key."""


class Checked(_Event, frozen=True, tag="checked"):
    """Artifacts are listed and the evidence is about to be sealed."""

    attempt: int
    artifact_count: int
    artifact_bytes: int
    missing_outputs: tuple[str, ...] = ()
    """Expected outputs that nothing matches."""
    failure: Failure | None = None
    """Why it failed, with evidence; None for success."""
    hint: str | None = None
    """A ready command that mends what made it fail, when one is sure."""


class ResumeRequested(_Event, frozen=True, tag="resume_requested"):
    """The same experiment waits again; the next attempt will have this number."""

    attempt: int
    by: str


class Damaged(_Event, frozen=True, tag="damaged"):
    """Something was found torn or missing and was rebuilt or given up; commentary that changes no state."""

    what: str
    kept: str


Event = Accepted | Dispatched | Cloned | Started | CancelRequested | Ended | Checked | ResumeRequested | Damaged

EVENT: type[Event] = Event  # type: ignore[assignment]  # a union is no class to mypy; msgspec decodes it
"""What journals are decoded as."""

Step = Literal["waiting", "cloning", "building", "fetching", "submitting", "running", "checking", "completed"]
STEPS: tuple[Step, ...] = (
    "waiting",
    "cloning",
    "building",
    "fetching",
    "submitting",
    "running",
    "checking",
    "completed",
)
StepStatus = Literal["initialize", "running", "succeeded", "failed", "cancelled"]
Status = Literal["created", "processing", "succeeded", "failed", "cancelled"]
