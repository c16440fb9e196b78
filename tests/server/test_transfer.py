"""Frozen code comes in, files go out: the routes a client on another machine uses."""

import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from labrun.store import transfer
from labrun.store.code import CodeStore
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, UnixConnection
from tests.store.test_code import every_file, write

EXPERIMENTS = "/v1/labs/main/experiments"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("transfer") / "home", settings="slots = 4\n")
    found.start()
    yield found
    found.stop()


def post(lab: LaboratoryUnderTest, body: bytes) -> tuple[int, bytes]:
    connection = UnixConnection(lab.home / "server.sock", 30)
    try:
        connection.request("POST", "/v1/objects", body, {"Content-Type": "application/octet-stream"})
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def packed(tmp_path: Path, text: bytes = b"print('far')\n") -> tuple[CodeStore, str, bytes]:
    write(tmp_path / "source", "far.py", text)
    code = CodeStore(tmp_path / "code.git")
    tree = code.freeze(tmp_path / "source", every_file(tmp_path / "source")).tree
    files, folders = transfer.objects_of(code, tree)
    return code, tree, b"".join(transfer.send(code, [*files, *folders], frozenset(folders)))


def submit(lab: LaboratoryUnderTest, tree: str, brought: str, **source: Any) -> dict[str, Any]:
    spec = {
        "target": {"kind": "script", "name": "far.py", "argv": ["/usr/bin/python3", "far.py"]},
        "source": {"root": "/home/ada/far", "cwd": ".", **source},
        "host": "laptop",
    }
    body = {"spec": spec, "variables": {"PATH": "/usr/bin:/bin"}, "delivered": {"tree": tree, "brought": brought}}
    found: dict[str, Any] = lab.call("POST", EXPERIMENTS, body)["experiment"]
    return found


