import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labrun.core.errors import HomeBusy, HomeUnusable
from labrun.store.home import Home, LabelMark, init_home, lock_home, open_home
from tests.helpers import wait_until


class Probe:
    """Says that everything lies on one kind of file system, except what is named."""

    def __init__(self, kind: str, **exceptions: str) -> None:
        self.kind = kind
        self.exceptions = exceptions

    def __call__(self, path: Path) -> str:
        return next((kind for name, kind in self.exceptions.items() if name in path.parts), self.kind)


def why_refused(path: Path, **options: object) -> str:
    with pytest.raises(HomeUnusable) as refusal:
        open_home(path, **options)  # type: ignore[arg-type]
    assert refusal.value.hint
    return f"{refusal.value.message}; {refusal.value.hint}"


# --- making


def test_the_first_opening_makes_a_home_that_opens_again(tmp_path: Path) -> None:
    home = open_home(tmp_path / "new" / "lab")
    assert open_home(home.root) == home
    assert home.state == home.root
    facts = json.loads(home.facts.read_bytes())
    assert facts["format"] == 1
    assert facts["label_high_water"] == 0
    assert len(facts["home_id"]) == 16
    assert home.queue.exists()


def test_a_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    for path in (home.root, home.labs, home.control, home.store, home.env, home.queue, home.facts):
        assert path.stat().st_mode & 0o077 == 0, path


