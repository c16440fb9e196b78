"""From a supervisor's exit record to an ending. Evidence only: a guess is nowhere in here."""

from labrun.core.endings import Cancelled, Ending, Exited, NeverStarted, OutOfMemory, Signalled, TimedOut
from labrun.engines.protocol import ExitRecord


def ending_of(record: ExitRecord, *, timeout_s: float | None, memory_bytes: int | None) -> Ending:
    """Say why an attempt ended.

    A cancel or time limit counts only when the supervisor had begun to stop the command before it
    ended; out of memory only by the kernel's own counter, never by the exit status 137.
    """
    if record.launch_error is not None:
        return NeverStarted("submitting", record.launch_error, f"errno_{record.launch_errno}")
    if record.stop_reason == "cancel":
        return Cancelled(record.stopped_by or "unknown", record.code, record.signal)
    if record.stop_reason == "timeout":
        return TimedOut(timeout_s or 0.0, record.code, record.signal)
    if record.oom_kills and record.code != 0:
        evidence = f"{record.oom_source or 'oom_kill'} rose by {record.oom_kills}"
        return OutOfMemory(evidence, memory_bytes, record.signal or 9)
    if record.signal is not None:
        return Signalled(record.signal, record.is_core_dumped)
    return Exited(record.code if record.code is not None else 0)