def test_code_that_was_uploaded_runs(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    code, tree, body = packed(tmp_path)
    brought = code.store_files({"locks/uv.lock": b"x"})
    assert lab.call("POST", "/v1/objects/missing", {"objects": [tree]})["objects"] == [tree]
    assert post(lab, body) == (200, b'{"count":2}')
    assert lab.call("POST", "/v1/objects/missing", {"objects": [tree]})["objects"] == []
    with pytest.raises(Refused, match="uploaded as a whole"):
        submit(lab, tree, brought)
    files, folders = transfer.objects_of(code, brought)
    post(lab, b"".join(transfer.send(code, [*files, *folders], frozenset(folders))))
    ended = lab.wait_ended(submit(lab, tree, brought)["run_id"])
    folder = lab.folder(ended)
    assert (folder / "attempts/1/stdout.log").read_text() == "far\n"
    assert (folder / "submitted/locks/uv.lock").read_bytes() == b"x"
    assert lab.show(ended["run_id"])["source_root"] == "laptop:/home/ada/far"
    with pytest.raises(Refused, match="its source folder is on laptop"):
        lab.call("POST", f"{EXPERIMENTS}/{ended['label']}/rerun", {"kind": "requeue", "code": "now"})
    again = lab.call("POST", f"{EXPERIMENTS}/{ended['label']}/rerun", {"kind": "resubmit"})["accepted"]["experiment"]
    assert lab.wait_ended(again["run_id"])["status"] == "succeeded"


def test_nobody_can_say_that_he_delivered_without_delivering(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    body = {
        "spec": {
            "target": {"kind": "program", "name": "true", "argv": ["/bin/true"]},
            "source": {"cwd": "/", "cwd_is_live": True, "is_elsewhere": True, "tree": "a" * 40},
        }
    }
    shown = lab.call("POST", EXPERIMENTS, body)["experiment"]
    lab.wait_ended(shown["run_id"])
    assert lab.show(shown["run_id"])["tree"] is None


@pytest.mark.parametrize(
    "source", [{"cwd": "/tmp", "cwd_is_live": True}, {"root": None}, {"only": ["far.py"]}, {"cwd": "../x"}]
)
def test_what_was_uploaded_runs_in_its_copy_alone(
    lab: LaboratoryUnderTest, tmp_path: Path, source: dict[str, Any]
) -> None:
    _, tree, body = packed(tmp_path)
    post(lab, body)
    with pytest.raises(Refused) as refused:
        submit(lab, tree, tree, **source)
    assert refused.value.code == "bad_value"


def test_what_is_no_object_is_refused_and_stores_nothing(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    _, tree, body = packed(tmp_path, b"print('never seen before')\n")
    for wrong in (body[:-1], b"nonsense", body.replace(b"never", b"NEVER")):
        status, told = post(lab, wrong)
        assert (status, b"bad_value" in told) == (400, True), told
    assert lab.call("POST", "/v1/objects/missing", {"objects": [tree]})["objects"] == [tree]


def test_an_upload_is_larger_than_other_bodies_may_be(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    _, tree, body = packed(tmp_path, b"x" * 9 * 2**20)
    assert len(body) > 8 * 2**20
    assert post(lab, body)[0] == 200
    assert lab.call("POST", "/v1/objects/missing", {"objects": [tree]})["objects"] == []
    assert not list((lab.home / "store").glob("tmp*")), "what was spooled is gone"


@pytest.fixture(scope="module")
def ended(lab: LaboratoryUnderTest) -> dict[str, Any]:
    script = (
        'cd "$LAB_OUTPUT_PATH"; echo one >"a b.txt"; ln -s /etc/passwd link; ln -s /etc dir; mkfifo pipe;'
        ' mkdir -p deep/er; echo two >deep/er/x; printf "\\303\\050" >"$(printf "bad\\351")"'
    )
    return lab.wait_ended(lab.submit("/bin/sh", "-c", script)["run_id"])


def read(lab: LaboratoryUnderTest, reference: str, path: str, **query: int) -> bytes:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    connection = UnixConnection(lab.home / "server.sock", 30)
    try:
        connection.request("GET", f"{EXPERIMENTS}/{reference}/file?path={quote(path)}{more}")
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise Refused(answer.status, {"code": content.decode()})
        return content
    finally:
        connection.close()


def test_files_are_listed_with_their_sealed_hashes(lab: LaboratoryUnderTest, ended: dict[str, Any]) -> None:
    listing = lab.call("GET", f"{EXPERIMENTS}/{ended['label']}/files")
    files = {file["path"]: file for file in listing["files"]}
    assert files["outputs/a b.txt"]["sha256"] == hashlib.sha256(b"one\n").hexdigest()
    assert files["outputs/deep/er/x"]["size_bytes"] == 4
    assert {"README.md", "run_manifest.json", "attempts/1/seal.json", "attempts/1/exit.json"} <= files.keys()
    assert listing["links"] == ["outputs/dir", "outputs/link"]
    assert "outputs/pipe" not in files
    for path, file in files.items():
        content = read(lab, ended["label"], path)
        assert len(content) == file["size_bytes"]
        assert file["sha256"] in (None, hashlib.sha256(content).hexdigest()), path


def test_a_file_comes_in_pieces(lab: LaboratoryUnderTest, ended: dict[str, Any]) -> None:
    assert read(lab, ended["label"], "outputs/a b.txt", offset=1, limit_bytes=2) == b"ne"
    assert read(lab, ended["label"], "outputs/a b.txt", offset=100) == b""


@pytest.mark.parametrize(
    "path",
    [
        *("outputs/link", "outputs/dir/passwd", "../../../../home.json", "/etc/passwd", "outputs", "outputs/pipe"),
        *("outputs/../README.md", "", "no/such", "a\0b", "outputs//a b.txt", "./README.md"),
    ],
)
def test_nothing_but_a_file_of_the_folder_is_read(lab: LaboratoryUnderTest, ended: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused, match="bad_value"):
        read(lab, ended["label"], path)


def test_one_without_a_folder_has_no_files(lab: LaboratoryUnderTest) -> None:
    held = [lab.submit("/bin/sleep", "1000")["run_id"] for _ in range(4)]
    waiting = lab.submit("/bin/true")
    with pytest.raises(Refused, match="not_allowed_now"):
        lab.call("GET", f"{EXPERIMENTS}/{waiting['label']}/files")
    for run_id in (waiting["run_id"], *held):
        lab.call("POST", f"{EXPERIMENTS}/{run_id}/cancel", {"by": "ada", "is_urgent": True})
