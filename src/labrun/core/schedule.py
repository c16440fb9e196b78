"""Choose what starts next: queue, capacity and what runs go in; starts and reasons come out.

Until fair share comes the rule is one sentence: higher priority first, then first come first
served, and nobody overtakes the head of the queue. `status` and `info` print the reasons returned
here; nobody works them out a second time.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from labrun.core.errors import ImpossibleRequest
from labrun.core.ids import RunId
from labrun.core.resources import Capacity, Request, show_size


class Pending(Struct, frozen=True):
    """One waiting experiment, as much of it as a decision needs."""

    run_id: RunId
    label: str
    priority: int
    sequence: int
    """Order of acceptance; never a time, so a clock set back changes nothing."""
    request: Request


class Holding(Struct, frozen=True):
    """What one live attempt holds."""

    run_id: RunId
    label: str
    request: Request
    gpus: tuple[int, ...] = ()


class Start(Struct, frozen=True):
    """Start this one, on these GPUs."""

    run_id: RunId
    gpus: tuple[int, ...] = ()


class Plan(Struct, frozen=True):
    """What to start now, and the one reason that keeps the head of the rest waiting."""

    starts: tuple[Start, ...]
    head_reason: str | None = None


def order_key(item: Pending) -> tuple[int, int]:
    """Sort key of the queue: first by priority, then by acceptance."""
    return (-item.priority, item.sequence)


class _Free:
    """What is left while a plan is made."""

    def __init__(self, capacity: Capacity, holding: Iterable[Holding]) -> None:
        self.cpus = capacity.cpus
        self.memory_bytes = capacity.memory_bytes
        self.slots = capacity.slots
        self.gpus = list(capacity.gpu_indices)
        self._capacity = capacity
        for held in holding:
            self._take(held.request, held.gpus)

    def _take(self, request: Request, gpus: tuple[int, ...]) -> None:
        if request.is_empty:
            self.slots -= 1
        self.cpus -= request.cpus or 0
        self.memory_bytes -= request.memory_bytes or 0
        self.gpus = [index for index in self.gpus if index not in gpus]

    def lacks(self, request: Request) -> str | None:
        if request.is_empty and self.slots < 1:
            return "the exclusive slot is taken"
        if request.cpus and request.cpus > self.cpus:
            return f"needs {request.cpus} CPUs, {max(self.cpus, 0)} free"
        if request.memory_bytes and request.memory_bytes > self.memory_bytes:
            return f"needs {show_size(request.memory_bytes)} of memory, {show_size(max(self.memory_bytes, 0))} free"
        if request.gpus_needed > len(fitting := self._fitting(request)):
            size = f" of {show_size(request.gpu_memory_bytes)}" if request.gpu_memory_bytes else ""
            return f"needs {request.gpus_needed} GPUs{size}, {len(fitting)} free"
        return None

    def _fitting(self, request: Request) -> list[int]:
        large = fitting_gpus(request, self._capacity)
        return [index for index in self.gpus if index in large]

    def grant(self, request: Request) -> tuple[int, ...]:
        gpus = tuple(self._fitting(request)[: request.gpus_needed])
        self._take(request, gpus)
        return gpus


def plan(pending: Iterable[Pending], holding: Sequence[Holding], capacity: Capacity) -> Plan:
    """Decide what starts now.

    Args:
        pending: Waiting experiments in the order of `order_key`; read only as far as needed.
        holding: Live attempts.
        capacity: What the host has.
    """
    free = _Free(capacity, holding)
    starts: list[Start] = []
    for item in pending:
        reason = free.lacks(item.request)
        if reason is not None:
            holders = ", ".join(held.label for held in holding[:3])
            return Plan(tuple(starts), f"{reason}; running: {holders}" if holders else reason)
        starts.append(Start(item.run_id, free.grant(item.request)))
    return Plan(tuple(starts))


def check_possible(request: Request, capacity: Capacity) -> None:
    """Refuse at the door what could never start here.

    Raises:
        ImpossibleRequest: More than the host has.
    """
    if request.cpus is not None and request.cpus > capacity.cpus:
        raise ImpossibleRequest("CPUs", str(request.cpus), str(capacity.cpus))
    if request.memory_bytes is not None and request.memory_bytes > capacity.memory_bytes:
        raise ImpossibleRequest("of memory", show_size(request.memory_bytes), show_size(capacity.memory_bytes))
    fitting = fitting_gpus(request, capacity)
    if request.gpus_needed > len(fitting):
        what = "GPU" if request.gpus_needed == 1 else "GPUs"
        what += f" of {show_size(request.gpu_memory_bytes)}" if request.gpu_memory_bytes else ""
        raise ImpossibleRequest(what, str(request.gpus_needed), str(len(fitting) or "none"))


def fitting_gpus(request: Request, capacity: Capacity) -> tuple[int, ...]:
    """GPUs of the host that have the memory asked for; where memory is not known, none is promised to have it."""
    if request.gpu_memory_bytes is None:
        return capacity.gpu_indices
    sizes = zip(capacity.gpu_indices, capacity.gpu_memory_bytes, strict=False)
    return tuple(index for index, size in sizes if size >= request.gpu_memory_bytes)
