"""Source folders that are in the way of their own snapshot: refused with the file's name, or frozen and told."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.laboratory import LaboratoryUnderTest, Refused

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    home = tmp_path_factory.mktemp("bad-source") / "home"
    found = LaboratoryUnderTest(home, settings="slots = 4\ncode_limit_files = 60\ncode_limit_bytes = 100000\n")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "project"
    found.mkdir()
    (found / "run.py").write_text("import os\nprint(sorted(os.listdir()))\n")
    return found


def submit(lab: LaboratoryUnderTest, root: Path) -> dict[str, Any]:
    """Submit `run.py` from its folder; the whole answer."""
    spec = {
        "target": {"kind": "script", "name": "run.py", "argv": [sys.executable, "run.py"]},
        "source": {"root": str(root)},
    }
    answer: dict[str, Any] = lab.call("POST", "/v1/labs/main/experiments", {"spec": spec})
    return answer


def seen(lab: LaboratoryUnderTest, answer: dict[str, Any]) -> str:
    """What the script found in its working copy."""
    ended = lab.wait_ended(answer["experiment"]["run_id"])
    return (lab.folder(ended) / "attempts/1/stdout.log").read_text().strip()


def test_sockets_pipes_and_devices_are_left_out_and_told(lab: LaboratoryUnderTest, root: Path) -> None:
    os.mkfifo(root / "pipe")
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    folder = os.open(root, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/sock")
        os.close(folder)
        answer = submit(lab, root)
    left = "null, pipe, sock" if os.geteuid() == 0 else "pipe, sock"
    assert f"not frozen, neither file nor link: {left}" in answer["notices"]
    assert seen(lab, answer) == "['run.py']"


def test_links_in_loops_are_frozen_as_the_links_they_are(lab: LaboratoryUnderTest, root: Path) -> None:
    (root / "itself").symlink_to("itself")
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "up").symlink_to(".")
    answer = submit(lab, root)
    assert seen(lab, answer) == "['a', 'b', 'itself', 'run.py', 'up']"


def test_a_name_with_a_newline_is_frozen_and_shown_on_one_line(lab: LaboratoryUnderTest, root: Path) -> None:
    (root / "new\nline.py").write_text("")
    (root / "out\nside").symlink_to("/nowhere/at\nall")
    answer = submit(lab, root)
    assert seen(lab, answer) == "['new\\nline.py', 'out\\nside', 'run.py']"


def test_a_file_that_never_stands_still_is_named_and_nothing_is_accepted(lab: LaboratoryUnderTest, root: Path) -> None:
    stop = threading.Event()
    busy = root / "busy.log"
    busy.write_bytes(bytes(50_000))

    def scribble() -> None:
        with busy.open("r+b", buffering=0) as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(os.urandom(16))

    known = lab.call("GET", "/v1/server")["known"]
    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    refused: list[Refused] = []
    accepted = 0
    try:
        while accepted < 50 and not refused:  # between two writes it may be read in peace
            try:
                submit(lab, root)
                accepted += 1
            except Refused as error:
                refused.append(error)
    finally:
        stop.set()
        scribbler.join()
    for error in refused:
        assert error.code == "code_unreadable"
        assert error.body["message"] == f"cannot freeze `{busy}`: it changes while it is read"
    assert lab.call("GET", "/v1/server")["known"] == known + accepted


def test_temporary_files_that_come_and_go_are_in_nobodys_way(lab: LaboratoryUnderTest, root: Path) -> None:
    stop = threading.Event()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            temporary = root / f"state.{number}.tmp"
            temporary.write_text(str(number))
            temporary.rename(root / "state")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        answers = [submit(lab, root) for _ in range(20)]
    finally:
        stop.set()
        swapper.join()
    for answer in answers:
        assert "'run.py'" in seen(lab, answer)


def test_too_many_files_are_refused_with_the_line_that_mends_it(lab: LaboratoryUnderTest, root: Path) -> None:
    (root / "frames").mkdir()
    for i in range(80):
        (root / f"frames/{i}.png").touch()
    with pytest.raises(Refused) as caught:
        submit(lab, root)
    assert (caught.value.status, caught.value.code) == (413, "too_many_files")
    assert caught.value.body["message"] == f"source folder `{root}` has 81 files, the limit is 60"
    assert "a line such as `/frames/` in .labignore" in caught.value.body["hint"]
    (root / ".labignore").write_text("/frames/\n")
    assert seen(lab, submit(lab, root)) == "['.labignore', 'run.py']"


def test_a_file_that_claims_a_terabyte_is_refused_unread(lab: LaboratoryUnderTest, root: Path) -> None:
    with (root / "sparse.bin").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(Refused) as caught:
        submit(lab, root)
    assert (caught.value.status, caught.value.code) == (413, "too_big")
    assert "sparse.bin (1.0 TiB)" in caught.value.body["hint"]


def test_a_root_that_is_a_file_or_is_gone_is_refused(lab: LaboratoryUnderTest, root: Path) -> None:
    for wrong in (root / "run.py", root / "gone", root / "run.py/below"):
        with pytest.raises(Refused) as caught:
            submit(lab, wrong)
        assert caught.value.code == "no_such_script"
