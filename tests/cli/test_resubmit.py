import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_the_same_runs_again_as_a_new_experiment(shared: Shell) -> None:
    script = shared.write("same.py", "import os, sys\nprint(sys.argv[1:], os.environ.get('A'), 1)\n")
    label = shared.queue("--name", "twice", script, "--lr", "1")
    shared.lab("wait", label)
    shared.write("same.py", "print(2)\n")
    said = shared.lab("resubmit", "--env", "A=now", label).stdout
    new, _, rest = said.partition(" ")
    assert rest.startswith(f"queued from {label}, same code: ")
    shared.lab("wait", new)
    assert shared.lab("logs", new).stdout == "['--lr', '1'] now 1\n"
    one, other = shared.experiment(label), shared.experiment(new)
    assert (other["parent"], other["name"], other["definition"]) == (one["run_id"], "twice", one["definition"])
    newest = shared.lab("resubmit", "--quiet", "--code", "now", label).stdout.strip()
    shared.lab("wait", newest)
    assert shared.lab("logs", newest).stdout == "2\n"


def test_programs_get_the_whole_answer(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    answer = shared.json("resubmit", label)
    assert (answer["label"], answer["code"], answer["accepted"]["experiment"]["status"]) == (label, "same", "created")


def test_what_is_not_there_is_refused(shared: Shell) -> None:
    refused = shared.lab("resubmit", "EXP-999", status=1)
    assert "no experiment `EXP-999`" in refused.stderr
    assert shared.lab("resubmit", "--code", "old", "EXP-999", status=2).stdout == ""
