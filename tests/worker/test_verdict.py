import pytest

from labrun.core.endings import Cancelled, Ending, Exited, NeverStarted, OutOfMemory, Signalled, TimedOut
from labrun.engines.protocol import ExitRecord
from labrun.worker.verdict import ending_of

PLAIN: dict[str, object] = {"started_at": 1.0, "ended_at": 2.0, "duration_s": 1.0}


def record(**fields: object) -> ExitRecord:
    known = {name: value for name, value in PLAIN.items() if name in ExitRecord.__struct_fields__}
    return ExitRecord(**(known | {"attempt_id": "2026-11-01_abcdefgh.1"} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        ({"code": 0}, Exited(0)),
        ({"code": 7}, Exited(7)),
        ({"code": 137}, Exited(137)),
        ({"signal": 9}, Signalled(9, False)),
        ({"signal": 11, "is_core_dumped": True}, Signalled(11, True)),
        ({"signal": 15, "stop_reason": "cancel", "stopped_by": "ada"}, Cancelled("ada", None, 15)),
        ({"code": 0, "stop_reason": "cancel", "stopped_by": "ada"}, Cancelled("ada", 0, None)),
        ({"signal": 15, "stop_reason": "timeout"}, TimedOut(5.0, None, 15)),
        ({"signal": 9, "oom_kills": 1, "oom_source": "memory.events"}, OutOfMemory("memory.events rose by 1", 64, 9)),
        ({"code": 1, "oom_kills": 2}, OutOfMemory("oom_kill rose by 2", 64, 9)),
        ({"code": 0, "oom_kills": 1}, Exited(0)),
        ({"launch_error": "No such file", "launch_errno": 2}, NeverStarted("submitting", "No such file", "errno_2")),
    ],
)
def test_each_exit_record_has_one_ending_by_its_evidence(said: dict[str, object], ending: Ending) -> None:
    assert ending_of(record(**said), timeout_s=5.0, memory_bytes=64) == ending
