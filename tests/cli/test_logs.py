import json
import os
import resource
import subprocess
import sys

import pytest

from labrun.cli.logs import _last_lines
from tests.cli.conftest import LAB, Shell

pytestmark = pytest.mark.timeout(120)

WRITE = """\
import os, sys
for i in range(2000):
    os.write(1, b"out %d \\xff\\n" % i)
os.write(2, b"first\\nlast without newline")
"""


@pytest.fixture(scope="module")
def written(shared: Shell) -> str:
    label = shared.queue(shared.write("write.py", WRITE))
    shared.lab("wait", label)
    return label


def raw(shell: Shell, *args: str) -> tuple[bytes, bytes]:
    done = subprocess.run(
        [*LAB, "logs", *args], cwd=shell.project, env=shell.variables, capture_output=True, timeout=60, check=True
    )
    return done.stdout, done.stderr


OUT = b"".join(b"out %d \xff\n" % i for i in range(2000))
ERR = b"first\nlast without newline"


def test_both_streams_come_back_byte_for_byte(shared: Shell, written: str) -> None:
    assert raw(shared, written) == (OUT, ERR)
    assert raw(shared, "-f", written) == (OUT, ERR)
    assert raw(shared, "--stdout", "--attempt", "1", written) == (OUT, b"")
    assert raw(shared, "--stderr", written) == (ERR, b""), "asked for alone, stderr is data"


def test_tail_gives_the_last_lines_of_each_stream(shared: Shell, written: str) -> None:
    assert raw(shared, "--tail", "2", written) == (b"out 1998 \xff\nout 1999 \xff\n", ERR)
    assert raw(shared, "--tail", "1", written) == (b"out 1999 \xff\n", b"last without newline")
    assert raw(shared, "--tail", "0", written) == (b"", b"")
    assert raw(shared, "--tail", "1999", written)[0] == OUT.split(b"\n", 1)[1]
    assert raw(shared, "--tail", "9999", written)[0] == OUT


def test_json_loses_no_byte(shared: Shell, written: str) -> None:
    pieces = [json.loads(line) for line in shared.lab("logs", "--json", "--stdout", written).stdout.splitlines()]
    assert "".join(piece["text"] for piece in pieces).encode("utf-8", "surrogateescape") == OUT
    assert pieces[0]["offset"] == 0


@pytest.mark.parametrize(
    ("content", "lines", "at"),
    [(b"a\nb\nc\n", 2, 2), (b"a\nb\nc", 1, 4), (b"a\n", 2, None), (b"a\n", 0, 2), (b"", 1, None), (b"\n\n", 1, 1)],
)
def test_last_lines_are_counted_as_tail_does(content: bytes, lines: int, at: int | None) -> None:
    assert _last_lines(content, lines) == at


def test_a_reader_who_leaves_ends_it_quietly(shared: Shell, written: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'{" ".join(LAB)} logs {written} | head -c 5; echo " ${{PIPESTATUS[0]}}"'],
        cwd=shared.project,
        env=shared.variables,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(b"out 0")
    assert done.stdout.split()[-1] in (b"0", b"141")
    assert b"Traceback" not in done.stderr


def test_memory_stays_flat_on_a_large_log_without_a_newline(shared: Shell) -> None:
    size = 64 * 2**20
    script = f"import os\nfor _ in range({size} // 2**20): os.write(1, b'x' * 2**20)\n"
    label = shared.queue(shared.write("large.py", script))
    shared.lab("wait", label)
    peaks = []
    for words in (["--stderr", label], ["-f", label], ["--tail", "3", label]):
        with open(os.devnull, "wb") as sink:  # noqa: PTH123  a device
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            code = (
                "import resource, sys; from labrun.cli.main import main; status = main(sys.argv[1:]);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(status)"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, "logs", *words],
                cwd=shared.project,
                env=shared.variables,
                stdout=sink,
                stderr=subprocess.PIPE,
                timeout=60,
                check=True,
            )
        assert before > 0
        peaks.append(int(done.stderr))
    assert max(peaks) - peaks[0] < 8 * 1024, f"KiB at the peak: {peaks}"
