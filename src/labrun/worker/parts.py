"""What the loops share: handed to each of them once, by bootstrap."""

import asyncio
from dataclasses import dataclass, field

from labrun.capture.inputs import DataHashes
from labrun.capture.readings import Readings
from labrun.core.resources import Capacity
from labrun.engines.protocol import Engine
from labrun.store.code import CodeStore
from labrun.store.home import Home
from labrun.store.index import Index
from labrun.store.queue.protocol import Queue
from labrun.worker.clock import Clock
from labrun.worker.floor import Floor


@dataclass(frozen=True)
class WorkerPolicy:
    """The few values the loops need."""

    poll_s: float = 1.0
    """How often leases are probed for a death without an exit record."""
    retry_s: float = 2.0
    """How long to wait before trying again what a full disk refused."""
    seal_batch: int = 100
    """Most experiments sealed together."""
    gather_s: float = 0.1
    """How long an ended experiment waits for others to be sealed with it, while others are live."""
    code_limit_bytes: int = 200 * 2**20
    """Largest source folder that is frozen without asking."""
    code_limit_files: int = 200_000
    """Most files a source folder may have."""
    log_quota_bytes: int = 10 * 2**30
    """Largest log kept per stream; over it the middle is punched out."""


@dataclass(frozen=True)
class Parts:
    """The worker's world."""

    home: Home
    queue: Queue
    index: Index
    code: CodeStore
    engine: Engine
    clock: Clock
    capacity: Capacity
    policy: WorkerPolicy
    name: str
    """Names this worker in claims."""
    boot_id: str
    """The kernel's name for this boot."""
    tasks: asyncio.TaskGroup
    """Owner of every task the worker starts."""
    floor: Floor = field(default_factory=Floor)
    readings: Readings = field(default_factory=Readings)
    """What was read of environments and repositories, so that an unchanged one costs a stat."""
    data: DataHashes = field(default_factory=DataHashes)
    notices: list[str] = field(default_factory=list)
    """What the administrator should know."""
