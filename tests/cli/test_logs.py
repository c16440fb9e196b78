import json
import os
import resource
import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest

from labrun.cli.logs import since_moment
from labrun.core.errors import BadValue
from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window

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


NOON = 1_700_000_000.0
"""Some moment; its time of day is the reader's own."""


def test_since_is_read_as_people_write_it() -> None:
    assert since_moment("90s", NOON) == NOON - 90
    assert since_moment("2h", NOON) == NOON - 7200
    assert since_moment("2023-11-14T22:00:00+00:00", NOON) == 1_699_999_200.0
    assert since_moment("2023-11-14 22:00:00Z", NOON) == 1_699_999_200.0
    assert since_moment("52w", 1e6) == 0.0, "there is nothing before 1970"
    local = datetime.fromtimestamp(NOON).astimezone()
    before = local - timedelta(minutes=5)
    assert 299 <= NOON - since_moment(f"{before:%H:%M:%S}", NOON) <= 301
    later = local + timedelta(minutes=5)
    yesterday = NOON - since_moment(f"{later:%H:%M}", NOON)
    assert 22 * 3600 < yesterday < 26 * 3600, "a time of day that has not come yet was yesterday"


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2023-13-01", "-5m", "1e9", "12:5", "2023-11-14T"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        since_moment(text, NOON)
    assert "10m" in caught.value.message


def test_a_wrong_wish_is_refused_before_anything_is_asked(shared: Shell) -> None:
    assert "yesterday" in shared.lab("logs", "--since", "yesterday", status=2).stderr
    assert "--raw" in shared.lab("logs", "--timestamps", "--raw", status=2).stderr
    assert shared.json("logs", "--timestamps", status=2)["error"]["code"] == "bad_value"


BARS = """\
import sys
from tqdm import tqdm
print("\\x1b[31mloading\\x1b[0m \\x1b]0;title\\x07data")
for epoch in tqdm(range(3), desc="epochs", mininterval=0):
    for step in tqdm(range(20), desc="steps", mininterval=0, leave=False):
        pass
print("done", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def bars(shared: Shell) -> str:
    label = shared.queue(shared.write("bars.py", BARS))
    shared.lab("wait", label)
    return label


def test_into_a_pipe_go_bytes_unless_the_view_is_asked_for(shared: Shell, bars: str) -> None:
    plain = shared.lab("logs", bars).stdout
    assert plain == "\x1b[31mloading\x1b[0m \x1b]0;title\x07data\n"
    assert shared.lab("logs", "--stderr", bars).stdout.count("steps") > 50
    seen = shared.lab("logs", "--view", bars)
    assert seen.stdout == "loading data\n", "no colours into a pipe"
    rows = seen.stderr.splitlines()
    assert rows[0].startswith("epochs: 100%|")
    assert rows[-1] == "done"
    assert len(rows) == 2


def test_rows_begin_with_when_they_were_written(shared: Shell, bars: str) -> None:
    before = datetime.now().astimezone() - timedelta(minutes=5)
    seen = shared.lab("logs", "--timestamps", bars)
    lines = [*seen.stdout.splitlines(), *seen.stderr.splitlines()]
    assert [line[21:28] for line in lines] == ["loading", "epochs:", "done"]
    assert all(datetime.fromisoformat(line[:19]).astimezone() > before for line in lines)


def test_the_tail_of_a_view_counts_its_rows(shared: Shell, bars: str) -> None:
    seen = shared.lab("logs", "--view", "--stderr", "--tail", "2", bars).stdout.splitlines()
    assert [row.split(":")[0] for row in seen] == ["epochs", "done"]
    assert shared.lab("logs", "--view", "--stderr", "--tail", "1", bars).stdout == "done\n"
    assert shared.lab("logs", "--view", "--stderr", "--tail", "0", bars).stdout == ""


def test_since_leaves_out_what_is_older(shared: Shell, bars: str) -> None:
    assert shared.lab("logs", "--since", "1h", bars).stdout.count("loading") == 1
    after = f"{datetime.now().astimezone() + timedelta(days=1):%Y-%m-%d}"
    assert shared.lab("logs", "--since", after, bars).stdout == ""


def test_the_place_where_the_quota_cut_is_named(served: Shell) -> None:
    served.lab("init")
    (served.home / "home.toml").write_text("log_quota_bytes = 65536\n")
    script = """\
import os, time
for part in range(3):
    for line in range(2000):
        os.write(1, b"line %d of part %d\\n" % (line, part))
    time.sleep(1.3)
"""
    label = served.queue(served.write("chatty.py", script))
    served.lab("wait", label)
    for words in (["logs", label], ["logs", "-f", label]):
        done = served.lab(*words)
        assert done.stdout.startswith("line 0 of part 0\n")
        assert done.stdout.endswith("line 1999 of part 2\n")
        assert "\0" not in done.stdout
        assert "of stdout are left out here" in done.stderr
    view = served.lab("logs", "--view", label).stdout.splitlines()
    assert sum("of stdout are left out here" in row for row in view) == 1
    assert "left out" not in view[0] + view[-1]
    pieces = [json.loads(line) for line in served.lab("logs", "--json", "--stdout", label).stdout.splitlines()]
    (gap,) = [piece for piece in pieces if "missing_bytes" in piece]
    after = pieces[pieces.index(gap) + 1]
    assert after["offset"] == gap["offset"] + gap["missing_bytes"]


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


@pytest.mark.parametrize(
    "size",
    [64 * 2**20, pytest.param(2 * 2**30, marks=[pytest.mark.night, pytest.mark.timeout(900)])],
    ids=["64M", "2G"],
)
def test_memory_stays_flat_on_a_large_log_without_a_newline(shared: Shell, size: int) -> None:
    script = f"import os\nfor _ in range({size} // 2**20): os.write(1, b'x' * 2**20)\n"
    label = shared.queue(shared.write("large.py", script))
    shared.lab("wait", "--quiet", label)
    peaks = []
    for words in (["--stderr", label], ["-f", label], ["--tail", "3", label], ["-f", "--view", label]):
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
                timeout=400,
                check=True,
            )
        assert before > 0
        peaks.append(int(done.stderr))
    assert max(peaks) - peaks[0] < 8 * 1024, f"KiB at the peak: {peaks}"


SPARSE = """\
import os
os.ftruncate(1, 9 * 2**30)
for i in range(50):
    os.write(1, b"line %d\\n" % i)
"""


@pytest.mark.night
def test_a_log_of_nine_gigabytes_opens_at_its_tail_at_once(shared: Shell) -> None:
    label = shared.queue(shared.write("sparse.py", SPARSE))
    shared.lab("wait", label)
    for words in ([], ["--tail", "2"], ["--tail", "2", "--timestamps"]):
        window = Window([*LAB, "logs", *words, label], shared.project, shared.variables)
        try:
            begun = time.monotonic()
            window.wait("line 49")
            assert window.wait_exit() == 0
            assert time.monotonic() - begun < 10, "it was not read from its beginning"
        finally:
            window.close()
