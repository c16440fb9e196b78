"""`log_metric` as scripts use it: in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until

Lines = list[dict[str, Any]]


def script(code: str, path: Path | str | None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script with or without `$LAB_METRICS`."""
    variables = {"PATH": os.environ["PATH"]} | ({"LAB_METRICS": str(path)} if path is not None else {})
    command = [sys.executable, "-c", f"from labrun import log_metric\n{code}"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False, **options)


def lines(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_call_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    done = script("log_metric('loss', 0.25, 3, 12.5)\nlog_metric('val/acc', 1, step=1.5)\nlog_metric('x', True)", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text().splitlines()[0] == '{"name":"loss","value":0.25,"step":3,"time":12.500000}'
    _, second, third = lines(path)
    assert (second["name"], second["value"], second["step"]) == ("val/acc", 1, 1.5)
    assert (third["value"], "step" in third) == (1.0, False)
    assert second["time"] > 1e9


def test_outside_labrun_it_does_nothing(tmp_path: Path) -> None:
    done = script("log_metric(object(), [], {}, 'x')\nlog_metric('loss', 1)", None, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_it_loads_nothing_but_itself() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom labrun import log_metric\nprint(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"labrun", "labrun.metrics", "_json", "__future__"}


def test_the_file_alone_serves_a_script_without_labrun(tmp_path: Path) -> None:
    import labrun.metrics

    (tmp_path / "metrics.py").write_text(Path(labrun.metrics.__file__).read_text())
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.path[0:0] = ['.']\nimport metrics\n"]
    command[-1] += "metrics.log_metric('a', 1)"
    subprocess.run(command, cwd=tmp_path, env={"LAB_METRICS": str(tmp_path / "m.jsonl")}, check=True)
    assert lines(tmp_path / "m.jsonl")[0]["value"] == 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("float('nan')", "NaN"),
        ("float('inf')", "Infinity"),
        ("-float('inf')", "-Infinity"),
        ("2**62", 2**62),
        ("2**70", float(2**70)),
        ("__import__('fractions').Fraction(1, 4)", 0.25),
        ("__import__('decimal').Decimal('1e-3')", 0.001),
        ("__import__('numpy').float64(0.1)", 0.1),
        ("__import__('numpy').float32(0.5)", 0.5),
        ("__import__('numpy').array([0.5])[0]", 0.5),
        ("__import__('numpy').int64(7)", 7.0),
    ],
)
def test_whatever_is_a_number_is_kept_as_one(tmp_path: Path, value: str, kept: object) -> None:
    path = tmp_path / "metrics.jsonl"
    done = script(f"log_metric('x', {value})", path)
    assert done.stderr == ""
    assert lines(path)[0]["value"] == kept


@pytest.mark.parametrize("value", ["'0.5'", "None", "[1, 2]", "10**400", "object()", "1j", "b'1'", "'x' * 10**6"])
def test_what_is_no_number_is_told_and_does_not_end_the_script(tmp_path: Path, value: str) -> None:
    path = tmp_path / "metrics.jsonl"
    done = script(f"for i in range(3): log_metric('x', {value})\nprint('goes on')", path)
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert done.stderr.count("is not a number and counts as rejected") == 1
    assert all(isinstance(line["value"], str) and len(line["value"]) <= 80 for line in lines(path))


def test_odd_names_steps_and_times_do_not_end_the_script(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    names = "['', 'a\\nb', '\\x00', '\\udc80', '\\x1b[31m', '\"\\\\', 'é😀', 7, None, ['list'], 'n' * 10**6]"
    done = script(
        f"for name in {names}: log_metric(name, 1)\nlog_metric('s', 1, step='x')\n"
        "log_metric('s', 1, step=float('nan'))\nlog_metric('t', 1, time='noon')\nlog_metric('last', 1, step=-3)",
        path,
    )
    assert done.returncode == 0
    found = lines(path)
    assert [line["name"] for line in found[:10]][1:7] == ["a\nb", "\0", "\udc80", "\x1b[31m", '"\\', "é😀"]
    assert max(len(line["name"]) for line in found) == 600
    assert [("step" in line) for line in found if line["name"] == "s"] == [False, False]
    assert found[-1] == {"name": "last", "value": 1, "step": -3, "time": found[-1]["time"]}
    assert "a step that is not a finite number is left out" in done.stderr
    assert "a metric is not kept: ValueError" in done.stderr


def test_threads_and_forked_processes_share_the_file_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = """
import os, threading
def work(name):
    for i in range(500): log_metric(name * 20, i / 7, i)
log_metric("first", 0)
threads = [threading.Thread(target=work, args=(c,)) for c in "abcd"]
for thread in threads: thread.start()
children = []
for c in "efgh":
    pid = os.fork()
    if pid == 0:
        work(c)
        os._exit(0)  # as multiprocessing's children leave: nothing at exit is run
    children.append(pid)
for thread in threads: thread.join()
for pid in children: os.waitpid(pid, 0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"from labrun import log_metric\n{code}"],
        env={"LAB_METRICS": str(path)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stderr == b""
    found = lines(path)
    assert len(found) == 1 + 8 * 500
    for c in "abcdefgh":
        assert [line["step"] for line in found if line["name"] == c * 20] == list(range(500))


def test_a_kill_loses_no_call_that_returned(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = "import itertools\nfor i in itertools.count():\n    log_metric('i', i, i)\n    print(i, flush=True)"
    variables = {"LAB_METRICS": str(path)}
    with (tmp_path / "told").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from labrun import log_metric\n{code}"], stdout=told, env=variables
        )
        wait_until(lambda: (tmp_path / "told").stat().st_size > 1000, 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
    returned = (tmp_path / "told").read_text().split("\n")[-2]
    assert [line["step"] for line in lines(path)][: int(returned) + 1] == list(range(int(returned) + 1))


def test_a_closed_descriptor_is_opened_anew_and_never_somebody_elses(tmp_path: Path) -> None:
    path, other = tmp_path / "metrics.jsonl", tmp_path / "other"
    code = f"""
import os
log_metric("a", 1)
os.closerange(3, 100)  # as a daemon does
fd = os.open({str(other)!r}, os.O_WRONLY | os.O_CREAT)
assert fd == 3, fd
log_metric("a", 2)
os.closerange(3, 100)
log_metric("a", 3)
"""
    assert script(code, path).returncode == 0
    assert [line["value"] for line in lines(path)] == [1, 2, 3]
    assert other.read_bytes() == b""


def test_a_full_disk_costs_the_point_and_is_told_once() -> None:
    done = script("for i in range(5): log_metric('a', i)\nprint('goes on')", "/dev/full")
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert (
        done.stderr == "labrun: a metric is not kept: OSError: [Errno 28] No space left on device; the script goes on\n"
    )


def test_a_line_cut_short_by_a_full_disk_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = """
import resource
log_metric("whole", 1, 1, 1)
size = __import__("os").path.getsize(__import__("os").environ["LAB_METRICS"])
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
log_metric("cut", 2, 2, 2)
log_metric("lost", 3, 3, 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log_metric("after", 4, 4, 4)
"""
    done = script(code, path)
    assert done.returncode == 0
    first, cut, after = path.read_text().splitlines()
    assert (json.loads(first)["name"], cut, json.loads(after)["name"]) == ("whole", '{"name":"c', "after")


@pytest.mark.parametrize("path", ["/no/such/folder/metrics.jsonl", "/", "\\0"])
def test_a_place_that_cannot_be_written_does_not_end_the_script(path: str, tmp_path: Path) -> None:
    code = "import sys\nsys.stderr.close()\nlog_metric('a', 1)" if path == "/" else "log_metric('a', 1)"
    done = script(f"{code}\nprint('goes on')", path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_an_attribute_nobody_knows_is_an_attribute_error() -> None:
    import labrun

    with pytest.raises(AttributeError, match="no attribute 'log_metrics'"):
        labrun.log_metrics  # noqa: B018
