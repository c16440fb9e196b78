"""Show an experiment's story in the shape of the API."""

from msgspec import structs

from labrun.core import lifecycle, story
from labrun.core.endings import describe, exit_code_of
from labrun.core.events import STEPS, Step, StepStatus
from labrun.core.narrative import Told
from labrun.core.spec import Narrative, Source, Spec
from labrun.core.story import AttemptStory, Story
from labrun.wire.responses import Artifact, AttemptView, Experiment, ExperimentDetail, StepView
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts

SHOWN_ARTIFACTS = 1000
_REMARK_CHARS = 1000
_NOTHING = Told()


def kind_of(ending: object) -> str:
    """The tag of an ending, as written in journals."""
    return str(getattr(type(ending), "__struct_config__").tag)  # noqa: B009  the attribute is msgspec's, not in its stub


def view(
    told: Story, *, folder: str | None, reason: str | None = None, position: int | None = None, is_sealed: bool
) -> Experiment:
    """Show one experiment as lists show it."""
    current, ending, spec = told.current, told.ending, told.spec
    step = lifecycle.current_step(told.state)
    is_begun = current is not None and not isinstance(told.state, lifecycle.Waiting)
    return Experiment(
        run_id=told.run_id,
        label=told.label,
        lab=spec.lab,
        name=spec.name,
        status=lifecycle.status_of(told.state),
        step=step,
        step_status=lifecycle.step_statuses(told.state)[step],
        attempt=told.state.attempt,
        priority=spec.priority,
        command=spec.target.argv,
        note=spec.note,
        user=spec.user,
        resources=spec.resources,
        queued_at=told.queued_at,
        started_at=current.started_at if current is not None and is_begun else None,
        ended_at=story.ended_at(told),
        exit_code=exit_code_of(ending) if ending is not None else None,
        ending=kind_of(ending) if ending is not None else None,
        ending_text=describe(ending) if ending is not None else None,
        reason=reason,
        position=position,
        is_sealed=is_sealed,
        folder=folder,
        tree=told.tree,
        definition=spec.definition,
        tags=spec.narrative.tags,
        group=spec.narrative.experiment_group,
        gpus=current.gpus if current is not None and is_begun else (),
        hypothesis=spec.narrative.hypothesis,
        parent=spec.narrative.parent_run,
        hint=current.hint if current is not None else None,
    )


def present(
    parts: Parts, experiment: OpenExperiment, *, is_sealed: bool = False, head_reason: str | None = None
) -> Experiment:
    """Show an open experiment, with its place in the queue and the reason it waits."""
    position = parts.floor.position(experiment) if experiment.is_waiting else None
    reason = experiment.trouble
    if reason is None and position is not None:
        reason = head_reason if position == 1 else f"{position - 1} ahead of it in the queue"
    folder = str(experiment.folder.path) if experiment.folder is not None else None
    shown = view(experiment.story, folder=folder, reason=reason, position=position, is_sealed=is_sealed)
    return with_notes(shown, experiment.said)


def with_notes(shown: Experiment, told: Told) -> Experiment:
    """The experiment as lists show it, with what people said."""
    if told == _NOTHING:
        return shown
    remarks = " / ".join(note.text for note in reversed(told.annotations)) or None
    return structs.replace(shown, verdict=told.verdict, remarks=remarks[:_REMARK_CHARS] if remarks else None)


def detail(shown: Experiment, told: Story, artifacts: tuple[Artifact, ...], seals: dict[int, str]) -> ExperimentDetail:
    """Show everything about one experiment.

    Args:
        shown: The same experiment as lists show it.
        told: Its story.
        artifacts: All its artifacts; the first 1,000 are sent.
        seals: SHA-256 of `seal.json` by attempt.
    """
    current, spec = told.current, told.spec
    statuses = lifecycle.step_statuses(told.state)
    return ExperimentDetail(
        experiment=shown,
        steps=tuple(_step_view(told, step, statuses) for step in STEPS),
        attempts=tuple(_attempt_view(attempt, seals) for attempt in told.attempts),
        artifacts=artifacts[:SHOWN_ARTIFACTS],
        artifact_count=len(artifacts) or (current.artifact_count if current else 0),
        artifact_bytes=sum(artifact.size_bytes for artifact in artifacts) or (current.artifact_bytes if current else 0),
        tree=told.tree,
        source_root=root_of(spec),
        interpreter=spec.interpreter,
        cwd=spec.source.cwd,
        enforced=current.enforced if current else {},
        timeout_s=spec.timeout_s,
        grace_s=spec.grace_s,
        narrative=spec.narrative,
        has_terminal=spec.stdin == "terminal",
        expected_outputs=spec.expected_outputs,
        missing_outputs=current.missing_outputs if current is not None else (),
        not_frozen=spec.source.not_frozen,
    )


def root_of(spec: Spec) -> str | None:
    """The source folder, with the machine it is on where that is another one."""
    root = spec.source.root
    return f"{spec.host}:{root}" if root is not None and spec.source.is_elsewhere else root


def detail_of_waiting(shown: Experiment, spec: Spec | None) -> ExperimentDetail:
    """Show an experiment without a folder: it was cancelled while it waited, or purged.

    Args:
        shown: As lists show it.
        spec: What it should have run, where that was kept.
    """
    source = spec.source if spec is not None else Source()
    return ExperimentDetail(
        experiment=shown,
        steps=(StepView("waiting", "cancelled", shown.queued_at, shown.ended_at, None),) if not shown.is_purged else (),
        attempts=(),
        artifacts=(),
        artifact_count=0,
        artifact_bytes=0,
        tree=shown.tree,
        source_root=root_of(spec) if spec is not None else None,
        interpreter=spec.interpreter if spec is not None else None,
        cwd=source.cwd,
        enforced={},
        timeout_s=spec.timeout_s if spec is not None else None,
        grace_s=spec.grace_s if spec is not None else 0.0,
        narrative=spec.narrative if spec is not None else Narrative(),
        not_frozen=source.not_frozen,
    )


def _step_view(told: Story, step: Step, statuses: dict[Step, StepStatus]) -> StepView:
    times = told.steps.get(step)
    status = statuses[step]
    if times is None:
        return StepView(step, status, None, None, None)
    return StepView(step, status, times.started_at, times.ended_at, times.note)


def _attempt_view(attempt: AttemptStory, seals: dict[int, str]) -> AttemptView:
    ending = attempt.ending
    return AttemptView(
        attempt=attempt.attempt,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        ending=kind_of(ending) if ending is not None else None,
        ending_text=describe(ending) if ending is not None else None,
        exit_code=exit_code_of(ending) if ending is not None else None,
        seal=seals.get(attempt.attempt),
    )
