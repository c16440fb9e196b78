"""The computer: processor, memory, kernel, distribution, GPUs and what drives them."""

import os
import platform
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pynvml

from labrun.capture.readings import Readings
from labrun.core.environment import Gpu, Machine

_ROOT = Path("/")


def machine(readings: Readings, root: Path = _ROOT) -> Machine:
    """Describe this computer; read once per set of GPUs, since nothing else of it changes while it runs.

    Args:
        readings: What was read before.
        root: Where `etc`, `proc` and `dev` lie; another one in tests.
    """
    devices = tuple(sorted(path.name for path in (root / "dev").glob("nvidia[0-9]*")))
    files = [str(root / "etc/os-release"), str(root / "usr/lib/os-release")]
    return readings.recall(("machine", root, devices), lambda: (_machine(root), files))


def _machine(root: Path) -> Machine:
    name = os.uname()
    gpus, driver, cuda = _gpus()
    return Machine(
        host=name.nodename,
        system=_distribution(root) or name.sysname,
        kernel=name.release,
        architecture=name.machine,
        cpu_model=_cpu_model(root) or platform.processor() or name.machine,
        cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpus,
        gpu_driver=driver,
        cuda_version=cuda,
    )


def _distribution(root: Path) -> str | None:
    """Name and version of the distribution.

    Source:
        os-release(5): `/etc/os-release` first, then `/usr/lib/os-release`; values may be quoted.
    """
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = (root / place).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        said = {key: value.strip("\"'") for key, value in re.findall(r"(?m)^([A-Z_]+)=(.*)$", text)}
        return said.get("PRETTY_NAME") or " ".join(filter(None, (said.get("NAME"), said.get("VERSION_ID")))) or None
    return None


def _cpu_model(root: Path) -> str | None:
    """Name of the processor; what the firmware calls the board where the kernel names no model (many ARM boards).

    Source:
        proc(5), /proc/cpuinfo: `model name` on x86, `cpu` on POWER, `Hardware` on older ARM kernels.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for field in ("model name", "cpu", "Hardware"):
        found = re.search(rf"(?m)^{field}\s*:\s*(\S.*)$", text)
        if found:
            return " ".join(found[1].split())
    try:
        board = (root / "proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return board.strip("\0 \n") or None


def _gpus() -> tuple[tuple[Gpu, ...], str | None, str | None]:
    """Ask NVML for the GPUs, the driver and the newest CUDA it supports; nothing of it without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return (), None, None
    try:
        driver = _said(pynvml.nvmlSystemGetDriverVersion)
        cuda = _said(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        gpus = tuple(map(_gpu, range(_said(pynvml.nvmlDeviceGetCount) or 0)))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    version = f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None
    return gpus, _text(driver) if driver is not None else None, version


def _gpu(index: int) -> Gpu:
    """Describe one GPU; what it does not support stays empty (one that shares the host's memory has none)."""
    handle = _said(pynvml.nvmlDeviceGetHandleByIndex, index)
    memory = _said(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        index=index,
        model=_text(_said(pynvml.nvmlDeviceGetName, handle) or ""),
        memory_bytes=int(memory.total) if memory is not None else 0,
        uuid=_text(_said(pynvml.nvmlDeviceGetUUID, handle) or ""),
    )


def _said(ask: Callable[..., Any], *arguments: object) -> Any:
    """Ask one thing; None when this driver or device does not tell."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    """Older bindings answer in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