def test_making_twice_changes_nothing(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    before = home.facts.read_bytes()
    assert init_home(tmp_path / "lab") == home
    assert home.facts.read_bytes() == before


def test_settings_may_be_written_before_the_home(tmp_path: Path) -> None:
    (tmp_path / "home.toml").write_text("slots = 2\n")
    assert open_home(tmp_path).facts.exists()


KILLED = """
import sys
from pathlib import Path
from labrun.store.home import init_home
init_home(Path(sys.argv[1]))
"""


def test_a_home_whose_making_was_killed_anywhere_can_be_made(tmp_path: Path) -> None:
    calls = "mkdir,openat,fsync,fdatasync,rename,pwrite64,write,unlink"
    killed = 0
    for call in calls.split(","):
        for number in (1, 2, 3, 5):
            root = tmp_path / f"{call}-{number}" / "lab"
            inject = f"inject={call}:signal=KILL:when={number}"
            done = _killed_making(root, call, inject)
            if done is None:
                pytest.skip("strace is not installed")
            killed += done
            home = open_home(root)
            assert open_home(root) == home
    assert killed > 10


def _killed_making(root: Path, call: str, inject: str) -> bool | None:
    root.parent.mkdir()
    command = ["strace", "-f", "-o", "/dev/null", "-P", str(root), "-P", str(root.parent)]
    for name in ("labs", "control", "store", "store/env", "home.json", "queue.sqlite", "queue.sqlite.new"):
        command += ["-P", str(root / name)]
    command += ["-e", f"trace={call}", "-e", inject, sys.executable, "-c", KILLED, str(root)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    except FileNotFoundError:
        return None


MAKE = """
import sys
from pathlib import Path
from labrun.store.home import init_home, lock_home
root = Path(sys.argv[1])
print("up", flush=True)
sys.stdin.readline()
print(init_home(root, Path(sys.argv[2]) if len(sys.argv) > 2 else None).facts.read_text(), flush=True)
"""


@pytest.mark.parametrize("state", [(), ("state",)])
def test_a_home_that_several_make_at_once_is_made_once(tmp_path: Path, state: tuple[str, ...]) -> None:
    for turn in range(5):
        here = tmp_path / str(turn)
        command = [sys.executable, "-c", MAKE, str(here / "lab"), *(str(here / name) for name in state)]
        makers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(4)
        ]
        for maker in makers:
            assert maker.stdout is not None
            maker.stdout.readline()
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write(b"go\n")
            maker.stdin.flush()
        said = [maker.communicate() for maker in makers]
        assert [maker.returncode for maker in makers] == [0] * 4, said
        assert len({facts for facts, _ in said}) == 1, "the last one wrote its own over the first one's"


def test_who_comes_second_waits_for_the_first_and_opens_what_that_one_made(tmp_path: Path) -> None:
    first = init_home(tmp_path / "lab")
    facts = first.facts.read_bytes()
    first.facts.unlink()
    with lock_home(first), ThreadPoolExecutor(1) as pool:
        second = pool.submit(init_home, tmp_path / "lab")
        with pytest.raises(TimeoutError):
            second.result(0.3)
        first.facts.write_bytes(facts)
        assert second.result(30) == first
    assert first.facts.read_bytes() == facts


# --- refusals


def test_a_directory_with_other_things_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "thesis.tex" in why_refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"], "nothing was made"


def test_experiments_without_home_json_are_not_taken_for_a_half_made_home(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    (home.labs / "main").mkdir()
    home.facts.unlink()
    assert "labs/main" in why_refused(home.root)


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "lab").touch()
    assert "is a file" in why_refused(tmp_path / "lab")
    assert "is a file" in why_refused(tmp_path / "lab" / "below")


def test_a_home_of_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    home.facts.write_text('{"format": 7, "shape": "unknown"}')
    assert "format 7" in why_refused(home.root)
    assert "knows 1" in why_refused(home.root)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": "one"}', "\0" * 100])
def test_a_damaged_home_json_is_refused(tmp_path: Path, content: str) -> None:
    home = init_home(tmp_path / "lab")
    home.facts.write_text(content)
    assert "damaged" in why_refused(home.root)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_somebody_elses_home_is_refused(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    os.chown(home.root, 12345, -1)
    assert "user id 12345" in why_refused(home.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_write_permission_is_refused(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab")
    home.root.chmod(0o500)
    try:
        assert "may not write" in why_refused(home.root)
    finally:
        home.root.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_home_on_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        init_home(disk / "lab")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "read-only" in why_refused(disk / "lab")
        assert "Read-only" in why_refused(disk / "other")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_home_on_a_network_is_refused_with_the_command_that_helps(tmp_path: Path, kind: str) -> None:
    text = why_refused(tmp_path / "lab", probe=Probe(kind))
    assert kind in text
    assert "lab init --state DIR" in text
    assert not (tmp_path / "lab" / "home.json").exists()


# --- state on a local disk


def test_a_home_on_a_network_works_with_its_state_on_a_local_disk(tmp_path: Path) -> None:
    probe = Probe("nfs4", local="ext4")
    root, state = tmp_path / "nfs" / "lab", tmp_path / "local" / "state"
    state.parent.mkdir()
    home = init_home(root, state, probe)
    assert open_home(root, probe) == home
    assert json.loads(home.facts.read_bytes())["state"] == str(state)
    for path in (home.queue, home.index, home.control, home.socket, home.lock, home.reserve):
        assert path.parent == state
    for path in (home.labs, home.code, home.env):
        assert path.is_relative_to(root)
    assert not (root / "queue.sqlite").exists()


def test_a_state_directory_on_a_network_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="nfs4"):
        init_home(tmp_path / "lab", tmp_path / "state", Probe("nfs4"))


def test_a_home_whose_state_is_on_another_host_is_refused(tmp_path: Path) -> None:
    home = init_home(tmp_path / "lab", tmp_path / "state")
    home.state.rename(tmp_path / "elsewhere")
    assert "not on this host" in why_refused(home.root)


def test_two_homes_never_share_a_state_directory(tmp_path: Path) -> None:
    init_home(tmp_path / "one", tmp_path / "state")
    with pytest.raises(HomeUnusable, match="state of the home"):
        init_home(tmp_path / "two", tmp_path / "state")


def test_a_state_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "thesis.tex").touch()
    with pytest.raises(HomeUnusable, match="other things"):
        init_home(tmp_path / "lab", tmp_path / "state")


def test_the_state_of_a_home_does_not_move(tmp_path: Path) -> None:
    init_home(tmp_path / "lab")
    with pytest.raises(HomeUnusable, match="already"):
        init_home(tmp_path / "lab", tmp_path / "state")


# --- the lock

HOLD = """
import sys
from pathlib import Path
from labrun.store.home import lock_home, open_home
with lock_home(open_home(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return init_home(tmp_path / "lab")


def test_a_second_owner_is_refused_and_told_who_the_first_is(home: Home) -> None:
    command = [sys.executable, "-c", HOLD, str(home.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with pytest.raises(HomeBusy, match=rf"process {owner.pid} on .* since 20"), lock_home(home):
            pass
        owner.kill()
    with lock_home(home):
        pass


def test_a_lock_that_falls_within_two_seconds_is_waited_for(home: Home) -> None:
    # What a child holds between fork and exec: the descriptor, though its owner is gone.
    command = [sys.executable, "-c", HOLD.replace("sys.stdin.read()", "import time; time.sleep(0.5)"), str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with lock_home(home):
            wait_until(lambda: owner.poll() is not None, 10, "the first owner ended")


def test_a_deleted_lock_file_is_made_anew(home: Home) -> None:
    with lock_home(home):
        home.lock.unlink()
    with lock_home(home):
        assert home.lock.exists()


# --- labels and space


def test_the_label_mark_runs_ahead_and_never_falls(home: Home) -> None:
    mark = LabelMark(home)
    assert mark.number == 0
    seen = []
    for number in (1, 2, 255, 256, 257, 1000):
        mark.cover(number)
        seen.append(LabelMark(home).number)
        assert seen[-1] >= number
    assert seen == sorted(seen)
    assert len(set(seen)) == 3, "it is written by blocks"
    assert open_home(home.root) == home


def test_raising_the_label_mark_keeps_what_a_newer_labrun_wrote_beside_it(home: Home) -> None:
    facts = json.loads(home.facts.read_bytes())
    home.facts.write_text(json.dumps(facts | {"colour": "blue"}))
    LabelMark(home).cover(1)
    raised = json.loads(home.facts.read_bytes())
    assert raised == facts | {"colour": "blue", "label_high_water": raised["label_high_water"]}
    assert raised["label_high_water"] >= 1
