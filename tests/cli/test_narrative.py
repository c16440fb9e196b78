"""The narrative as people see it, and through a real editor."""

import re
from pathlib import Path

from tests.cli.conftest import Shell


def editor(shell: Shell, body: str) -> dict[str, str]:
    """A program that edits the form."""
    path = shell.project.parent / "editor"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return {"EDITOR": str(path)}


def test_an_editor_changes_the_narrative(shell: Shell) -> None:
    label = shell.queue("--hypothesis", "flat", "--", "true")
    shell.lab(
        "narrative", label, "--edit", **editor(shell, "sed -i 's/^flat$/open/' \"$1\"; echo 'late thought' >> \"$1\"")
    )
    told = shell.lab("narrative", label).stdout
    for words in ("flat", "open", "late thought"):
        assert words in told
    assert shell.json("narrative", label)["narrative"]["hypothesis"] == "flat", "what was sealed stays"
    assert "nothing changed" in shell.lab("narrative", label, "--edit", **editor(shell, "true")).stderr


def kept(told: str) -> Path:
    """The file that an error names."""
    return Path(re.findall(r"-F (\S+\.md)", told)[-1])


def test_a_form_with_an_error_is_kept_and_given_again(shell: Shell) -> None:
    label = shell.queue("--", "true")
    bad = editor(shell, "printf 'a thought\\n## Nonsense\\n' >> \"$1\"")
    path = kept(shell.lab("narrative", label, "--edit", status=2, **bad).stderr)
    assert "## Nonsense" in path.read_text()
    path.write_text(path.read_text().replace("## Nonsense\n", ""))
    assert "a thought" in shell.lab("narrative", label, "-F", str(path), "--author", "ada").stdout
    (note,) = shell.json("narrative", label)["told"]["annotations"]
    assert (note["text"], note["author"]) == ("a thought", "ada")
    path.unlink()


def test_a_text_the_server_does_not_take_is_kept(shell: Shell) -> None:
    label = shell.queue("--", "true")
    long = editor(shell, "head -c 300000 /dev/zero | tr '\\0' x >> \"$1\"")
    path = kept(shell.lab("narrative", label, "--edit", status=2, **long).stderr)
    assert "x" * 300_000 in path.read_text()
    path.unlink()


def test_a_text_that_is_not_utf8_is_kept(shell: Shell) -> None:
    label = shell.queue("--", "true")
    odd = editor(shell, "printf '\\377\\n' >> \"$1\"")
    told = shell.lab("narrative", label, "--edit", status=2, **odd).stderr
    assert "UTF-8" in told
    assert b"\xff" in kept(told).read_bytes()
    kept(told).unlink()


def test_what_is_taken_out_stays_and_is_named(shell: Shell) -> None:
    label = shell.queue("--hypothesis", "flat", "--", "true")
    told = shell.lab("narrative", label, "--edit", **editor(shell, "sed -i '/^flat$/d' \"$1\""))
    assert "nothing was taken back below Hypothesis" in told.stderr
    assert "flat" in told.stdout


def test_it_shows_that_nothing_was_said_and_the_verdict_alone_when_quiet(shell: Shell) -> None:
    label = shell.queue("--", "true")
    assert "nothing was said" in shell.lab("narrative", label).stdout
    assert shell.lab("narrative", "--quiet", label).stdout == ""
    shell.lab("outcome", label, "partial")
    assert shell.lab("narrative", "--quiet", label).stdout == "partial\n"


def test_it_takes_a_form_or_an_editor(shell: Shell) -> None:
    label = shell.queue("--", "true")
    assert "either" in shell.lab("narrative", label, "--edit", "-F", "x.md", status=2).stderr
    assert "x.md" in shell.lab("narrative", label, "-F", "x.md", status=2).stderr
    shell.lab("narrative", "EXP-999", status=1)


def test_an_editor_that_fails_or_is_not_there_is_told(shell: Shell) -> None:
    label = shell.queue("--", "true")
    path = kept(shell.lab("narrative", label, "--edit", status=2, **editor(shell, "exit 1")).stderr)
    assert "## Hypothesis" in path.read_text()
    path.unlink()
    shell.lab("narrative", label, "--edit", status=2, EDITOR="/no/such/editor")
