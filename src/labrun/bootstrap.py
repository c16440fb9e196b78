"""Plug concrete parts together and run a server until it is told, or has reason, to leave."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from labrun import __version__, settings
from labrun.capture import host
from labrun.capture.caller import Caller, host_name, process_settings, user_name
from labrun.capture.placement import find_root, never_roots
from labrun.capture.resolve import ChangedFields, resolve, resolve_changes
from labrun.core.errors import LabError
from labrun.core.layers import Layer, lay_over
from labrun.engines.local.engine import LocalEngine
from labrun.server.app import build_app
from labrun.server.listen import Listener
from labrun.server.routes import Surrounding
from labrun.store.code import CodeStore
from labrun.store.home import Home, init_home, lock_home
from labrun.store.index import Index
from labrun.store.queue.sqlite import SqliteQueue
from labrun.store.reserve import ensure_room
from labrun.store.seen import SeenFiles
from labrun.wire.responses import Diagnosis, ServerView
from labrun.worker.clock import SystemClock
from labrun.worker.doctor import diagnose
from labrun.worker.laboratory import Laboratory
from labrun.worker.parts import Parts, WorkerPolicy

log = logging.getLogger("labrun")

_IDLE_LOOK_S = 5.0
_LAST_ANSWERS_S = 1.5
"""How long requests that are being answered may take when the server leaves."""


def init(root: Path, state: Path | None = None) -> Path:
    """Make a home; with `state`, queue, index, control files and socket live there, on a local disk."""
    return init_home(root, state).root


def serve(root: Path, *, allow_new_queue: bool = False, on_ready: Callable[[ServerView], None] | None = None) -> int:
    """Own a home and serve it; blocks. Returns the exit status.

    Args:
        root: The home; made when it is not there.
        allow_new_queue: Begin an empty queue where an initialised home lost its own.
        on_ready: Called once the socket answers.

    Raises:
        LabError: The home cannot be served; nothing was changed in it.
    """
    _log_to_stderr()
    home = init_home(root)
    with lock_home(home):
        return asyncio.run(_Server(home, allow_new_queue=allow_new_queue, on_ready=on_ready).run())


class _Server:
    """One server's life."""

    def __init__(self, home: Home, *, allow_new_queue: bool, on_ready: Callable[[ServerView], None] | None) -> None:
        self._home = home
        self._allow_new_queue = allow_new_queue
        self._on_ready = on_ready
        self._clock = SystemClock()
        self._started_at: datetime = self._clock.now()
        self._leaving = asyncio.Event()

    async def run(self) -> int:
        chosen = settings.load(self._home.root)
        ensure_room(self._home)
        index = Index.open(self._home.index)
        queue = SqliteQueue.open(self._home, allow_new=self._allow_new_queue, label_floor=index.high_water())
        engine = LocalEngine(self._home.control)
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = self._parts(chosen, queue, index, engine, tasks)
                await self._serve(parts, chosen, queue, engine)
        except* LabError as group:
            raise group.exceptions[0] from None
        except* _Leave:
            pass
        finally:
            await engine.aclose()
            await queue.aclose()
            index.close()
        log.info("server left")
        logging.shutdown()
        os._exit(0)  # a thread that hashes forty gigabytes would be waited for; what it does is done again by the next

    def _parts(
        self,
        chosen: settings.Settings,
        queue: SqliteQueue,
        index: Index,
        engine: LocalEngine,
        tasks: asyncio.TaskGroup,
    ) -> Parts:
        policy = WorkerPolicy(
            poll_s=chosen.poll_s,
            code_limit_bytes=chosen.code_limit_bytes,
            code_limit_files=chosen.code_limit_files,
            log_quota_bytes=chosen.log_quota_bytes,
        )
        return Parts(
            home=self._home,
            queue=queue,
            index=index,
            code=CodeStore(self._home.code, SeenFiles(self._home.store / "seen", host.boot_id())),
            engine=engine,
            clock=self._clock,
            capacity=host.capacity(chosen.slots),
            policy=policy,
            name=f"{socket.gethostname()}:{os.getpid()}",
            boot_id=host.boot_id(),
            tasks=tasks,
        )

    async def _serve(self, parts: Parts, chosen: settings.Settings, queue: SqliteQueue, engine: LocalEngine) -> None:
        laboratory = Laboratory(parts)
        fate = host.ends_with(settings.login_variables())
        if fate is not None:
            parts.notices.append(fate)
        await laboratory.open()
        engine.warm_up()

        def server_view() -> ServerView:
            return self._view(parts, laboratory, queue.epoch)

        def diagnosis() -> Diagnosis:
            return diagnose(parts)

        surrounding = Surrounding(server_view, diagnosis, self._leaving.set, self._resolve, self._resolve_changes)
        listener = Listener(build_app(laboratory, surrounding), self._home.socket)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leaving.set)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        listener.open()
        listening = parts.tasks.create_task(listener.run(), name="listen")
        parts.tasks.create_task(self._leave_when_idle(parts, listener, chosen.idle_exit_s), name="idle")
        log.info("serving", extra={"home": str(self._home.root), "open": len(parts.floor)})
        if self._on_ready is not None:
            self._on_ready(server_view())
        await self._leaving.wait()
        listener.leave()
        await asyncio.wait([listening], timeout=_LAST_ANSWERS_S)
        self._home.socket.unlink(missing_ok=True)
        laboratory.close()
        raise _Leave

    def _resolve(self, description: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What a description that came over HTTP means: nobody's process is behind it, so it is the server's own."""
        root = self._home.root
        variables, pods = settings.own_variables(), settings.pods(root)
        start = Path(description["cwd"], description.get("script", ".")).resolve()
        forbidden = never_roots(Path(variables.get("HOME") or "/"), root)
        project = find_root(start.parent if "script" in description else start, forbidden, Path.exists)
        layers = [*settings.layers(root, project), Layer(description, lambda field: f"`{field}`")]
        merged = lay_over(layers, pods)
        caller = Caller(Path("/"), variables, user_name(), host_name(), root, pods, process_settings())
        found = resolve(merged.description, caller, place_of=lambda field: merged.origins.get(field, f"`{field}`"))
        return found.request, found.notices

    def _resolve_changes(self, changes: dict[str, Any]) -> ChangedFields:
        pods = settings.pods(self._home.root)
        return resolve_changes(changes, pods, Path("/"), lambda field: f"`{field}`")

    async def _leave_when_idle(self, parts: Parts, listener: Listener, limit_s: float) -> None:
        idle_since = self._clock.monotonic_s()
        while limit_s:
            await asyncio.sleep(min(_IDLE_LOOK_S, limit_s))
            if len(parts.floor) or not listener.is_idle:
                idle_since = self._clock.monotonic_s()
            elif self._clock.monotonic_s() - idle_since > limit_s:
                log.info("idle and empty, leaving")
                self._leaving.set()
                return

    def _view(self, parts: Parts, laboratory: Laboratory, epoch: int) -> ServerView:
        return ServerView(
            version=__version__,
            pid=os.getpid(),
            home=str(self._home.root),
            started_at=self._started_at,
            epoch=epoch,
            known=laboratory.known_count(),
            waiting=parts.floor.waiting_count,
            live=parts.floor.live_count,
            notices=tuple(parts.notices),
        )


class _Leave(Exception):
    """Ends the task group: every loop is cancelled, nothing that runs is touched."""


class _ExtraFormatter(logging.Formatter):
    """One line per message: time, level, constant text, then the facts of `extra`."""

    _known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Append the facts as key=value."""
        facts = " ".join(f"{key}={value!r}" for key, value in vars(record).items() if key not in self._known)
        line = super().format(record)
        return f"{line} {facts}" if facts else line


def _log_to_stderr() -> None:
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(_ExtraFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[sink], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
