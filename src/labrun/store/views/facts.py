"""What a view is made from, and how facts are written in words."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from labrun.core import lifecycle
from labrun.core.environment import Environment
from labrun.core.events import Status
from labrun.core.narrative import Told
from labrun.core.story import Story
from labrun.wire.metrics import MetricsView
from labrun.wire.responses import Artifact, FailureCard


class Facts(Struct, frozen=True, kw_only=True):
    """Everything the views show."""

    story: Story
    exit_record: Mapping[str, object] | None = None
    """What the supervisor of the last attempt wrote, its fields by name; None when it could not."""
    artifacts: Sequence[Artifact] = ()
    at: datetime
    """When the artifacts were listed."""
    environment: Environment | None = None
    """What it ran in, from `submitted/environment.json`; None where it was not captured."""
    said: Told = Told()
    """What people said afterwards."""
    metrics: MetricsView | None = None
    """What the last attempt measured; None when nothing."""
    card: FailureCard | None = None
    """The last lines and what changed, when it failed."""

    @property
    def status(self) -> Status:
        """How the experiment stands overall."""
        return lifecycle.status_of(self.story.state)

    @property
    def artifact_bytes(self) -> int:
        """Size of all artifacts together."""
        return sum(artifact.size_bytes for artifact in self.artifacts)

    def number(self, name: str) -> float | None:
        """A number of the exit record; None when it is not there."""
        value = (self.exit_record or {}).get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None


_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
"""Control characters, line separators, marks that turn the direction of text, halves of pairs."""


def _escape(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def visible(text: str) -> str:
    r"""Make control characters visible and harmless.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _INVISIBLE.sub(_escape, text)


def command_line(argv: Sequence[str]) -> str:
    r"""Write a command so that it can be pasted into bash, on one line.

    >>> command_line(["python3", "a b.py", "x\ny"])
    "python3 'a b.py' $'x\\ny'"
    """
    return " ".join(_word(word) for word in argv)


def _word(word: str) -> str:
    if not _INVISIBLE.search(word):
        return shlex.quote(word)
    plain = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    # three octal digits end by themselves, two hexadecimal ones would swallow a digit that follows
    escaped = _INVISIBLE.sub(
        lambda match: f"\\{ord(match.group()):03o}" if ord(match.group()) < 128 else _escape_wide(match), plain
    )
    return f"$'{escaped}'"


def _escape_wide(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def moment(at: datetime | None) -> str:
    """Write a time for people, in UTC.

    >>> moment(datetime(2026, 11, 20, 9, 5, tzinfo=UTC))
    '2026-11-20 09:05:00 UTC'
    """
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Write how long something took.

    >>> duration(0.42), duration(75), duration(7512)
    ('0.42 s', '1 min 15 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
