import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import structs

from labrun.core.endings import Cancelled, Exited, Lost
from labrun.core.line import body_of, decode_line
from labrun.core.spec import Source
from labrun.store.chain import ChainLine
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.seal import append_cancelled, read_artifacts, seal_batch, seal_digests
from labrun.store.verify import verify_chain, verify_folder, verify_lab
from tests.store.experiments import SPEC, Experiment

ROOT = Path(__file__).parents[2]


def outputs(experiment: Experiment, **contents: str) -> None:
    for name, text in contents.items():
        (experiment.folder.outputs / name).write_text(text)


def chain(home: Path, lab: str = "main") -> Path:
    return home / f"labs/{lab}/chain.jsonl"


def lines(path: Path) -> list[ChainLine]:
    return [decode_line(line, ChainLine) for line in path.read_bytes().splitlines()]


def problems(folder: Folder) -> list[str]:
    return [str(finding) for finding in verify_folder(folder)]


def sealed_lab(home: Path, count: int = 3) -> list[Experiment]:
    made = [Experiment(home, number) for number in range(1, count + 1)]
    for experiment in made:
        outputs(experiment, result=f"result of {experiment.number}")
    seal_batch([experiment.end() for experiment in made])
    return made


def test_a_seal_lists_the_hash_of_every_piece_of_evidence(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    outputs(experiment, a="first", b="second")
    (sealed,) = seal_batch([experiment.end()])
    folder = experiment.folder
    seal = json.loads(folder.attempt(1).seal.read_bytes())
    assert set(seal["evidence"]) == {
        f"attempts/1/{name}"
        for name in ("order.json", "started", "exit.json", "stdout.log", "stderr.log", "log.idx", "usage.jsonl")
    }
    assert set(seal["artifacts"]) == {"outputs/a", "outputs/b"}
    for name, piece in {**seal["evidence"], **seal["artifacts"], "events.jsonl": seal["events"]}.items():
        content = (folder.path / name).read_bytes()
        assert piece == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert seal["code"] == {"tree": "ab" * 20}
    assert seal["environment"] == {"interpreter": "/usr/bin/python3", "variables_sha256": "cd" * 32}
    assert (seal["run_id"], seal["attempt"], seal["folder"]) == ("2026-11-20_00000001", 1, folder.relative)
    assert sealed.seal == hashlib.sha256(folder.attempt(1).seal.read_bytes()).hexdigest() == seal_digests(folder)[1]
    assert sealed.is_new


def test_a_seal_is_plain_json_with_sorted_keys(tmp_path: Path) -> None:
    (experiment,) = sealed_lab(tmp_path, 1)
    text = experiment.folder.attempt(1).seal.read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"


def test_control_files_are_copied_and_views_written(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    outputs(experiment, a="first")
    job = experiment.end()
    for path in job.control.values():
        Path(path).chmod(0o600)
    seal_batch([job])
    here = experiment.folder.attempt(1)
    for name, copy in (("order", here.order), ("started", here.started), ("exit", here.exit)):
        assert copy.read_bytes() == Path(job.control[name]).read_bytes()
        assert copy.stat().st_mode == here.stdout.stat().st_mode
    assert experiment.folder.readme.read_text().startswith("# EXP-001 planck bao\n")
    assert read_artifacts(experiment.folder) == tuple(job.artifacts)
    assert not [path for path in experiment.folder.path.rglob(".*")]


def test_each_line_of_the_chain_names_the_one_before(tmp_path: Path) -> None:
    experiments = sealed_lab(tmp_path)
    late = Experiment(tmp_path, 4)
    (sealed,) = seal_batch([late.end()])
    path = chain(tmp_path)
    found = lines(path)
    assert [line.label for line in found] == ["EXP-001", "EXP-002", "EXP-003", "EXP-004"]
    assert found[0].prev == "0" * 64
    raw = path.read_bytes().splitlines(keepends=True)
    assert [line.prev for line in found[1:]] == [hashlib.sha256(line).hexdigest() for line in raw[:-1]]
    assert found[2].folder == experiments[2].folder.relative
    assert (sealed.chain, sealed.chain_end) == (path, path.stat().st_size)
    assert verify_lab(tmp_path / "labs/main") == []


def test_each_lab_has_its_own_chain(tmp_path: Path) -> None:
    jobs = [Experiment(tmp_path, number, lab).end() for number, lab in enumerate(("a", "b", "a"), start=1)]
    sealed = seal_batch(jobs)
    assert [mark.chain.parent.name for mark in sealed] == ["a", "b", "a"]
    assert [line.label for line in lines(chain(tmp_path, "a"))] == ["EXP-001", "EXP-003"]
    assert [line.prev for line in lines(chain(tmp_path, "b"))] == ["0" * 64]


def test_no_jobs_touch_nothing() -> None:
    assert seal_batch([]) == []


# --- repeating


def test_sealing_twice_writes_one_line(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    outputs(experiment, a="first")
    (first,) = seal_batch([experiment.end()])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    others = [Experiment(tmp_path, number).end() for number in (2, 3)]
    again, *_ = seal_batch([experiment.end(), *others])
    assert not again.is_new
    assert again.seal == first.seal
    assert [line.label for line in lines(chain(tmp_path))] == ["EXP-001", "EXP-002", "EXP-003"]
    assert again.chain_end == chain(tmp_path).stat().st_size
    sealed = experiment.folder.attempt(1).seal
    assert sealed.read_bytes() == before[sealed]
    assert verify_lab(tmp_path / "labs/main") == []


def test_a_seal_whose_line_a_crash_kept_from_the_chain_is_made_again(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    seal_batch([experiment.end()])
    chain(tmp_path).unlink()
    outputs(experiment, late="after the crash")
    (sealed,) = seal_batch([experiment.end()])
    assert sealed.is_new
    assert len(lines(chain(tmp_path))) == 1
    assert verify_lab(tmp_path / "labs/main") == []


def test_a_crash_in_the_middle_of_a_seal_never_harms_the_control_files(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    job = experiment.end()
    before = {name: Path(path).read_bytes() for name, path in job.control.items()}
    here = experiment.folder.attempt(1)
    for name in ("order.json", "started", "exit.json"):  # as a crash between two calls leaves them
        for leftover in (f".{name}.link", f".{name}.new"):
            os.link(job.control[name.partition(".")[0]], here.path / leftover)
    seal_batch([job])
    assert {name: Path(path).read_bytes() for name, path in job.control.items()} == before
    assert problems(experiment.folder) == []


def test_control_files_on_another_file_system_are_copied(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    job = experiment.end()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as away:
        control = {name: shutil.copy(path, away) for name, path in job.control.items()}
        seal_batch([dataclasses.replace(job, control=control)])
    assert experiment.folder.attempt(1).exit.read_bytes() == Path(job.control["exit"]).read_bytes()
    assert problems(experiment.folder) == []


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_crash_at_any_byte_of_the_chain_leaves_one_line_each(tmp_path: Path, where: str) -> None:
    made = sealed_lab(tmp_path, 2)
    whole = chain(tmp_path).read_bytes()
    second = whole.index(b"\n") + 1
    cut = {"first": second + 1, "middle": second + 100, "last": len(whole) - 1}[where]
    chain(tmp_path).write_bytes(whole[:cut])
    assert verify_chain(tmp_path / "labs/main")[0].problem == "is torn; the next seal cuts it"
    again = seal_batch([experiment.end() for experiment in made])
    assert [mark.is_new for mark in again] == [False, True]
    assert [line.label for line in lines(chain(tmp_path))] == ["EXP-001", "EXP-002"]
    assert verify_lab(tmp_path / "labs/main") == []


def test_a_torn_line_longer_than_a_block_is_cut(tmp_path: Path) -> None:
    sealed_lab(tmp_path, 1)
    with chain(tmp_path).open("ab") as stream:
        stream.write(b"x" * 200_000)
    seal_batch([Experiment(tmp_path, 2).end()])
    assert len(lines(chain(tmp_path))) == 2
    assert verify_chain(tmp_path / "labs/main") == []


def test_a_chain_that_is_nothing_but_torn_begins_anew(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    chain(tmp_path).write_bytes(b'{"run_id":"2026')
    seal_batch([experiment.end()])
    assert [line.prev for line in lines(chain(tmp_path))] == ["0" * 64]


# --- what scripts leave behind


def test_a_lost_attempt_without_exit_record_is_sealed(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    job = experiment.end(ending=Lost("its supervisor was killed"))
    Path(job.control["exit"]).unlink()
    Path(job.control["started"]).unlink()
    seal_batch([dataclasses.replace(job, exit_record=None)])
    seal = json.loads(experiment.folder.attempt(1).seal.read_bytes())
    assert "attempts/1/exit.json" not in seal["evidence"]
    assert problems(experiment.folder) == []


def test_a_script_that_removed_its_own_folder_is_sealed(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    outputs(experiment, a="gone soon")
    job = experiment.end()
    shutil.rmtree(experiment.folder.path)
    (sealed,) = seal_batch([job])
    assert sealed.is_new
    seal = json.loads(experiment.folder.attempt(1).seal.read_bytes())
    assert set(seal["evidence"]) == {"attempts/1/order.json", "attempts/1/started", "attempts/1/exit.json"}
    assert seal["artifacts"] == {}
    assert problems(experiment.folder) == []


def test_odd_files_are_sealed_as_what_they_are(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    folder = experiment.folder
    outputs(experiment, **{"caf\udce9": "bytes", "new\nline": "x"})
    (folder.outputs / "latest").symlink_to("caf")
    (folder.outputs / "dangling").symlink_to("/nowhere")
    job = experiment.end()
    os.mkfifo(folder.attempt(1).path / "pipe")
    (folder.attempt(1).path / "odd\udcff").write_bytes(b"x")
    seal_batch([job])
    seal = json.loads(folder.attempt(1).seal.read_bytes())
    assert seal["artifacts"]["outputs/latest"] == {
        "bytes": 3,
        "link": True,
        "sha256": hashlib.sha256(b"caf").hexdigest(),
    }
    assert "outputs/caf\\xe9" in seal["artifacts"]
    assert "attempts/1/odd\\xff" in seal["evidence"]
    assert "attempts/1/pipe" not in seal["evidence"]
    assert problems(folder) == []
    (folder.outputs / "latest").unlink()
    (folder.outputs / "latest").symlink_to("cag")
    assert problems(folder) == [f"{folder.outputs}/latest: was altered"]


def test_a_log_with_a_hole_is_hashed_in_pieces(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    job = experiment.end()
    with experiment.folder.attempt(1).stdout.open("r+b") as stream:
        stream.truncate(64 << 20)
    seal_batch([job])
    assert problems(experiment.folder) == []


# --- resume


def test_a_resume_names_what_it_changed_and_both_seals_hold(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    outputs(experiment, stays="same", changes="old", goes="away")
    seal_batch([experiment.end(ending=Cancelled("ada"))])
    outputs(experiment, changes="new", comes="fresh")
    (experiment.folder.outputs / "goes").unlink()
    seal_batch([experiment.end(2)])
    first, second = (json.loads(experiment.folder.attempt(n).seal.read_bytes()) for n in (1, 2))
    assert [(past["attempt"], past["path"], past["sha256"]) for past in second["superseded"]] == [
        (1, name, first["artifacts"][name]["sha256"]) for name in ("outputs/changes", "outputs/goes")
    ]
    assert second["events"]["bytes"] > first["events"]["bytes"]
    assert problems(experiment.folder) == []
    outputs(experiment, changes="newer")
    seal_batch([experiment.end(3)])
    third = json.loads(experiment.folder.attempt(3).seal.read_bytes())
    assert [(past["attempt"], past["path"]) for past in third["superseded"]] == [(2, "outputs/changes")]
    assert problems(experiment.folder) == []
    assert [line.attempt for line in lines(chain(tmp_path))] == [1, 2, 3]
    outputs(experiment, stays="not the same")
    assert set(problems(experiment.folder)) == {f"{experiment.folder.outputs}/stays: was altered"}


# --- verify


def test_every_flipped_byte_of_a_sealed_folder_is_found(tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    (root / "run.py").write_text("print(1)\n")
    store = CodeStore(tmp_path / "store/code.git")
    tree = store.freeze(root, SimpleNamespace(files=("run.py",))).tree
    experiment = Experiment(tmp_path, spec=structs.replace(SPEC, source=Source(str(root), tree=tree)))
    folder = experiment.folder
    store.checkout(tree, folder.work)
    outputs(experiment, result="0123456789")
    seal_batch([experiment.end(code=store.entries(tree))])
    views = {folder.readme, folder.manifest}
    assert verify_folder(folder, store.entries) == []
    tried = 0
    for path in sorted(path for path in folder.path.rglob("*") if path.is_file() and path not in views):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert verify_folder(folder, store.entries), f"{path} at {at}"
            tried += 1
        path.write_bytes(whole)
    assert tried > 200
    assert verify_folder(folder, store.entries) == []


def test_every_removed_file_of_the_record_is_found(tmp_path: Path) -> None:
    (experiment,) = sealed_lab(tmp_path, 1)
    folder = experiment.folder
    for path in sorted(path for path in folder.path.rglob("*") if path.is_file()):
        if path in (folder.readme, folder.manifest):
            continue
        aside = path.with_name("aside")
        path.rename(aside)
        found = verify_folder(folder) + verify_chain(folder.lab)
        aside.rename(path)
        assert any("is missing" in finding.problem for finding in found), path
    assert verify_lab(folder.lab) == []


def test_swapped_folders_and_files_are_found(tmp_path: Path) -> None:
    one, two, _ = sealed_lab(tmp_path)
    aside = one.folder.path.with_name("aside")

    def swap(left: Path, right: Path) -> None:
        left.rename(aside)
        right.rename(left)
        aside.rename(right)

    for left, right in (
        (one.folder.path, two.folder.path),
        (one.folder.attempt(1).stdout, one.folder.attempt(1).usage),
        (one.folder.attempt(1).seal, two.folder.attempt(1).seal),
        (one.folder.attempts, two.folder.attempts),
        (one.folder.outputs, two.folder.outputs),
    ):
        swap(left, right)
        assert verify_lab(one.folder.lab), left
        swap(left, right)
    assert verify_lab(one.folder.lab) == []


def test_a_seal_rewritten_after_an_edit_is_found_by_the_chain(tmp_path: Path) -> None:
    (experiment,) = sealed_lab(tmp_path, 1)
    folder = experiment.folder
    (folder.outputs / "result").write_text("better")
    seal = json.loads(folder.attempt(1).seal.read_bytes())
    seal["artifacts"]["outputs/result"] = {"bytes": 6, "sha256": hashlib.sha256(b"better").hexdigest()}
    folder.attempt(1).seal.write_text(json.dumps(seal))
    assert problems(folder) == [f"{folder.attempt(1).seal}: is not the one the chain names"]
    assert len(verify_chain(folder.lab)) == 1


def test_every_flipped_byte_of_the_chain_is_found(tmp_path: Path) -> None:
    sealed_lab(tmp_path)
    whole = chain(tmp_path).read_bytes()
    for at in range(0, len(whole), 7):
        chain(tmp_path).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert verify_chain(tmp_path / "labs/main"), at
    chain(tmp_path).write_bytes(whole)
    assert verify_chain(tmp_path / "labs/main") == []


def test_a_line_taken_out_of_the_chain_is_found(tmp_path: Path) -> None:
    made = sealed_lab(tmp_path)
    raw = chain(tmp_path).read_bytes().splitlines(keepends=True)
    chain(tmp_path).write_bytes(raw[0] + raw[2])
    assert "does not follow" in verify_chain(tmp_path / "labs/main")[0].problem
    chain(tmp_path).write_bytes(b"".join(raw[:2]))
    assert verify_chain(tmp_path / "labs/main") == []
    assert problems(made[2].folder) == [f"{made[2].folder.attempt(1).seal}: is not in the lab's chain"]


def test_an_altered_line_does_not_stop_the_next_seal(tmp_path: Path) -> None:
    sealed_lab(tmp_path, 1)
    whole = chain(tmp_path).read_bytes()
    chain(tmp_path).write_bytes(whole.replace(b"EXP-001", b"EXP-009"))
    seal_batch([Experiment(tmp_path, 2).end()])
    assert [finding.problem for finding in verify_chain(tmp_path / "labs/main")] == ["is damaged"]


def test_what_was_added_to_an_attempt_is_found(tmp_path: Path) -> None:
    (experiment,) = sealed_lab(tmp_path, 1)
    (experiment.folder.attempt(1).path / "metrics.jsonl").write_text("{}")
    assert problems(experiment.folder) == [f"{experiment.folder.attempt(1).metrics}: is not in the seal"]


def test_commentary_and_views_may_change_freely(tmp_path: Path) -> None:
    (experiment,) = sealed_lab(tmp_path, 1)
    folder = experiment.folder
    folder.notes.write_text("later thoughts")
    folder.readme.unlink()
    folder.manifest.write_text("{}")
    with folder.events.open("ab") as journal:
        journal.write(b"a resume appends here\n")
    assert problems(folder) == []
    assert read_artifacts(folder) == ()


CHECK = """
import hashlib, json, pathlib, sys
lab = pathlib.Path(sys.argv[1]); prev = "0" * 64; checked = 0
for line in (lab / "chain.jsonl").read_bytes().splitlines(keepends=True):
    entry = json.loads(line)
    folder = lab.parent.parent / entry["folder"]
    seal = (folder / "attempts" / str(entry["attempt"]) / "seal.json").read_bytes()
    assert entry["prev"] == prev and entry["seal"] == hashlib.sha256(seal).hexdigest()
    for name, piece in (json.loads(seal)["evidence"] | json.loads(seal)["artifacts"]).items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == piece["sha256"]
        checked += 1
    prev = hashlib.sha256(line).hexdigest()
print(checked)
"""


def test_a_dozen_lines_of_the_standard_library_check_a_lab(tmp_path: Path) -> None:
    sealed_lab(tmp_path)
    command = [sys.executable, "-I", "-S", "-c", CHECK, str(tmp_path / "labs/main")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "24\n"


# --- cancelled while it waited


def test_cancelled_experiments_are_noted_line_by_line(tmp_path: Path) -> None:
    lab = tmp_path / "labs/new"
    lab.parent.mkdir()
    path, first = append_cancelled(lab, {"run_id": "a"})
    with path.open("ab") as stream:
        stream.write(b'{"run_id":"to')
    again, second = append_cancelled(lab, {"run_id": "b"})
    assert again == path == lab / "cancelled.jsonl"
    assert [json.loads(body_of(line)) for line in path.read_bytes().splitlines()] == [{"run_id": "a"}, {"run_id": "b"}]
    assert (first, second) == (path.stat().st_size // 2, path.stat().st_size)


# --- syncs

SEAL = """
import os
import sys
from pathlib import Path
from labrun.store.seal import append_cancelled, seal_batch
from tests.store.experiments import Experiment
home = Path(sys.argv[1])
jobs = []
for number in range(1, 4):
    experiment = Experiment(home, number)
    (experiment.folder.outputs / "deep").mkdir()
    (experiment.folder.outputs / "deep/result").write_text("x")
    jobs.append(experiment.end())
os.write(1, b"begin\\n")
seal_batch(jobs)
os.write(1, b"sealed\\n")
seal_batch(jobs)
os.write(1, b"again\\n")
append_cancelled(home / "labs/main", {"run_id": "a"})
os.write(1, b"first\\n")
append_cancelled(home / "labs/main", {"run_id": "b"})
os.write(1, b"second\\n")
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts system calls with strace")
def test_a_batch_syncs_each_file_and_folder_once_and_each_chain_once(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "calls"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,sync,syncfs,sync_file_range,write"]
    subprocess.run(
        [*command, "-o", str(log), sys.executable, "-c", SEAL, str(home)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    phases: dict[str, list[str]] = {"": []}
    phase = ""
    for line in log.read_text().splitlines():
        if said := re.search(r'write\(1<.*>, "(\w+)\\n"', line):
            phase = said.group(1)
            phases[phase] = []
        elif re.search(r"\bsync_file_range\(.*, SYNC_FILE_RANGE_WRITE\)", line):
            continue  # a hint to begin writing: waits for nothing and makes nothing durable
        elif synced := re.search(r"\b(\w*sync\w*)\(\d+<([^>]*)>", line):
            assert synced.group(1) == "fsync"
            phases[phase].append(str(Path(synced.group(2)).relative_to(home)))
    assert phases[""] == []
    expected = []
    for number in range(1, 4):
        folder = f"labs/main/2026-11/EXP-{number:03d}-planck-bao"
        evidence = [
            "order.json",
            "started",
            "exit.json",
            "stdout.log",
            "stderr.log",
            "log.idx",
        ]
        expected += [f"{folder}/attempts/1/{name}" for name in (*evidence, "usage.jsonl", "seal.json")]
        expected += [f"{folder}/{name}" for name in ("README.md", "run_manifest.json", "events.jsonl")]
        expected += [f"{folder}/outputs/deep/result", f"{folder}/outputs/deep", f"{folder}/outputs"]
        expected += [f"{folder}/attempts/1", f"{folder}/attempts", folder]
    expected += ["labs/main/2026-11", "labs/main", "labs", "labs/main/chain.jsonl"]
    assert Counter(phases["begin"]) == Counter(expected)
    assert phases["begin"][-1] == "labs/main/chain.jsonl"
    assert phases["sealed"] == []
    assert phases["again"] == ["labs/main/cancelled.jsonl", "labs/main", "labs"]
    assert phases["first"] == ["labs/main/cancelled.jsonl"]


def test_the_journal_says_how_it_ended_before_it_is_sealed(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path)
    seal_batch([experiment.end(ending=Exited(3))])
    kinds = [event["event"] for event in Journal(experiment.folder.events).read_raw()]
    assert kinds[-2:] == ["ended", "checked"]
