"""Streams of a log as the server gives them: where they begin, and piece after piece."""

from typing import Any

from labrun.client.api import Client, Piece


class Source:
    """The streams somebody reads, and where he stands in each."""

    def __init__(self, client: Client, reference: str, names: list[str], attempt: int | None) -> None:
        self._client, self._reference, self._attempt = client, reference, attempt
        self.offsets = dict.fromkeys(names, 0)
        self.is_alone = len(names) == 1

    def begin(self, **where: Any) -> dict[str, int]:
        """Go to where the streams begin by `tail_bytes`, `tail_lines` or `since`; returns the offsets."""
        self.offsets = begins(self._client, self._reference, list(self.offsets), self._attempt, **where)
        return self.offsets

    def look(self, *, wait_s: float, limit_bytes: int, has_times: bool = False) -> Piece:
        """Take the next bytes of each stream, and stand behind them."""
        piece = self._client.logs(
            self._reference,
            stdout=self.offsets.get("stdout"),
            stderr=self.offsets.get("stderr"),
            attempt=self._attempt,
            wait_s=wait_s,
            limit_bytes=limit_bytes,
            has_times=has_times,
        )
        self._attempt = piece.attempt  # a next one may begin meanwhile
        for stream, offset, content in piece.segments:
            self.offsets[stream] = offset + len(content)
        return piece

    def descriptor(self, stream: str) -> int:
        """Where it goes: asked for alone, stderr is data."""
        return 1 if self.is_alone or stream == "stdout" else 2


def begins(client: Client, reference: str, names: list[str], attempt: int | None, **where: Any) -> dict[str, int]:
    """Ask where streams begin by `tail_bytes`, `tail_lines` or `since`; a gap belongs to what comes."""
    wanted: dict[str, Any] = dict.fromkeys(names, 0)
    piece = client.logs(reference, attempt=attempt, limit_bytes=1, **wanted, **where)
    found = {name: int(getattr(piece, name)) for name in names}
    found |= {stream: offset for stream, offset, _ in piece.segments}
    return found | {gap["stream"]: gap["offset"] for gap in piece.gaps}


def tail_offset(client: Client, reference: str, stream: str, attempt: int | None, lines: int) -> int:
    """Find where the last lines of a stream begin; a last line without its newline counts."""
    return begins(client, reference, [stream], attempt, tail_lines=lines)[stream]
