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
from labrun.core.narrative import Told
from labrun.core.spec import Input, Narrative
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
    failure = current.failure if current and ending else None
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
        "failure_mode": failure.mode if failure else failure_mode_of(ending) if ending else None,
        "failure": to_builtins(failure) if failure else None,
        "hint": current.hint if current else None,
        "priority": spec.priority,
        "user": spec.user or None,
        "metadata": {"note": spec.note},
        "definition": spec.definition,
        "seed": spec.seed,
        "is_seed_drawn": spec.is_seed_drawn,
        "pod": spec.pod,
        "narrative": _narrative(spec.narrative, facts.said),
        "annotations": [
            {"timestamp": note.at, "author": note.author, "note": note.text} for note in facts.said.annotations
        ],
        "environment": _environment(facts),
        "datasets": [_dataset(data) for data in spec.inputs],
        "configs": [to_builtins(config) for config in spec.configs],
        "staged": [to_builtins(file) for file in spec.staged],
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
            "expected": spec.expected_outputs,
            "missing": current.missing_outputs if current else (),
        },
        "code": {
            "tree": told.tree,
            "source_root": spec.source.root,
            "only": spec.source.only,
            "file_count": told.file_count if told.tree else None,
            "cwd": spec.source.cwd,
            "cwd_is_live": spec.source.cwd_is_live,
            "is_elsewhere": spec.source.is_elsewhere,
            "is_live": spec.source.is_live,
            "links": [to_builtins(link) for link in spec.source.links],
            "not_frozen": [to_builtins(each) for each in spec.source.not_frozen],
            "import_path": spec.source.import_path,
        },
        "submitted": spec.submitted,
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
    spec, found = facts.story.spec, facts.environment
    python, code, machine = (found.python, found.repository, found.machine) if found else (None, None, None)
    return {
        "interpreter": spec.interpreter,
        "python_version": python.version if python else None,
        "python_prefix": python.prefix if python else None,
        "python_is_guess": python.is_guess if python else None,
        "environment_chosen_by": found.chosen_by if found else None,
        "pip_freeze": found.packages if found and found.chosen_by is None else None,
        "git_commit": code.commit if code else None,
        "git_branch": code.branch if code else None,
        "git_dirty": code.is_dirty if code else None,
        "git_remote": code.remote if code else None,
        "git_diff": code.diff if code else None,
        "lock_files": [to_builtins(lock) for lock in found.locks] if found else [],
        "cuda_version": machine.cuda_version if machine else None,
        "gpu_driver": machine.gpu_driver if machine else None,
        "machine": to_builtins(machine) if machine else None,
        "container_image": None,
        "container_digest": None,
        "variables_sha256": spec.surroundings.variables,
        "variables": found.variables if found else {},
    }


def _narrative(told: Narrative, said: Told) -> dict[str, Any]:
    """What was said before it ran, as it is sealed; then what was said afterwards, from `notes.jsonl`."""
    return {
        "hypothesis": told.hypothesis,
        "context": told.context,
        "intent": told.intent,
        "expected_outcome": told.expected_outcome,
        "parent_run": told.parent_run,
        "experiment_group": told.experiment_group,
        "tags": told.tags,
        "outcome": said.outcome,
        "learnings": said.learnings,
        "next_steps": said.next_steps,
        "validation_status": said.verdict,
        "amendments": [
            {"field": later.field, "text": later.text, "author": later.author, "timestamp": later.at}
            for later in said.amendments
        ],
    }


def _dataset(data: Input) -> dict[str, Any]:
    return {
        "name": data.name,
        "path": data.path,
        "checksum": f"sha256:{data.sha256}",
        "size_gb": _gb(data.size_bytes),
        "size_bytes": data.size_bytes,
        "file_count": data.file_count,
        "modified": data.modified,
    }


def _resources(facts: Facts) -> dict[str, Any]:
    spec, current = facts.story.spec, facts.story.current
    asked = spec.resources
    return {
        "requested": {
            "gpus": asked.gpu_count,
            "gpu_memory_gb": _gb(asked.gpu_memory_bytes),
            "cpu_cores": asked.cpus,
            "ram_gb": _gb(asked.memory_bytes),
            "disk_gb": _gb(asked.disk_bytes),
            "max_runtime_hours": round(spec.timeout_s / 3600, 6) if spec.timeout_s else None,
        },
        "actual": _actual(facts),
        "gpus": current.gpus if current else (),
        "enforced": current.enforced if current else {},
        "gpu_model": facts.environment.machine.gpus[0].model
        if facts.environment and facts.environment.machine.gpus
        else None,
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
