"""`README.md`: what ran, why, how it ended, how to run it again, for a stranger without any tool."""

from collections.abc import Iterator

from labrun.core.endings import describe
from labrun.core.narrative import Told
from labrun.core.rerun import fill
from labrun.core.spec import Spec
from labrun.core.story import AttemptStory, ended_at
from labrun.core.units import show_size
from labrun.store.views.facts import Facts, command_line, duration, moment, visible
from labrun.wire.responses import FailureCard

_SHOWN_ARTIFACTS = 8
_SHOWN_HUNK_LINES = 40
_AGAIN = "/tmp/again"
_HERE = "\0"
"""Stands for `$here` until the words around it are quoted; no argument holds a NUL."""


def render(facts: Facts) -> bytes:
    """Write the README: plain text that happens to be Markdown, UTF-8, control characters made visible."""
    lines = [*_head(facts), *_why(facts), *_what_ran(facts), *_failed(facts)]
    lines += [*_said(facts), *_attempts(facts), *_where(facts), *_again(facts)]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _head(facts: Facts) -> Iterator[str]:
    told, spec = facts.story, facts.story.spec
    yield f"# {visible(f'{told.label} {spec.name or spec.target.name}')}"
    yield ""
    ending = told.ending
    how = visible(describe(ending)) if ending else f"step {next(reversed(told.steps), 'waiting')}"
    took = _took(facts)
    yield f"**{facts.status.capitalize()}**: {how}{f', after {duration(took)}' if took is not None else ''}."
    yield ""
    yield from (f"> {visible(line)}" for line in (spec.note or "no note was given").splitlines() or [""])
    yield ""


def _why(facts: Facts) -> Iterator[str]:
    """What was said before it ran."""
    told = facts.story.spec.narrative
    said = {
        "Hypothesis": told.hypothesis,
        "Context": told.context,
        "Intent": told.intent,
        "Expected": told.expected_outcome,
        "Follows from": told.parent_run,
        "Group": told.experiment_group,
        "Tags": ", ".join(told.tags) or None,
    }
    if any(said.values()):
        yield "## Why"
        yield ""
        for name, text in said.items():
            if text:
                yield from _item(f"{name}: {text}")
        yield ""


def _item(text: str) -> Iterator[str]:
    """One item of a list; further lines of its text stay below the first."""
    first, *rest = (line for line in text.splitlines() if line.strip())
    yield f"- {visible(first)}"
    yield from (f"  {visible(line)}" for line in rest)


def _said(facts: Facts) -> Iterator[str]:
    """What people said afterwards."""
    said = facts.said
    if said.verdict or said.outcome or said.learnings or said.next_steps:
        yield "## What it showed"
        yield ""
        if said.verdict:
            yield f"- Verdict: {said.verdict}."
        if said.outcome:
            yield from _item(f"Outcome: {said.outcome}")
        for text in said.learnings:
            yield from _item(f"Learned: {text}")
        for text in said.next_steps:
            yield from _item(f"Next: {text}")
        yield ""
    if said.annotations or said.amendments or said.unreadable:
        yield "## Notes"
        yield ""
        for later in said.amendments:
            name = later.field.replace("_", " ")
            yield from _item(f"{moment(later.at)}, {later.author}, {name} amended: {later.text}")
        for note in said.annotations:
            yield from _item(f"{moment(note.at)}, {note.author}: {note.text}")
        if said.unreadable:
            yield f"- Lines of `notes.jsonl` that are torn or altered: {said.unreadable}."
        yield ""


def _failed(facts: Facts) -> Iterator[str]:
    """The failure card."""
    current = facts.story.current
    failure = current.failure if current is not None and facts.story.ending is not None else None
    if current is not None and current.missing_outputs:
        yield f"Expected and not there: {', '.join(f'`{visible(glob)}`' for glob in current.missing_outputs)}."
        yield ""
    if current is None or failure is None:
        return
    yield "## Why it failed"
    yield ""
    doubt = " (a guess)" if failure.is_guess else ""
    yield f"- {failure.mode.replace('_', ' ').capitalize()}{doubt}: {visible('; '.join(failure.evidence))}."
    if failure.checked:
        yield f"- Looked at: {visible('; '.join(failure.checked))}."
    if failure.error is not None:
        where = f", at `{visible(failure.error.file)}` line {failure.error.line}" if failure.error.file else ""
        yield f"- First error: `{visible(failure.error.text)}`{where}."
    peak, limit = failure.peak_memory_bytes, facts.story.spec.resources.memory_bytes
    if peak is not None and limit is not None:
        yield f"- Memory: {show_size(peak)} at most, {show_size(limit)} asked for."
    if current.hint is not None:
        yield f"- Try: `{visible(current.hint)}`"
    if facts.card is not None:
        yield from _card(facts.card)
    yield ""


