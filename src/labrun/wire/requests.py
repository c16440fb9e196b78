"""What clients send."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from labrun.core.narrative import Verdict
from labrun.core.spec import Spec, TerminalSize
from labrun.wire.transfer import Delivered


class Submit(Struct, frozen=True, omit_defaults=True):
    """`POST /v1/labs/{lab}/experiments`: accept one experiment.

    The header `Idempotency-Key` makes a repeated request return the experiment of the first.
    """

    spec: Spec
    """`surroundings.variables` and `source.tree` are filled in by the server."""
    variables: dict[str, str] = field(default_factory=dict)
    """The caller's environment; stored once by content, 0600, never in a record."""
    configs: tuple[str, ...] = ()
    """Absolute paths of configuration files, in the order given; copied into `submitted/config/`."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Absolute path of declared data by name; hashed by the server, which fills `spec.inputs`."""
    links: tuple[str, ...] | None = None
    """Places below the source root that stay live; None: those remembered for this root."""
    remember_links: bool = False
    """Keep `links` as the answer for this source root."""
    stdin: bytes | None = None
    """What the command will read (base64 in JSON); spooled as evidence."""
    duplicates: Literal["say", "reuse", "new"] = "say"
    """What to do when the same definition was submitted before: say so, give that one back, or say nothing."""
    delivered: Delivered | None = None
    """Set by a client on another machine: `configs` and `links` are then empty, the source root is not here."""


class Cancel(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/cancel`."""

    by: str
    is_urgent: bool = False
    """Skip the grace period."""


class Signal(Struct, frozen=True):
    """`POST …/{id}/signal`: pass a signal to the script's process group, as Ctrl-C would."""

    signal: int


class Keys(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/keys`: what somebody typed into an experiment's terminal."""

    session: str
    """Names who types; one may at a time."""
    offset: int
    """Bytes of this session before these: what is repeated after a lost answer is typed once."""
    input: str
    """Base64."""
    size: TerminalSize | None = None
    """Of the window it is looked at in."""
    is_leaving: bool = False
    """Let somebody else type from now on."""


class Resume(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/resume`: same experiment, next attempt."""

    by: str
    variables: dict[str, str] = field(default_factory=dict)
    """The caller's environment now; that of the first attempt was deleted with its row."""


class Rerun(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/rerun`: a new experiment from an old one, which becomes its parent.

    The header `Idempotency-Key` makes a repeated request return the experiment of the first.
    """

    kind: Literal["resubmit", "requeue"]
    """The same again, or with changes."""
    arguments: tuple[str, ...] = ()
    mode: Literal["append", "replace", "merge"] = "append"
    """What becomes of the old arguments, see `core.arguments`."""
    code: Literal["same", "now"] = "same"
    """The code that was frozen then, or the source folder as it is now."""
    staged: tuple[str, ...] = ()
    """Files to copy, relative to the old experiment's folder; none: those it had itself."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of a description to set; those that say which code runs, and where, cannot be."""
    by: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    """The caller's environment now; that of the old experiment was deleted when it ended."""
    is_dry: bool = False
    """Only say what would be accepted."""


class Delete(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/delete`, `…/undelete`: into the trash, and back."""

    by: str = ""


class Purge(Struct, frozen=True, omit_defaults=True):
    """`POST /v1/labs/{lab}/purge`: remove what has been in the trash for long; what goes cannot come back."""

    older_than_s: float
    by: str = ""
    is_dry: bool = False
    """Only say what would go."""


class Restore(Struct, frozen=True):
    """`POST …/{id}/restore`: write the frozen code into a folder."""

    destination: str
    """Absolute path of a folder that is empty or does not exist yet."""


class Remark(Struct, frozen=True, omit_defaults=True):
    """One thing that is said: a text is an annotation, with `field` an amendment; the rest is a conclusion."""

    text: str | None = None
    field: Literal["hypothesis", "context", "intent", "expected_outcome"] | None = None
    verdict: Verdict | None = None
    outcome: str | None = None
    learnings: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()


class Say(Struct, frozen=True):
    """`POST …/{id}/notes`: durable when answered."""

    author: str
    remarks: tuple[Remark, ...]


Comparison = Literal["<", "<=", ">", ">=", "="]


class MetricRange(Struct, frozen=True):
    """A bound for the last value of a metric."""

    name: str
    comparison: Comparison
    value: float


class Search(Struct, frozen=True, omit_defaults=True):
    """Which experiments a list shows; everything given must hold."""

    status: str | None = None
    name: str | None = None
    """In its name; upper and lower case are the same."""
    tags: tuple[str, ...] = ()
    group: str | None = None
    user: str | None = None
    words: tuple[str, ...] = ()
    """In name, note, hypothesis, tags, group or command; whole words."""
    since: datetime | None = None
    """Queued then or later."""
    metrics: tuple[MetricRange, ...] = ()
    parent: str | None = None
    """Run id of the experiment they follow from."""

    @property
    def is_plain(self) -> bool:
        """Nothing but status and name."""
        return not (self.tags or self.group or self.user or self.words or self.since or self.metrics or self.parent)


class Order(Struct, frozen=True):
    """In which order a list comes. What lacks the thing it is ordered by is left out."""

    by: Literal["label", "name", "took", "metric"] = "label"
    """Label: as they were queued. Took: how long the last attempt ran, or runs by now."""
    is_descending: bool = True
    metric: str = ""
    """Whose last value counts."""

    @property
    def is_newest_first(self) -> bool:
        """The usual one."""
        return self.by == "label" and self.is_descending


class Survey(Struct, frozen=True):
    """`POST /v1/survey`: what of a source root would not be frozen."""

    root: str
    """Absolute path."""
