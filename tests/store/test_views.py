import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from labrun.core import story
from labrun.core.endings import Cancelled, Ending, Exited, Lost, NeverStarted, OutOfMemory, Signalled, TimedOut
from labrun.core.environment import Environment, Gpu, Machine, Python, Repository
from labrun.core.events import Damaged
from labrun.core.failure import Failure
from labrun.core.narrative import Amendment, Annotation, Conclusion, Told, fold
from labrun.core.resources import Request
from labrun.core.spec import ConfigFile, Input, Link, Narrative, NotFrozen, Source, Spec, Target
from labrun.core.traceback import RaisedError
from labrun.store.views import manifest, readme
from labrun.store.views.facts import Facts, command_line, visible
from labrun.wire.responses import Artifact
from tests.store.experiments import SPEC, THEN, at, life

RECORD = {"duration_s": 8.0, "user_s": 3.0, "system_s": 1.0, "peak_memory_bytes": 2**30, "read_bytes": 2**20}
ARTIFACTS = [Artifact(f"outputs/chain-{i}.csv", 1000 * i, THEN) for i in range(1, 11)]


def facts(spec: Spec = SPEC, ending: Ending | None = None, attempts: int = 1, **more: object) -> Facts:
    told = story.tell(life(54, ending, spec, attempts))
    return structs.replace(
        Facts(story=told, exit_record=RECORD, artifacts=ARTIFACTS, at=at(150)),
        **more,
    )


def read(made: Facts) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(manifest.render(made))
    return found


def test_the_manifest_has_the_fields_of_the_description() -> None:
    found = read(facts())
    assert {"run_id", "status", "command", "queued_at", "started_at", "ended_at", "exit_code", "priority"} <= set(found)
    assert found["metadata"] == {"note": "is the slope robust?"}
    told = ("hypothesis", "context", "intent", "expected_outcome", "parent_run", "experiment_group")
    lists = ("tags", "learnings", "next_steps", "amendments")
    later = ("outcome", "validation_status")
    assert found["narrative"] == {**dict.fromkeys((*told, *later)), **{name: [] for name in lists}}
    assert found["annotations"] == []
    assert (found["status"], found["exit_code"], found["priority"]) == ("succeeded", 0, 7)
    assert found["queued_at"] == "2026-11-20T12:00:00Z"
    assert (found["started_at"], found["ended_at"]) == ("2026-11-20T12:01:43Z", "2026-11-20T12:01:51Z")
    assert found["command"] == ["/usr/bin/python3", "train.py", "--lr", "1e-3"]


def test_the_manifest_counts_in_the_units_of_a_request() -> None:
    resources = read(facts())["resources"]
    assert isinstance(resources, dict)
    assert resources["requested"] == {
        "gpus": None,
        "gpu_memory_gb": None,
        "cpu_cores": 2,
        "ram_gb": 8.0,
        "disk_gb": None,
        "max_runtime_hours": 1.5,
    }
    assert resources["actual"]["ram_peak_gb"] == 1.0
    assert resources["actual"]["cpu_utilization_avg"] == 50.0
    assert resources["actual"]["disk_write_gb"] is None
    assert resources["host"] == "box"


def test_the_manifest_lists_every_artifact_with_time_and_size() -> None:
    listed = read(facts())["artifacts"]
    assert isinstance(listed, dict)
    assert listed["discovery_time"] == "2026-11-20T12:02:30Z"
    assert listed["total_size_bytes"] == 55_000
    assert len(listed["files"]) == 10
    assert listed["files"][0] == {
        "path": "outputs/chain-1.csv",
        "size_bytes": 1000,
        "modified": "2026-11-20T12:00:00Z",
    }


def test_what_is_not_known_is_null_in_the_manifest() -> None:
    found = read(facts(ending=Lost("its supervisor was killed"), exit_record=None))
    assert found["exit_code"] is None
    environment, resources = found["environment"], found["resources"]
    assert isinstance(environment, dict)
    assert isinstance(resources, dict)
    assert environment["git_commit"] is None
    assert environment["python_version"] is None
    assert set(resources["actual"].values()) == {None}


@pytest.mark.parametrize(
    ("ending", "status", "mode", "words"),
    [
        (Exited(0), "succeeded", None, "finished"),
        (Exited(3), "failed", None, "exited with 3"),
        (Signalled(9), "failed", None, "killed by signal SIGKILL"),
        (OutOfMemory("memory.events oom_kill rose by 1"), "failed", "oom", "out of memory"),
        (TimedOut(5400.0, signal=15), "failed", "timeout", "time limit of 5400 s"),
        (Cancelled("bob", signal=15), "cancelled", "cancelled", "cancelled by bob"),
        (Lost("its supervisor was killed"), "failed", "lost", "lost: its supervisor was killed"),
        (NeverStarted("cloning", "tree is missing"), "failed", "setup_error", "never started, cloning failed"),
    ],
)
def test_every_ending_keeps_its_reason_in_both_views(ending: Ending, status: str, mode: str, words: str) -> None:
    made = facts(ending=ending)
    found = read(made)
    assert (found["status"], found["failure_mode"]) == (status, mode)
    assert isinstance(found["ending"], dict)
    assert words in found["ending"]["text"]
    text = readme.render(made).decode()
    assert f"**{status.capitalize()}**: " in text
    assert words in text