def _card(card: FailureCard) -> Iterator[str]:
    """What changed since it last worked, and the last lines."""
    if card.changes is not None:
        since = f"since {card.changes.since}, which succeeded"
        yield f"- Changed {since}:" if card.changes.changes else f"- {since.capitalize()}: nothing that is recorded."
        left = _SHOWN_HUNK_LINES
        for change in card.changes.changes:
            yield f"  - {visible(change.text)}"
            if change.lines and left > 0:
                yield ""
                yield from (f"        {visible(line)}" for line in change.lines[:left])
                yield ""
                left -= len(change.lines)
    if card.last_lines:
        yield ""
        yield "The last lines it wrote:"
        yield ""
        yield from (f"    {visible(line)}" for line in card.last_lines)


def _took(facts: Facts) -> float | None:
    measured = facts.number("duration_s")
    current = facts.story.current
    if measured is None and current and current.started_at and current.ended_at:
        return max(0.0, (current.ended_at - current.started_at).total_seconds())
    return measured


def _what_ran(facts: Facts) -> Iterator[str]:
    told, spec = facts.story, facts.story.spec
    source, current = spec.source, told.current
    yield "## What ran"
    yield ""
    yield f"    {command_line(spec.target.argv)}"
    yield ""
    who = f" by {visible(spec.user)}" if spec.user else ""
    where = f" on {visible(spec.host)}" if spec.host else ""
    yield f"- Queued {moment(told.queued_at)}{who}{where}; run id {told.run_id}."
    if current is not None:
        yield f"- Started {moment(current.started_at)}, ended {moment(ended_at(told))}."
    if source.is_live:
        yield f"- Code: it ran live in `{visible(source.root or source.cwd)}`, not in a frozen copy."
        if told.tree is not None:
            yield f"  What lay there when it was queued: git tree {told.tree}."
    elif told.tree is not None:
        count = _files(told.file_count) if told.file_count else "files"
        place = f"`{visible(source.root or '?')}`" + (f" on {visible(spec.host)}" if source.is_elsewhere else "")
        yield f"- Code: {count} of {place}, frozen when it was queued; git tree {told.tree}."
    else:
        yield "- Code: nothing was frozen; it ran on the files as they were."
    yield from _surroundings(facts)
    place = f"`{visible(source.cwd)}`, not a frozen copy" if source.cwd_is_live else f"`{visible(_cwd(facts))}`"
    yield f"- Working directory: {place}."
    if used := "; ".join(_used(facts)):
        yield f"- Resources: {used}."
    yield ""


def _surroundings(facts: Facts) -> Iterator[str]:
    """Commit, Python, seed, configuration, data, and what was not frozen."""
    spec, found = facts.story.spec, facts.environment
    code = found.repository if found is not None else None
    if code is not None and code.commit is not None:
        state = ", with changes that were not committed (`submitted/code.diff`)" if code.is_dirty else ""
        yield f"- Commit {code.commit}{f' on {visible(code.branch)}' if code.branch else ''}{state}."
    yield from _python(facts)
    if spec.seed is not None:
        yield f"- Seed: {spec.seed}{', drawn at submit' if spec.is_seed_drawn else ''}."
    for config in spec.configs:
        yield f"- Configuration `{visible(config.path)}`: `{config.place}`, SHA-256 {config.sha256}."
    for file in spec.staged:
        yield f"- Staged: `staged/{visible(file.name)}`, a copy of `{visible(file.path)}` of {file.run_id}"
        yield f"  (SHA-256 {file.sha256}); `{{staged}}` in the command stands for its path."
    for data in spec.inputs:
        size = f"{_files(data.file_count)}, {show_size(data.size_bytes)}"
        yield f"- Input `{data.name}`: `{visible(data.path)}`, {size}, SHA-256 {data.sha256}."
    for live in spec.source.not_frozen:
        commit = f", commit {live.commit}{' with changes' if live.is_dirty else ''}" if live.commit else ""
        yield f"- Not frozen ({live.kind.replace('_', ' ')}): `{visible(live.path)}`{commit}."


