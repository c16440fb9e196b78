"""An experiment an index can be filled with: ended long ago, sealed."""

from datetime import UTC, datetime

from labrun.core.resources import Request
from labrun.wire.responses import Experiment

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = Experiment(
    run_id="",
    label="",
    lab="main",
    name="a run",
    status="succeeded",
    step="completed",
    step_status="succeeded",
    attempt=1,
    priority=5,
    command=("python3", "train.py", "--lr", "1e-3"),
    note="wider prior",
    user="ada",
    resources=Request(cpus=1),
    queued_at=FIRST,
    started_at=FIRST,
    ended_at=FIRST,
    exit_code=0,
    ending="exited",
    ending_text="exited with 0",
    reason=None,
    position=None,
    is_sealed=True,
    folder=None,
)
