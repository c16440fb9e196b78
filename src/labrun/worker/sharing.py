"""The loop that saves space behind sealed experiments; nothing depends on it.

Experiments of one tree get one copy of its files, and the many small packs their submits left become few.
"""

import asyncio
import logging
import shutil
from collections import Counter, deque
from pathlib import Path

from labrun.core.errors import LabError
from labrun.store.sharing import leftovers, share_code
from labrun.worker.bell import Bell
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts

log = logging.getLogger(__name__)


class Sharing:
    """Takes sealed experiments one after the other, in a thread, from the second of a tree on."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: Counter[str] = Counter()
        self._first: dict[str, Path] = {}
        self._waiting: deque[tuple[str, Path]] = deque()
        self._bell = Bell()
        self._is_noted = False
        self._leftovers = [*leftovers(parts.home.trees), *leftovers(parts.home.submitted)]

    def note(self, experiment: OpenExperiment) -> None:
        """An experiment was sealed."""
        self._is_noted = True
        self._bell.ring()
        source, folder = experiment.row.spec.source, experiment.folder
        if source.tree is None or source.is_live or folder is None:
            return
        self._seen[source.tree] += 1
        if self._seen[source.tree] == 1:
            self._first[source.tree] = folder.work  # alone it would only cost
            return
        if (first := self._first.pop(source.tree, None)) is not None:
            self._waiting.append((source.tree, first))
        self._waiting.append((source.tree, folder.work))

    async def run(self) -> None:
        """Share until cancelled."""
        for place in self._leftovers:
            log.info("a leftover is removed", extra={"path": str(place)})
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        while True:
            if self._is_noted:
                self._is_noted = False
                await self._merge_packs()
            if not self._waiting:
                if not self._is_noted:
                    await self._bell.wait(None)
                continue
            tree, work = self._waiting.popleft()
            try:
                async with self._parts.floor.sharing_lock:  # a resume waits for it, and is seen here afterwards
                    if not self._is_open(work):
                        await asyncio.to_thread(share_code, self._parts.code, tree, work, self._parts.home.trees)
            except (OSError, LabError) as error:  # a full disk, a damaged store: both are told elsewhere
                log.warning("code is not shared", extra={"work": str(work), "why": str(error)})

    async def _merge_packs(self) -> None:
        try:
            if saved := await asyncio.to_thread(self._parts.code.merge):
                log.info("packs are merged", extra={"fewer": saved})
        except (OSError, LabError) as error:  # a full disk: the packs are as they were
            log.warning("packs are not merged", extra={"why": str(error)})

    def _is_open(self, work: Path) -> bool:
        """It was resumed meanwhile: its files are its own again."""
        return any(one.folder is not None and one.folder.work == work for one in self._parts.floor)
