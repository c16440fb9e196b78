"""What an experiment asks for, what a host has, and how both are written."""

from msgspec import Struct

from labrun.core.units import parse_duration as parse_duration
from labrun.core.units import parse_size as parse_size
from labrun.core.units import show_size as show_size


class Request(Struct, frozen=True, omit_defaults=True):
    """Resources asked for. All None means: one exclusive slot, one such experiment at a time."""

    cpus: int | None = None
    """Logical processors; counted, not enforced."""
    memory_bytes: int | None = None
    """Enforced where the host lets us make memory cgroups, else counted."""
    gpu_count: int | None = None
    """Whole GPUs, assigned by index."""
    gpu_memory_bytes: int | None = None
    """Memory each of its GPUs must have; GPUs with less are not assigned. Alone it means one GPU."""
    disk_bytes: int | None = None
    """Free space it needs below the home; checked at submit and before the start, not enforced."""

    @property
    def gpus_needed(self) -> int:
        """Whole GPUs it takes; memory of a GPU asked for alone means one."""
        if self.gpu_count is None:
            return 0 if self.gpu_memory_bytes is None else 1
        return self.gpu_count

    @property
    def is_empty(self) -> bool:
        """Nothing was asked for."""
        return all(asked is None for asked in (self.cpus, self.memory_bytes, self.gpu_count, self.gpu_memory_bytes))


class Capacity(Struct, frozen=True):
    """What a host has to give."""

    cpus: int
    memory_bytes: int
    gpu_indices: tuple[int, ...] = ()
    gpu_memory_bytes: tuple[int, ...] = ()
    """Of each of those GPUs, in their order; empty where it is not known."""
    slots: int = 1
    """How many experiments without a request may run at once."""