def _python(facts: Facts) -> Iterator[str]:
    """The interpreter that runs it; a guess is called one."""
    spec, found = facts.story.spec, facts.environment
    if found is not None and found.chosen_by is not None:
        yield f"- Environment: `{found.chosen_by}` chooses it as it starts; its Python and packages are not recorded."
        return
    python = found.python if found is not None else None
    place = spec.interpreter or (python.executable if python is not None else None)
    if place is None:
        return
    if found is None or python is None:
        yield f"- Python: `{visible(place)}`."
        return
    packages = f"{python.version}, {_count(len(found.packages), 'package')} in `submitted/packages.txt`"
    if python.is_guess:
        yield f"- Whether it uses a Python is not known. The caller's is {packages}: `{visible(place)}`."
    else:
        yield f"- Python {packages}: `{visible(place)}`."


def _files(count: int) -> str:
    return _count(count, "file")


def _count(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count} {thing}s"


def _cwd(facts: Facts) -> str:
    cwd = facts.story.spec.source.cwd
    return "work" if cwd == "." else f"work/{cwd}"


def _used(facts: Facts) -> Iterator[str]:
    spec = facts.story.spec
    asked = spec.resources
    wishes = [
        f"{asked.cpus} CPUs" if asked.cpus is not None else "",
        f"{show_size(asked.memory_bytes)} of memory" if asked.memory_bytes is not None else "",
        f"{asked.gpu_count} GPUs" if asked.gpu_count is not None else "",
        f"{show_size(asked.gpu_memory_bytes)} of memory on each GPU" if asked.gpu_memory_bytes is not None else "",
        f"{show_size(asked.disk_bytes)} of free space" if asked.disk_bytes is not None else "",
        f"at most {duration(spec.timeout_s)}" if spec.timeout_s is not None else "",
    ]
    if any(wishes):
        pod = f" (pod `{visible(spec.pod)}`)" if spec.pod is not None else ""
        yield f"asked for {', '.join(filter(None, wishes))}{pod}"
    peak = facts.number("peak_memory_bytes")
    if peak is not None:
        yield f"memory peak {show_size(int(peak))}"
    if facts.exit_record is not None:
        yield f"processor time {duration((facts.number('user_s') or 0.0) + (facts.number('system_s') or 0.0))}"


def _attempts(facts: Facts) -> Iterator[str]:
    attempts = facts.story.attempts
    if len(attempts) > 1:
        yield "## Attempts"
        yield ""
        yield from (_attempt(attempt) for attempt in attempts)
        yield ""
    if facts.story.damages:
        yield "## Damage found and mended"
        yield ""
        yield from (f"- {visible(damage)}" for damage in facts.story.damages)
        yield ""


def _attempt(attempt: AttemptStory) -> str:
    how = visible(describe(attempt.ending)) if attempt.ending else "not over"
    return f"{attempt.attempt}. {moment(attempt.started_at or attempt.dispatched_at)}: {how}"


