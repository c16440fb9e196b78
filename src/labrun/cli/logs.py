"""`lab logs`: what an experiment wrote, byte for byte."""

from typing import Any

import click

from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client

_LIMIT_BYTES = 256 * 1024
"""Of each stream and look: what is in memory at once, however large the log."""
_TAIL_LIMIT_BYTES = 1024 * 1024
"""`--tail` looks back so far; lines longer than that are shown from there on."""
_WAIT_S = 20.0


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--stdout", "has_stdout", is_flag=True, help="Only what it wrote to stdout.")
@click.option("--stderr", "has_stderr", is_flag=True, help="Only what it wrote to stderr; printed to our stdout.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt; the current one unless given.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each stream.")
@common_options
@click.pass_obj
def logs(
    output: Output,
    reference: str,
    follow: bool,
    has_stdout: bool,
    has_stderr: bool,
    attempt: int | None,
    tail: int | None,
    lab: str,
) -> int:
    """Print what an experiment wrote: its stdout to ours, its stderr to ours.

    --json prints one object per piece: stream, offset, text (bytes that are not UTF-8 as lone
    surrogates \\udc80 to \\udcff, so nothing is lost).

    \b
    Example:
      lab logs -f --tail 20 EXP-054
    """
    client = connect(output, lab)
    resolved = resolve(client, reference)
    streams = [name for name, chosen in (("stdout", has_stdout), ("stderr", has_stderr)) if chosen]
    is_alone = len(streams) == 1
    offsets = dict.fromkeys(streams or ("stdout", "stderr"), 0)
    if tail is not None:
        offsets = {name: tail_offset(client, resolved, name, attempt, tail) for name in offsets}
    while True:
        piece = client.logs(
            resolved, attempt=attempt, wait_s=_WAIT_S if follow else 0.0, limit_bytes=_LIMIT_BYTES, **offsets
        )
        attempt = piece.attempt
        for stream, offset, content in piece.segments:
            _show(output, stream, offset, content, is_alone=is_alone)
            offsets[stream] = offset + len(content)
        if piece.is_over or not (follow or piece.segments):
            return 0


def _show(output: Output, stream: str, offset: int, content: bytes, *, is_alone: bool) -> None:
    if output.face == "json":
        output.json({"stream": stream, "offset": offset, "text": content.decode("utf-8", "surrogateescape")})
    else:
        output.raw(1 if is_alone or stream == "stdout" else 2, content)


def tail_offset(client: Client, reference: str, stream: str, attempt: int | None, lines: int) -> int:
    """Find where the last lines of a stream begin.

    Args:
        client: Asks for ever larger ends of the log, up to 1 MiB.
        reference: Resolved.
        stream: stdout or stderr.
        attempt: None for the current one.
        lines: How many; a last line without its newline counts.
    """
    size = 16 * 1024
    while True:
        wanted: dict[str, Any] = {stream: 0, "tail_bytes": size, "limit_bytes": size}
        piece = client.logs(reference, attempt=attempt, **wanted)
        if not piece.segments:
            return int(getattr(piece, stream))
        _, offset, content = piece.segments[0]
        at = _last_lines(content, lines)
        if at is not None:
            return offset + at
        if offset == 0 or size >= _TAIL_LIMIT_BYTES:
            return offset
        size *= 8


def _last_lines(content: bytes, lines: int) -> int | None:
    r"""Where the last lines begin; None when there are fewer.

    >>> _last_lines(b"a\nb\nc\n", 2), _last_lines(b"a\nb\nc", 1), _last_lines(b"a\n", 2), _last_lines(b"a\n", 0)
    (2, 4, None, 2)
    """
    if lines == 0:
        return len(content)
    at = len(content) - content.endswith(b"\n")
    for _ in range(lines):
        at = content.rfind(b"\n", 0, at)
        if at < 0:
            return None
    return at + 1
