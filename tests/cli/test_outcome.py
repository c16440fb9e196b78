import json
from pathlib import Path

from tests.cli.conftest import Shell
from tests.helpers import wait_until


def test_what_it_showed_is_kept_and_never_changes_how_it_ended(shell: Shell) -> None:
    label = shell.queue("--hypothesis", "it is so", "--", "false")
    shell.lab("wait", label, status=1)
    wait_until(lambda: shell.experiment(label)["is_sealed"], 20, "it is sealed")
    shell.lab("outcome", label, "inconclusive", "--outcome", "too noisy", "--learned", "mask first")
    shell.lab("outcome", label, "Refuted", "--learned", "less noise", "--next", "again with the mask")
    one = shell.experiment(label)
    assert (one["status"], one["verdict"]) == ("failed", "refutes")
    told = json.loads(Path(one["folder"], "run_manifest.json").read_bytes())["narrative"]
    assert (told["hypothesis"], told["validation_status"], told["outcome"]) == ("it is so", "refutes", "too noisy")
    assert (told["learnings"], told["next_steps"]) == (["mask first", "less noise"], ["again with the mask"])
    assert "Verdict: refutes" in Path(one["folder"], "README.md").read_text()
    assert "refutes" in shell.lab("info", label).stdout
    shell.lab("doctor")


def test_a_verdict_nobody_knows_is_refused_with_the_nearest(shell: Shell) -> None:
    label = shell.queue("--", "true")
    assert "did you mean `validates`" in shell.lab("outcome", label, "validate", status=2).stderr
    assert "--outcome" in shell.lab("outcome", label, status=2).stderr