def _where(facts: Facts) -> Iterator[str]:
    number = facts.story.state.attempt
    yield "## Where things are"
    yield ""
    if facts.artifacts:
        count = len(facts.artifacts)
        yield f"- What it left behind, {_files(count)}, {show_size(facts.artifact_bytes)}:"
        shown = facts.artifacts[:_SHOWN_ARTIFACTS]
        yield from (f"  - `{visible(found.path)}` ({show_size(found.size_bytes)})" for found in shown)
        if count > len(shown):
            yield f"  - and {count - len(shown)} more, all in `run_manifest.json`"
    else:
        yield "- It left no files behind; they would be in `outputs/` and `work/`."
    yield f"- `attempts/{number}/stdout.log` and `stderr.log`: what it printed."
    yield "- `submitted/`: environment, packages, lock files, difference to the commit, configuration, stdin."
    if facts.story.spec.inputs:
        yield "- `inputs/`: links to the data it was given. The data are not here, their SHA-256 is above."
    yield "- `work/`: the copy of the code it ran in. `run_manifest.json`: all of this for programs."
    yield f"- `events.jsonl`: what happened when. `attempts/{number}/`: order, start, exit, and in `seal.json`"
    yield "  the SHA-256 of all this evidence; the seal's own is a line of `../../chain.jsonl`."
    if facts.said != Told():
        yield "- `notes.jsonl`: what people said afterwards, with author and time; no part of the sealed evidence."
    yield ""


def _again(facts: Facts) -> Iterator[str]:
    told, spec, source = facts.story, facts.story.spec, facts.story.spec.source
    yield "## Run it again by hand"
    yield ""
    is_copied = told.tree is not None and not source.cwd_is_live
    if spec.configs or spec.inputs or spec.staged or spec.stdin == "spooled" or _is_taken_from_work(spec):
        yield "    here=$PWD"
    if not is_copied:
        yield f"    cd {command_line([source.cwd]) if source.cwd_is_live else 'work'}"
    else:
        yield f"    cp -a work {_AGAIN}"
        yield f"    cd {command_line([_AGAIN if source.cwd == '.' else f'{_AGAIN}/{source.cwd}'])}"
    yield f"    mkdir -p {_AGAIN}-outputs && export LAB_OUTPUT_PATH={_AGAIN}-outputs"
    yield from (f"    export {variable}" for variable in _variables(spec))
    stdin = ' < "$here/submitted/stdin"' if spec.stdin == "spooled" else ""
    yield f"    {_command(spec)}{stdin}"
    yield ""
    if told.tree is not None:
        yield "`work/` may hold changes the run made. The frozen code itself, from this folder:"
        yield ""
        yield f"    git --git-dir=../../../../store/code.git archive {told.tree} | tar -x -C NEW_FOLDER"
        yield ""
    yield "The variables of the caller's environment are not kept in this record."


def _is_taken_from_work(spec: Spec) -> bool:
    """The caller stood outside the source folder: he kept his directory, and the frozen code is used from `work/`."""
    return spec.source.cwd_is_live and not spec.source.is_live and spec.source.tree is not None


def _command(spec: Spec) -> str:
    argv, root = spec.target.argv, f"{spec.source.root}/"
    words = [_filled(word, spec) for word in argv]
    if _is_taken_from_work(spec) and spec.target.kind == "script" and len(argv) > 1 and argv[1].startswith(root):
        words[1] = f'"$here"/work/{command_line([argv[1].removeprefix(root)])}'
    return " ".join(words)


def _filled(word: str, spec: Spec) -> str:
    """A word with the copies of staged files in place of their placeholders, found from `$here`."""
    (filled,) = fill([word], {file.name: f"{_HERE}/staged/{file.name}" for file in spec.staged})
    return '"$here"'.join(command_line([piece]) if piece else "" for piece in filled.split(_HERE)) or "''"


def _variables(spec: Spec) -> Iterator[str]:
    """What it was told by variables, as assignments for bash."""
    if spec.seed is not None:
        yield f"LAB_SEED={spec.seed}"
    if spec.configs:
        yield f'LAB_CONFIG="$here"/{command_line([spec.configs[0].place])}'
        places = ":".join(f'"$here"/{command_line([config.place])}' for config in spec.configs)
        yield f"LAB_CONFIGS={places}"
    if spec.inputs:
        yield 'LAB_INPUT_PATH="$here"/inputs'
    for data in spec.inputs:
        yield f'LAB_INPUT_{data.name.upper()}="$here"/inputs/{data.name}'
    if spec.source.import_path is not None:
        code = '"$here"/work' if _is_taken_from_work(spec) else _AGAIN
        entries = (
            f"{code}/{command_line([entry[2:]])}" if entry.startswith("./") else command_line([entry])
            for entry in spec.source.import_path
        )
        yield f"PYTHONPATH={':'.join(entries)}"
