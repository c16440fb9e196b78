"""Notes on experiments in every state, through the real thing."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LAB, Shell
from tests.helpers import wait_until


def manifest(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "run_manifest.json").read_bytes())
    return found


def sealed(shell: Shell, label: str) -> str:
    shell.lab("wait", label)
    wait_until(lambda: shell.experiment(label)["is_sealed"], 20, "it is sealed")
    return str(shell.experiment(label)["folder"])


def test_a_note_is_kept_beside_the_record_and_the_seal_stays_good(shell: Shell) -> None:
    folder = sealed(shell, label := shell.queue("--", "true"))
    artifacts = manifest(folder)["artifacts"]["discovery_time"]
    assert shell.lab("note", label, "looks", "converged").stdout == f"noted; {label} has 1 note\n"
    shell.lab("annotate", label, "--note", "second look", "--author", "bob")
    told = manifest(folder)
    assert [(each["author"], each["note"]) for each in told["annotations"]][1] == ("bob", "second look")
    assert told["artifacts"]["discovery_time"] == artifacts
    assert "looks converged" in Path(folder, "README.md").read_text()
    assert "second look" in shell.lab("info", label).stdout
    assert shell.lab("list", "--quiet", "--note", "converged").stdout.split() == [label]
    shell.lab("reindex")
    assert shell.lab("list", "--quiet", "--note", "converged").stdout.split() == [label]
    shell.lab("doctor")


def test_notes_on_what_waits_runs_or_was_cancelled_are_kept_too(shell: Shell) -> None:
    running, waiting = shell.queue("--", "sleep", "1000"), shell.queue("--", "true")
    dropped = shell.queue("--", "true")
    shell.wait_step(running, "running")
    for label in (running, waiting, dropped):
        shell.lab("note", label, f"about {label}")
    shell.lab("cancel", dropped, running)
    folder = sealed(shell, waiting)
    assert manifest(folder)["annotations"][0]["note"] == f"about {waiting}"
    assert Path(folder, "notes.jsonl").exists()
    assert f"about {running}" in shell.lab("narrative", running).stdout
    assert f"about {dropped}" in shell.lab("narrative", dropped).stdout
    shell.lab("note", dropped, "once more")
    assert len(shell.json("narrative", dropped)["told"]["annotations"]) == 2


def test_a_text_comes_from_words_a_file_or_standard_input(shell: Shell) -> None:
    label = shell.queue("--", "true")
    (shell.project / "note.txt").write_text("first\nsecond\n")
    shell.lab("note", label, "-F", "note.txt")
    piped = subprocess.run(
        [*LAB, "note", label], input=b"piped\n", env=shell.variables, check=True, capture_output=True, timeout=60
    )
    assert piped.stdout.endswith(b"2 notes\n")
    texts = [each["text"] for each in shell.json("narrative", label)["told"]["annotations"]]
    assert texts == ["first\nsecond", "piped"]


def test_escape_sequences_in_a_note_are_inert(shell: Shell) -> None:
    folder = sealed(shell, label := shell.queue("--", "true"))
    shell.lab("note", label, "red \x1b[31malert\x1b[2J")
    shell.lab("narrative", label, "-F", shell.write("form.md", "## Intent\nlook\n"), "--author", "b\x1b[2J")
    shell.lab("note", label, "lines\nof it", "--author", "c\x1b[2J")
    for told in (shell.lab("info", label).stdout, shell.lab("narrative", label).stdout):
        assert "\x1b" not in told
        assert "\\x1b[31malert" in told
    assert "\x1b" not in Path(folder, "README.md").read_text()


def test_a_torn_last_line_is_cut_off_and_the_others_stay(shell: Shell) -> None:
    folder = sealed(shell, label := shell.queue("--", "true"))
    shell.lab("note", label, "whole")
    with Path(folder, "notes.jsonl").open("ab") as torn:
        torn.write(b'{"entry":"annotation","te')
    assert "whole" in shell.lab("narrative", label).stdout
    shell.lab("note", label, "after")
    assert [each["text"] for each in shell.json("narrative", label)["told"]["annotations"]] == ["whole", "after"]


def test_an_altered_line_is_counted_and_hides_no_other(shell: Shell) -> None:
    folder = sealed(shell, label := shell.queue("--", "true"))
    for text in ("one", "two", "three"):
        shell.lab("note", label, text)
    notes = Path(folder, "notes.jsonl")
    notes.write_bytes(notes.read_bytes().replace(b'"two"', b'"TWO"'))
    told = shell.lab("narrative", label).stdout
    assert "three" in told
    assert "TWO" not in told
    assert "1 line of notes.jsonl" in told


def test_it_is_quiet_and_speaks_json_when_asked(shell: Shell) -> None:
    label = shell.queue("--", "true")
    assert shell.lab("note", "--quiet", label, "x").stdout == ""
    assert [each["text"] for each in shell.json("note", label, "y")["annotations"]] == ["x", "y"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["  "], "note"),
        (["x", "-F", "y"], "either words or a file"),
        (["-F", "nowhere.txt"], "nowhere.txt"),
        ([], "note"),
    ],
    ids=str,
)
def test_a_note_without_a_text_is_refused(shell: Shell, words: list[str], word: str) -> None:
    label = shell.queue("--", "true")
    assert word in shell.lab("note", label, *words, status=2).stderr


def test_ten_megabytes_are_a_file_and_no_note(shell: Shell) -> None:
    label = shell.queue("--", "true")
    (shell.project / "long.txt").write_text("x" * 10_000_000)
    told = shell.lab("note", label, "-F", "long.txt", status=2).stderr
    assert "outputs/" in told
    assert shell.json("narrative", label)["told"].get("annotations", []) == []


def test_bytes_that_are_no_text_are_refused(shell: Shell) -> None:
    label = shell.queue("--", "true")
    (shell.project / "bytes").write_bytes(b"\xff\xfe")
    assert "UTF-8" in shell.lab("note", label, "-F", "bytes", status=2).stderr


def test_the_answer_names_the_experiment_that_was_meant(shell: Shell) -> None:
    label = shell.queue("--name", "mask", "--", "true")
    assert shell.lab("note", "latest", "seen").stdout == f"noted; {label} has 1 note\n"
    assert shell.lab("note", "mask", "again").stdout == f"noted; {label} has 2 notes\n"
    assert shell.lab("outcome", "latest", "refutes").stdout == f"{label}: refutes\n"
