import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_the_same_experiment_goes_on_with_its_next_attempt(shared: Shell) -> None:
    script = "import os, pathlib, sys\nmark = pathlib.Path('mark')\nif mark.exists():\n    print(os.environ.get('A'))\n"
    label = shared.queue(shared.write("twice.py", script + "    sys.exit(0)\nmark.touch()\nsys.exit(4)\n"))
    shared.lab("wait", label, status=1)
    assert shared.lab("resume", "--env", "A=now", label).stdout.startswith(f"{label} goes on with attempt 2")
    shared.lab("wait", label)
    assert shared.lab("logs", label).stdout == "now\n"
    assert shared.lab("logs", "--attempt", "1", label).stdout == ""
    refused = shared.lab("resume", label, status=1).stderr
    assert refused.startswith(f"lab: cannot resume {label}: it is succeeded")
