"""The API of a lab on another machine: the same calls, and a line that may be cut.

What was sent when the line broke is repeated over a new one if that cannot do it twice (it reads, or
carries a key); else the error says that nobody knows.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from labrun.client.api import Client, Json
from labrun.client.connection import Body, BrokenOff, Connection, NoAnswer, Reply
from labrun.client.host import FIRST_S, Host
from labrun.core.errors import HostUnreachable, LabError

PATIENCE_S = 600.0
"""How long a line that was there before is tried again."""
_AGAIN_S = 5
"""How long `ssh` may take to reach the machine after it was there."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_TOLD_AFTER_S = 1.0
_UPLOAD_S = 600.0
_ASKED_AT_ONCE = 20_000


class RemoteClient(Client):
    """Speaks to the server of a home on another machine about one lab."""

    is_remote = True

    def __init__(
        self,
        host: Host,
        lab: str,
        *,
        say: Callable[[str], None],
        patience_s: float = PATIENCE_S,
        first_s: int = FIRST_S,
    ) -> None:
        """Remember the address; nothing is opened yet.

        Args:
            host: The machine.
            lab: The lab that names and `latest` refer to.
            say: Told when the line is lost, and when it is there again.
            patience_s: How long a lost line is tried again.
            first_s: How long `ssh` may take to reach it for the first time.
        """
        super().__init__(Path(host.address.name), lab)  # its path is only for words: `_connect` is ours
        self._host = host
        self._say = say
        self._patience_s = patience_s
        self._first_s = first_s

    @property
    def _was_there(self) -> bool:
        """Whether this process has reached it: then a failure is a line that was lost."""
        return bool(self._host.introduction)

    @property
    def where(self) -> str:
        """The machine, as one types it behind `ssh`."""
        return self._host.address.shown

    @property
    def introduction(self) -> Json:
        """What the machine says of itself; connects if need be.

        Raises:
            WorldError: It cannot be reached.
        """
        if not self._host.introduction:
            self.server()
        return self._host.introduction

    def _connect(self) -> Connection:
        return Connection(self._host.open(_AGAIN_S if self._was_there else self._first_s))

    def _call(
        self,
        method: str,
        target: str,
        body: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 60.0,
        is_repeatable: bool = True,
        kind: str = "application/json",
    ) -> Reply:
        lost_at: float | None = None
        pause_s, is_told = _PAUSE_S, False
        while True:
            try:
                reply = self._once(
                    method, target, body, headers, timeout_s=timeout_s, is_repeatable=is_repeatable, kind=kind
                )
                if (why := self._refused(reply)) is None:
                    if is_told:
                        self._say(f"{self._host.address.shown} is there again")
                    return reply
            except HostUnreachable as error:
                if not self._was_there:
                    raise
                why = error
            except (BrokenOff, NoAnswer) as error:
                if not is_repeatable:
                    raise self._unreachable(
                        "the line broke; whether the request was carried out is not known"
                    ) from error
                why = error
            now = time.monotonic()
            lost_at = lost_at if lost_at is not None else now
            if now - lost_at > self._patience_s:
                raise self._unreachable(f"tried for {now - lost_at:.0f} s, last: {_told(why)}") from why
            if not is_told and now - lost_at > _TOLD_AFTER_S:
                is_told = True
                self._say(f"the line to {self._host.address.shown} is lost ({_told(why)}); trying again, Ctrl-C leaves")
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _unreachable(self, why: str) -> Exception:
        return HostUnreachable(
            self._host.address.shown,
            why,
            "what was accepted there goes on; `lab status` shows it once the line is back",
        )

    def missing(self, objects: Sequence[str]) -> list[str]:
        """Which objects of frozen code are not there."""
        found: list[str] = []
        for at in range(0, len(objects), _ASKED_AT_ONCE):
            asked = {"objects": list(objects[at : at + _ASKED_AT_ONCE])}
            found += self._post("/v1/objects/missing", asked, may_repeat=True)["objects"]
        # only what was asked for: a box must not be given what is here of other projects
        wanted = frozenset(found)
        return [name for name in objects if name in wanted]

    def tree(self, tree: str) -> list[str]:
        """Every object of a tree, each before the trees that name it."""
        found = self._get(f"/v1/objects/{tree}")
        return [*found["files"], *found["folders"]]

    def fetch(self, objects: Sequence[str]) -> bytes:
        """Some of these objects, from the first on, as a stream to be stored."""
        asked = json.dumps({"objects": list(objects[:_ASKED_AT_ONCE])}).encode()
        return self._call("POST", "/v1/objects/fetch", asked, timeout_s=_UPLOAD_S).body

    def upload(self, size_bytes: int, pieces: Callable[[], Iterable[bytes]]) -> int:
        """Send objects; durable there when this returns. May be repeated."""
        body = Body(size_bytes, pieces)
        reply = self._call("POST", "/v1/objects", body, timeout_s=_UPLOAD_S, kind="application/octet-stream")
        return int(json.loads(reply.body)["count"])


def _told(error: Exception) -> str:
    return error.message if isinstance(error, LabError) else str(error)
