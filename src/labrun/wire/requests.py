"""What clients send."""

from msgspec import Struct, field

from labrun.core.spec import Spec


class Submit(Struct, frozen=True, omit_defaults=True):
    """`POST /v1/labs/{lab}/experiments`: accept one experiment.

    The header `Idempotency-Key` makes a repeated request return the experiment of the first.
    """

    spec: Spec
    """`surroundings.variables` and `source.tree` are filled in by the server."""
    variables: dict[str, str] = field(default_factory=dict)
    """The caller's environment; stored once by content, 0600, never in a record."""


class Cancel(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/cancel`."""

    by: str
    is_urgent: bool = False
    """Skip the grace period."""


class Signal(Struct, frozen=True):
    """`POST …/{id}/signal`: pass a signal to the script's process group, as Ctrl-C would."""

    signal: int


class Resume(Struct, frozen=True, omit_defaults=True):
    """`POST …/{id}/resume`: same experiment, next attempt."""

    by: str
    variables: dict[str, str] = field(default_factory=dict)
    """The caller's environment now; that of the first attempt was deleted with its row."""
