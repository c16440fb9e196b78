"""`lab run` and its output; what it does with signals stands in `test_run.py`."""

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)

CHATTY = """\
import os, time
for part in range(3):
    for line in range(2000):
        os.write(1, b"line %d of part %d\\n" % (line, part))
    time.sleep(1.3)
"""


def test_who_reads_too_slowly_is_told_what_the_quota_cut_out_meanwhile(served: Shell) -> None:
    served.lab("init")
    (served.home / "home.toml").write_text("log_quota_bytes = 65536\n")
    watcher = served.start("run", served.write("chatty.py", CHATTY))
    assert watcher.stdout is not None
    first = watcher.stdout.read(100)
    served.lab("wait", "latest")  # our pipe is full meanwhile
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0
    seen = (first + out).decode()
    assert seen.startswith("line 0 of part 0\n")
    assert seen.endswith("line 1999 of part 2\n")
    assert "\0" not in seen
    assert err.decode().count("of stdout are left out here") >= 1
    lines = seen.splitlines()
    assert len(lines) == len(set(lines)), "nothing came twice"