def test_the_manifest_tells_all_steps_and_attempts() -> None:
    found = read(facts(ending=Exited(1), attempts=2))
    assert isinstance(found["steps"], list)
    assert isinstance(found["attempts"], list)
    assert [step["step"] for step in found["steps"]][0::7] == ["waiting", "completed"]
    assert {step["status"] for step in found["steps"]} == {"succeeded", "failed"}
    assert [(attempt["attempt"], attempt["exit_code"]) for attempt in found["attempts"]] == [(1, 1), (2, 1)]


README = """\
# EXP-054 planck bao

**Succeeded**: finished, after 8 s.

> is the slope robust?

## What ran

    /usr/bin/python3 train.py --lr 1e-3

- Queued 2026-11-20 12:00:00 UTC by ada on box; run id 2026-11-20_00000054.
- Started 2026-11-20 12:01:43 UTC, ended 2026-11-20 12:01:51 UTC.
- Code: 3 files of `/home/ada/planck`, frozen when it was queued; git tree {tree}.
- Python: `/usr/bin/python3`.
- Working directory: `work/sub`.
- Resources: asked for 2 CPUs, 8.0 GiB of memory, at most 1 h 30 min; memory peak 1.0 GiB; processor time 4 s.

## Where things are

- What it left behind, 10 files, 53.7 KiB:
  - `outputs/chain-1.csv` (1000 B)
  - `outputs/chain-2.csv` (2.0 KiB)
  - `outputs/chain-3.csv` (2.9 KiB)
  - `outputs/chain-4.csv` (3.9 KiB)
  - `outputs/chain-5.csv` (4.9 KiB)
  - `outputs/chain-6.csv` (5.9 KiB)
  - `outputs/chain-7.csv` (6.8 KiB)
  - `outputs/chain-8.csv` (7.8 KiB)
  - and 2 more, all in `run_manifest.json`
- `attempts/1/stdout.log` and `stderr.log`: what it printed.
- `submitted/`: environment, packages, lock files, difference to the commit, configuration, stdin.
- `work/`: the copy of the code it ran in. `run_manifest.json`: all of this for programs.
- `events.jsonl`: what happened when. `attempts/1/`: order, start, exit, and in `seal.json`
  the SHA-256 of all this evidence; the seal's own is a line of `../../chain.jsonl`.

## Run it again by hand

    cp -a work /tmp/again
    cd /tmp/again/sub
    mkdir -p /tmp/again-outputs && export LAB_OUTPUT_PATH=/tmp/again-outputs
    /usr/bin/python3 train.py --lr 1e-3

`work/` may hold changes the run made. The frozen code itself, from this folder:

    git --git-dir=../../../../store/code.git archive {tree} | tar -x -C NEW_FOLDER

The variables of the caller's environment are not kept in this record.
"""


def test_the_readme_reads_well_to_a_stranger() -> None:
    assert readme.render(facts()).decode() == README.replace("{tree}", "ab" * 20)


def test_the_readme_of_a_run_without_frozen_code_says_so() -> None:
    spec = Spec(Target("program", "sleep", ("sleep", "5")), source=Source(cwd="/home/ada/my data", cwd_is_live=True))
    text = readme.render(facts(spec, artifacts=())).decode()
    assert "nothing was frozen" in text
    assert "    cd '/home/ada/my data'\n" in text
    assert "It left no files behind" in text
    assert "code.git" not in text
    assert "> no note was given" in text


def test_the_readme_tells_all_attempts_and_damage() -> None:
    events = [*life(54, Exited(1), SPEC, 2), Damaged(at=at(900), what="torn last line", kept="9 events")]
    text = readme.render(structs.replace(facts(), story=story.tell(events))).decode()
    assert "1. 2026-11-20 12:01:43 UTC: exited with 1\n2. 2026-11-20 12:03:23 UTC: exited with 1\n" in text
    assert "- torn last line: 9 events" in text
    assert "`attempts/2/stdout.log`" in text


def test_nothing_in_a_readme_can_move_the_cursor() -> None:
    evil = "a\x1b]0;owned\x07\u202eb\r\x9bc"
    spec = structs.replace(
        SPEC, name=evil, note=f"{evil}\n# fake heading", user=evil, target=Target("program", "sh", ("sh", "-c", evil))
    )
    text = readme.render(facts(spec, artifacts=[Artifact(f"outputs/{evil}", 1, THEN)])).decode()
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "\n> # fake heading\n" in text


