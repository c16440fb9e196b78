"""`run_manifest.json`: everything about one experiment in one readable file.

Field names are those of the description (requirements 4.7). What is not known is null, never guessed.
Sizes that end in `_gb` are in units of 2**30 bytes, like the `8G` of a request.
"""

from typing import Any

import msgspec
from msgspec import structs, to_builtins

from labrun.core import lifecycle, story
from labrun.core.endings import Ending, describe, exit_code_of, failure_mode_of
from labrun.core.events import STEPS
from labrun.core.story import AttemptStory
from labrun.store.metric_summary import SHOWN_SERIES
from labrun.store.views.facts import Facts

SCHEMA_VERSION = 1
_GB = 2**30


def render(facts: Facts) -> bytes:
    """Write the manifest: indented JSON, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(build(facts)), indent=2) + b"\n"


def build(facts: Facts) -> dict[str, Any]:
    """Gather the manifest as plain values; times are RFC 3339 in UTC once encoded."""
    told, spec = facts.story, facts.story.spec
    current, ending = told.current, told.ending
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": told.run_id,
        "label": told.label,
        "name": spec.name,
        "lab": spec.lab,
        "status": facts.status,
        "command": spec.target.argv,
        "queued_at": told.queued_at,
        "started_at": current.started_at if current else None,
        "ended_at": story.ended_at(told),
        "exit_code": exit_code_of(ending) if ending else None,
        "ending": _ending(ending),
        "failure_mode": failure_mode_of(ending) if ending else None,
        "priority": spec.priority,
        "user": spec.user or None,
        "metadata": {"note": spec.note},
        "narrative": {},
        "annotations": [],
        "environment": _environment(facts),
        "datasets": [],
        "resources": _resources(facts),
        "metrics": {one.name: one.last for one in facts.metrics.series} if facts.metrics else {},
        "metric_summaries": _summaries(facts),
        "artifacts": {
            "discovery_time": facts.at,
            "files": [
                {"path": found.path, "size_bytes": found.size_bytes, "modified": found.modified}
                for found in facts.artifacts
            ],
            "total_size_bytes": facts.artifact_bytes,
        },
        "code": {
            "tree": told.tree,
            "source_root": spec.source.root,
            "only": spec.source.only,
            "file_count": told.file_count if told.tree else None,
            "cwd": spec.source.cwd,
            "cwd_is_live": spec.source.cwd_is_live,
        },
        "steps": _steps(facts),
        "attempts": [_attempt(attempt) for attempt in told.attempts],
        "damages": told.damages,
    }


def _summaries(facts: Facts) -> dict[str, Any] | None:
    told = facts.metrics
    return to_builtins(structs.replace(told, series=told.series[:SHOWN_SERIES])) if told is not None else None


def _ending(ending: Ending | None) -> dict[str, Any] | None:
    return {**to_builtins(ending), "text": describe(ending)} if ending else None


def _environment(facts: Facts) -> dict[str, Any]:
    spec = facts.story.spec
    unknown = ("python_version", "git_commit", "git_dirty", "git_branch", "container_image", "container_digest")
    return {
        "interpreter": spec.interpreter,
        "variables_sha256": spec.surroundings.variables,
        **dict.fromkeys((*unknown, "pip_freeze", "cuda_version", "gpu_driver")),
    }


def _resources(facts: Facts) -> dict[str, Any]:
    spec, current = facts.story.spec, facts.story.current
    asked = spec.resources
    return {
        "requested": {
            "gpus": asked.gpu_count,
            "gpu_memory_gb": None,
            "cpu_cores": asked.cpus,
            "ram_gb": _gb(asked.memory_bytes),
            "disk_gb": None,
            "max_runtime_hours": round(spec.timeout_s / 3600, 6) if spec.timeout_s else None,
        },
        "actual": _actual(facts),
        "gpus": current.gpus if current else (),
        "enforced": current.enforced if current else {},
        "gpu_model": None,
        "host": spec.host or None,
    }


def _actual(facts: Facts) -> dict[str, Any]:
    user_s, system_s, took_s = facts.number("user_s"), facts.number("system_s"), facts.number("duration_s")
    cpu_s = None if facts.exit_record is None else (user_s or 0.0) + (system_s or 0.0)
    return {
        "gpu_utilization_avg": None,
        "gpu_memory_peak_gb": None,
        # percent of one core, as `top` shows it
        "cpu_utilization_avg": round(100 * cpu_s / took_s, 1) if cpu_s is not None and took_s else None,
        "cpu_seconds": round(cpu_s, 6) if cpu_s is not None else None,
        "ram_peak_gb": _gb(facts.number("peak_memory_bytes")),
        "ram_peak_bytes": facts.number("peak_memory_bytes"),
        "disk_read_gb": _gb(facts.number("read_bytes")),
        "disk_write_gb": _gb(facts.number("written_bytes")),
        "duration_s": took_s,
    }


def _gb(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else round(size_bytes / _GB, 6)


def _steps(facts: Facts) -> list[dict[str, Any]]:
    told = facts.story
    statuses = lifecycle.step_statuses(told.state)
    times = {step: to_builtins(told.steps[step]) for step in told.steps}
    unknown = {"started_at": None, "ended_at": None, "note": None}
    return [{"step": step, "status": statuses[step], **unknown, **times.get(step, {})} for step in STEPS]


def _attempt(attempt: AttemptStory) -> dict[str, Any]:
    return {
        **to_builtins(attempt),
        "ending": _ending(attempt.ending),
        "exit_code": exit_code_of(attempt.ending) if attempt.ending else None,
        "seal": f"attempts/{attempt.attempt}/seal.json",
    }
