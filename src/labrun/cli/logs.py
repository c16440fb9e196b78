"""`lab logs`: what an experiment wrote; as it looked on a terminal, or byte for byte."""

import re
import time
from datetime import datetime, timedelta

import click

from labrun.cli import show
from labrun.cli.connect import connect, resolve
from labrun.cli.log_source import Source
from labrun.cli.options import common_options
from labrun.cli.output import Output

_LIMIT_BYTES = 256 * 1024
"""Of each stream and look: what is in memory at once, however large the log."""
_WAIT_S = 20.0
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--stdout", "has_stdout", is_flag=True, help="Only what it wrote to stdout.")
@click.option("--stderr", "has_stderr", is_flag=True, help="Only what it wrote to stderr; printed to our stdout.")
@click.option("--raw", "face", flag_value="raw", help="Byte for byte, on a terminal too.")
@click.option("--view", "face", flag_value="view", help="As it looked on a terminal, into a pipe too.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each stream.")
@click.option("--since", metavar="WHEN", help="Only from then on: 10m (ago), 14:05, 2026-11-21T14:05.")
@click.option("--timestamps", is_flag=True, help="Begin each line with when it was written, to the second.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt; the current one unless given.")
@common_options
@click.pass_obj
def logs(
    output: Output,
    reference: str,
    follow: bool,
    has_stdout: bool,
    has_stderr: bool,
    face: str | None,
    tail: int | None,
    since: str | None,
    timestamps: bool,
    attempt: int | None,
    lab: str,
) -> int:
    """Print what an experiment wrote: its stdout to ours, its stderr to ours.

    On a terminal it is shown as it would look there: a progress bar is one line in its last state,
    colours stay, every other escape sequence is left out; of a log over 1 MiB the end is shown. Into
    a pipe or file go the bytes as they were written. --raw and --view choose. Where a log went over
    its quota its middle is missing; the place is named.

    --json prints one object per piece: stream, offset, text (bytes that are not UTF-8 as lone
    surrogates \\udc80 to \\udcff, so nothing is lost); where something is missing, missing_bytes.

    \b
    Example:
      lab logs -f --tail 20 EXP-054
    """
    is_view = output.face != "json" and (face == "view" or timestamps or (face is None and output.is_terminal))
    if timestamps and (face == "raw" or output.face == "json"):
        _refuse_timestamps("--raw" if face == "raw" else "--json")
    moment = since_moment(since, time.time()) if since is not None else None
    client = connect(output, lab)
    names = [name for name, chosen in (("stdout", has_stdout), ("stderr", has_stderr)) if chosen]
    source = Source(client, resolve(client, reference), names or ["stdout", "stderr"], attempt)
    if is_view:
        from labrun.cli.log_screen import view_logs  # start-up time: a pipe needs none of it

        view_logs(output, source, follow=follow, tail=tail, since=moment, has_times=timestamps)
    else:
        if tail is not None or moment is not None:
            source.begin(tail_lines=tail, since=moment)
        _copy(output, source, follow=follow)
    return 0


def _copy(output: Output, source: Source, *, follow: bool) -> None:
    """Copy bytes until the end."""
    while True:
        piece = source.look(wait_s=_WAIT_S if follow else 0.0, limit_bytes=_LIMIT_BYTES)
        for gap in piece.gaps:
            if output.face == "json":
                output.json({"stream": gap["stream"], "offset": gap["offset"], "missing_bytes": gap["size"]})
            else:
                output.insist(f"lab: {show.missing(gap)}")
        for stream, offset, content in piece.segments:
            if output.face == "json":
                output.json({"stream": stream, "offset": offset, "text": content.decode("utf-8", "surrogateescape")})
            else:
                output.raw(source.descriptor(stream), content)
        if piece.is_over or not (follow or piece.segments):
            return


def since_moment(text: str, now: float) -> float:
    """Read a moment: a length of time ago, a time of day, or a date with or without its time zone.

    >>> since_moment("10m", 1000.0), since_moment("1970-01-02T00:00:00+00:00", 0.0)
    (400.0, 86400.0)

    Args:
        text: As people write it; times without a zone are the reader's own.
        now: Unix seconds.

    Returns:
        Unix seconds, not before 1970.

    Raises:
        BadValue: It is none of these.
    """
    from labrun.core.errors import BadValue  # start-up time: only with --since
    from labrun.core.units import parse_duration

    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock is not None:
            today = datetime.fromtimestamp(now).astimezone()
            hour, minute, second = (int(part or 0) for part in clock.groups())
            at = today.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return (at if at <= today else at - timedelta(days=1)).timestamp()
        if "-" in text:
            return max(0.0, datetime.fromisoformat(text.strip()).astimezone().timestamp())
        return max(0.0, now - parse_duration(text))
    except (ValueError, OverflowError, BadValue) as error:
        raise BadValue("since", text, "10m (ago), 14:05, or 2026-11-21T14:05") from error


def _refuse_timestamps(option: str) -> None:
    from labrun.core.errors import BadValue  # start-up time: only when it is refused

    raise BadValue("timestamps", option, f"no `{option}`: it gives bytes as they are, and a byte has no time")