@pytest.mark.parametrize(
    "word",
    ["plain", "two words", "new\nline", "tab\t'quote'\\", "\x1b[31m7", "ünï", "$HOME`id`", "", "\u202eabc", "\x7f1"],
)
def test_a_command_line_can_be_pasted_into_bash(word: str) -> None:
    line = command_line(["printf", "%s", word])
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode() == word


def test_visible_text_keeps_what_can_be_read() -> None:
    assert visible("naïve 漢字 ✓") == "naïve 漢字 ✓"
    assert visible("a\x00b\x1b") == "a\\x00b\\x1b"


def test_views_of_every_step_on_the_way_can_be_written(tmp_path: Path) -> None:
    events = life(54, Exited(1), SPEC, 2)
    for count in range(1, len(events) + 1):
        made = structs.replace(facts(exit_record=None, artifacts=()), story=story.tell(events[:count]))
        assert read(made)["label"] == "EXP-054"
        assert readme.render(made).startswith(b"# EXP-054 planck bao\n")


RICH = structs.replace(
    SPEC,
    narrative=Narrative(hypothesis="the slope is 450", tags=("sky",), parent_run="2026-11-19_aaaaaaaa"),
    configs=(ConfigFile("c.yaml", "submitted/config/c.yaml", "c" * 64, 9),),
    inputs=(Input("sky", "/data/sky", "d" * 64, 2**30, 3, at(0)),),
    expected_outputs=("*.csv",),
    seed=7,
    definition="e" * 64,
    source=structs.replace(
        SPEC.source, not_frozen=(NotFrozen("editable", "/home/ada/lib", commit="abc", is_dirty=True),)
    ),
)
ENVIRONMENT = Environment(
    machine=Machine("box", "Debian 12", "6.1", "x86_64", "EPYC", 64, 2**38, (Gpu(0, "H100", 2**36),), "550.1", "12.4"),
    python=Python("/usr/bin/python3", "3.11.7", "CPython", "/usr", "system"),
    packages=("numpy==1.26.4",),
    repository=Repository("f" * 40, "main", True, diff="submitted/code.diff"),
)


def test_what_went_in_stands_in_the_manifest() -> None:
    found = read(facts(RICH, environment=ENVIRONMENT))
    inside, datasets, code = found["environment"], found["datasets"], found["code"]
    assert isinstance(inside, dict)
    assert isinstance(datasets, list)
    assert isinstance(code, dict)
    assert (inside["git_commit"], inside["git_branch"], inside["git_dirty"]) == ("f" * 40, "main", True)
    assert (inside["pip_freeze"], inside["python_version"]) == (["numpy==1.26.4"], "3.11.7")
    assert (inside["cuda_version"], inside["gpu_driver"]) == ("12.4", "550.1")
    assert found["resources"]["gpu_model"] == "H100"  # type: ignore[index]
    assert found["narrative"]["hypothesis"] == "the slope is 450"  # type: ignore[index]
    assert datasets[0]["checksum"] == f"sha256:{'d' * 64}"
    assert datasets[0]["size_gb"] == 1.0
    assert found["configs"][0]["sha256"] == "c" * 64  # type: ignore[index]
    assert (found["seed"], found["definition"]) == (7, "e" * 64)
    assert code["not_frozen"][0]["path"] == "/home/ada/lib"


def test_a_python_that_is_a_guess_or_not_known_is_not_claimed() -> None:
    program = structs.replace(SPEC, interpreter=None)
    assert ENVIRONMENT.python is not None
    guessed = structs.replace(ENVIRONMENT, python=structs.replace(ENVIRONMENT.python, is_guess=True))
    chosen = structs.replace(ENVIRONMENT, python=None, packages=(), chosen_by="uv run")
    for found, text, known in (
        (ENVIRONMENT, "- Python 3.11.7, 1 package in `submitted/packages.txt`: `/usr/bin/python3`.", "3.11.7"),
        (guessed, "- Whether it uses a Python is not known. The caller's is 3.11.7, 1 package in", "3.11.7"),
        (chosen, "- Environment: `uv run` chooses it as it starts; its Python and packages are not recorded.", None),
    ):
        assert text in readme.render(facts(program, environment=found)).decode()
        inside = read(facts(program, environment=found))["environment"]
        assert isinstance(inside, dict)
        assert inside["python_version"] == known
        assert inside["python_is_guess"] == (None if known is None else found is guessed)
        assert inside["environment_chosen_by"] == found.chosen_by
        assert (inside["pip_freeze"] is None) == (found is chosen)


