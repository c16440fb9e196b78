import json

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_findings_are_listed_with_what_to_do(shared: Shell) -> None:
    findings = json.loads(
        shared.lab("doctor", "--json", status=_expected(shared)).stdout,
    )["findings"]
    assert {"home", "python", "disk"} <= {finding["check"] for finding in findings}
    text = shared.lab("doctor", status=_expected(shared)).stdout
    assert "ok   home: " in text
    for finding in findings:
        assert finding["is_good"] or finding["hint"], finding


def _expected(shell: Shell) -> int:
    """Whether this machine lets memory be enforced is not ours to say."""
    from subprocess import run

    from tests.cli.conftest import LAB

    return run([*LAB, "doctor"], env=shell.variables, capture_output=True, check=False).returncode


def test_without_a_server_it_says_why_none_can_be_started(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "thesis.tex").touch()
    done = shell.lab("doctor", status=1)
    assert "BAD  server: " in done.stdout
    shell.variables["LAB_HOME"] = str(shell.home / "thesis.tex")
    assert "is no directory" in shell.lab("doctor", "--quiet", status=1).stdout
