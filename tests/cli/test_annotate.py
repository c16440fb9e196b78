from tests.cli.conftest import Shell


def test_it_is_a_note_by_another_name(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("annotate", label, "--note", "seen", "--author", "ada")
    (note,) = shell.json("narrative", label)["told"]["annotations"]
    assert (note["text"], note["author"]) == ("seen", "ada")
    shell.lab("annotate", label, status=2)