def test_what_is_declared_stands_in_the_manifest() -> None:
    asked = Request(cpus=2, gpu_count=1, gpu_memory_bytes=40 * 2**30, disk_bytes=2**30)
    links = (Link("data", "/home/ada/planck/data"),)
    spec = structs.replace(RICH, resources=asked, pod="h100", source=structs.replace(RICH.source, links=links))
    told = life(54, Exited(1), spec)
    error = RaisedError("ModuleNotFoundError: jax")
    failure = Failure("setup_error", is_guess=False, evidence=("No module named 'jax'",), error=error)
    told[-1] = structs.replace(told[-1], missing_outputs=("*.csv",), failure=failure, hint="pip install jax")
    made = structs.replace(facts(spec), story=story.tell(told))
    found: dict[str, Any] = read(made)
    assert found["resources"]["requested"] == {
        "gpus": 1,
        "gpu_memory_gb": 40.0,
        "cpu_cores": 2,
        "ram_gb": None,
        "disk_gb": 1.0,
        "max_runtime_hours": 1.5,
    }
    assert (found["pod"], found["hint"], found["failure_mode"]) == ("h100", "pip install jax", "setup_error")
    assert found["failure"]["evidence"] == ["No module named 'jax'"]
    assert found["code"]["links"] == [{"place": "data", "target": "/home/ada/planck/data"}]
    assert (found["artifacts"]["expected"], found["artifacts"]["missing"]) == (["*.csv"], ["*.csv"])
    assert found["narrative"]["tags"] == ["sky"]
    text = readme.render(made).decode()
    for words in (
        "1 GPUs, 40.0 GiB of memory on each GPU, 1.0 GiB of free space, at most 1 h 30 min (pod `h100`)",
        "## Why it failed\n\n- Setup error: No module named 'jax'.\n",
        "- First error: `ModuleNotFoundError: jax`.\n- Try: `pip install jax`\n",
        "Expected and not there: `*.csv`.",
    ):
        assert words in text


def test_a_live_run_is_not_said_to_be_frozen() -> None:
    source = Source("/home/ada/planck", tree="ab" * 20, cwd="/home/ada/planck", cwd_is_live=True, is_live=True)
    text = readme.render(facts(structs.replace(SPEC, source=source))).decode()
    assert "- Code: it ran live in `/home/ada/planck`, not in a frozen copy." in text
    assert "frozen when it was queued" not in text


def test_what_went_in_stands_in_the_readme() -> None:
    text = readme.render(facts(RICH, environment=ENVIRONMENT)).decode()
    for words in (
        "- Hypothesis: the slope is 450",
        f"- Commit {'f' * 40} on main, with changes that were not committed (`submitted/code.diff`).",
        "- Python 3.11.7, 1 package in `submitted/packages.txt`: `/usr/bin/python3`.",
        "- Seed: 7.",
        f"- Configuration `c.yaml`: `submitted/config/c.yaml`, SHA-256 {'c' * 64}.",
        f"- Input `sky`: `/data/sky`, 3 files, 1.0 GiB, SHA-256 {'d' * 64}.",
        "- Not frozen (editable): `/home/ada/lib`, commit abc with changes.",
        "- `inputs/`: links to the data it was given. The data are not here, their SHA-256 is above.",
        "    here=$PWD\n    cp -a work /tmp/again\n",
        '    export LAB_SEED=7\n    export LAB_CONFIG="$here"/submitted/config/c.yaml\n',
        '    export LAB_INPUT_PATH="$here"/inputs\n    export LAB_INPUT_SKY="$here"/inputs/sky\n',
    ):
        assert words in text


def test_the_readme_and_the_manifest_show_what_was_said_afterwards() -> None:
    said = fold(
        [
            Annotation(at=THEN, author="ada\x1b[2J", text="first line\n\n# second line \x1b[31m"),
            Amendment(at=THEN, author="bob", field="expected_outcome", text="a bump"),
            Conclusion(at=THEN, author="ada", verdict="refutes", outcome="no bump", learnings=("mask first",)),
        ],
        unreadable=2,
    )
    text = readme.render(facts(said=said)).decode()
    assert "\x1b" not in text
    for words in (
        "- Verdict: refutes.\n- Outcome: no bump\n- Learned: mask first\n",
        "bob, expected outcome amended: a bump\n",
        "first line\n  # second line",
        "torn or altered: 2",
        "`notes.jsonl`",
    ):
        assert words in text
    assert "notes" not in readme.render(facts(said=Told())).decode().lower()
    found = read(facts(said=said))
    assert found["annotations"] == [
        {"timestamp": "2026-11-20T12:00:00Z", "author": "ada\x1b[2J", "note": "first line\n\n# second line \x1b[31m"}
    ]
    narrative = found["narrative"]
    assert isinstance(narrative, dict)
    assert narrative["validation_status"] == "refutes"
    assert narrative["amendments"][0]["field"] == "expected_outcome"
