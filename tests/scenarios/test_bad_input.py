"""What does not fit is refused at the door with a stable code: nothing is kept of it, nothing breaks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, UnixConnection

pytestmark = pytest.mark.timeout(120)

EXPERIMENTS = "/v1/labs/main/experiments"
TARGET = {"kind": "program", "name": "true", "argv": ["/bin/true"]}
SPEC = {"target": TARGET, "source": {"cwd": "/", "cwd_is_live": True}}


def submit(**fields: object) -> bytes:
    """Body of a submit whose spec has these fields."""
    return json.dumps({"spec": SPEC | fields}).encode()


def argv(*words: str) -> dict[str, object]:
    """A target with this command line."""
    return TARGET | {"argv": list(words)}


BODIES = {
    "cut off": (b'{"spec": {', 400, "bad_request"),
    "empty": (b"", 400, "bad_request"),
    "a list": (b"[]", 400, "bad_request"),
    "not UTF-8": (b'{"spec": {"target": {"argv": ["\xff"]}}}', 400, "bad_request"),
    "half a surrogate pair": (b'{"spec": {"name": "\\ud800"}}', 400, "bad_request"),
    "nested without end": (b"[" * 100_000, 400, "bad_request"),
    "over the limit": (b'{"spec": "' + b"x" * (9 * 2**20) + b'"}', 413, "too_big"),
    "no spec": (b"{}", 400, "bad_description"),
    "a description of nobody's folder": (b'{"script": "train.py"}', 400, "bad_description"),
    "a description with a misspelt field": (b'{"command": "true", "cwd": "/", "nmae": "x"}', 400, "bad_description"),
    "a description of the future": (b'{"format": 2, "command": "true", "cwd": "/"}', 400, "bad_description"),
    "a description for another lab": (b'{"lab": "x", "command": "true", "cwd": "/"}', 400, "bad_description"),
    "a number of 5,000 digits": (b'{"command": "true", "cwd": "/", "seed": ' + b"1" * 5000 + b"}", 400, "bad_request"),
    "a misspelt field": (submit(prioritty=3), 400, "unknown_option"),
    "a misspelt field further down": (submit(resources={"cpu": 1}), 400, "unknown_option"),
    "a wrong type": (submit(priority="high"), 400, "bad_request"),
    "priority 99": (submit(priority=99), 400, "bad_value"),
    "no command": (submit(target=argv()), 400, "bad_value"),
    "NUL in an argument": (submit(target=argv("/bin/echo", "a\0b")), 400, "bad_value"),
    "NUL in the name": (submit(name="a\0b"), 400, "bad_value"),
    "NUL in the working directory": (submit(source={"cwd": "/a\0", "cwd_is_live": True}), 400, "bad_value"),
    "an argument of 200 KB": (submit(target=argv("/bin/echo", "x" * 200_000)), 400, "bad_value"),
    "a name of 1 MB": (submit(name="n" * 10**6), 400, "bad_value"),
    "a way out of the root": (submit(source={"cwd": "../.."}), 400, "bad_value"),
    "a file outside the root": (submit(source={"root": "/etc", "only": ["../etc/passwd"]}), 400, "bad_value"),
    "a root that is not there": (submit(source={"root": "/no/such"}), 400, "no_such_script"),
    "less than no processor": (submit(resources={"cpus": -1}), 400, "bad_value"),
    "less than no memory": (submit(resources={"memory_bytes": -1}), 400, "bad_value"),
    "more than there is": (submit(resources={"cpus": 10**30}), 400, "impossible_request"),
    "a negative time limit": (submit(timeout_s=-1), 400, "bad_value"),
    "a spec of the future": (submit(version=99), 400, "bad_value"),
    "a variable with NUL": (json.dumps({"spec": SPEC, "variables": {"A": "\0"}}).encode(), 400, "bad_value"),
    "a variable without name": (json.dumps({"spec": SPEC, "variables": {"": "x"}}).encode(), 400, "bad_value"),
}

PATHS = {
    ("GET", "/no/such/route"): (404, "no_such_route"),
    ("DELETE", EXPERIMENTS): (405, "no_such_route"),
    ("GET", f"{EXPERIMENTS}?limit=0"): (400, "bad_request"),
    ("GET", f"{EXPERIMENTS}?status=weird"): (400, "bad_request"),
    ("GET", f"{EXPERIMENTS}?before=weird"): (400, "bad_value"),
    ("GET", f"{EXPERIMENTS}/EXP-999"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/latest~999"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/%00"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/%FF%E2%98%83%0A"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/{'x' * 5000}"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/..%2F..%2Fetc"): (404, "no_such_route"),
    ("GET", f"{EXPERIMENTS}/EXP-{'9' * 30}"): (404, "not_found"),
    ("GET", f"{EXPERIMENTS}/kept/logs?stdout=-1"): (400, "bad_request"),
    ("GET", f"{EXPERIMENTS}/kept/logs?stdout={'9' * 30}"): (400, "bad_request"),
    ("GET", f"{EXPERIMENTS}/kept/logs?stdout=0&attempt=7"): (400, "bad_value"),
    ("GET", f"{EXPERIMENTS}/kept/events?after=-1"): (400, "bad_request"),
    ("POST", f"{EXPERIMENTS}/kept/cancel"): (400, "bad_request"),
    ("POST", "/v1/labs/.hidden/experiments"): (400, "bad_value"),
    ("POST", f"/v1/labs/{'a' * 65}/experiments"): (400, "bad_value"),
    ("POST", f"/v1/labs/{'%C3%BC' * 33}/experiments"): (400, "bad_value"),  # 66 bytes
    ("POST", "/v1/labs/a%0Ab/experiments"): (400, "bad_value"),
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    """A server with one finished experiment, `kept`."""
    lab = LaboratoryUnderTest(tmp_path_factory.mktemp("door") / "home")
    lab.start()
    lab.wait_ended(lab.submit("/bin/true", name="kept")["run_id"])
    yield lab
    lab.stop()


def ask(lab: LaboratoryUnderTest, method: str, path: str, body: bytes | None, **headers: str) -> tuple[int, Any]:
    """One request with a body as it is."""
    connection = UnixConnection(lab.home / "server.sock", 20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def what_there_is(lab: LaboratoryUnderTest) -> tuple[list[str], list[str]]:
    """Labels of the lab, and every path below `labs/`."""
    labels = [shown["label"] for shown in lab.call("GET", f"{EXPERIMENTS}?limit=100")["experiments"]]
    return labels, sorted(str(path.relative_to(lab.home)) for path in (lab.home / "labs").rglob("*"))


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_does_not_fit_is_refused_and_leaves_nothing(door: LaboratoryUnderTest, what: str) -> None:
    body, status, code = BODIES[what]
    before = what_there_is(door)
    answered, problem = ask(door, "POST", EXPERIMENTS, body)
    assert (answered, problem["code"]) == (status, code), problem
    assert problem["message"]
    assert problem["hint"] or " is not " in problem["message"], "what to do, or what it should have been"
    assert what_there_is(door) == before


@pytest.mark.parametrize(("method", "path"), PATHS, ids=lambda word: word[:50])
def test_a_path_that_leads_nowhere_is_refused_with_a_code(door: LaboratoryUnderTest, method: str, path: str) -> None:
    before = what_there_is(door)
    body = submit() if path.endswith("experiments") else b"{}" if method == "POST" else None
    answered, problem = ask(door, method, path, body)
    assert (answered, problem["code"]) == PATHS[method, path], problem
    assert what_there_is(door) == before


def test_a_misspelt_field_is_answered_with_the_nearest_one(door: LaboratoryUnderTest) -> None:
    _, problem = ask(door, "POST", EXPERIMENTS, submit(prioritty=3))
    assert problem["hint"] == "did you mean `priority`?"


def test_a_key_that_is_too_short_is_refused(door: LaboratoryUnderTest) -> None:
    answered, problem = ask(door, "POST", EXPERIMENTS, submit(), **{"Idempotency-Key": "x"})
    assert (answered, problem["code"]) == (400, "bad_request")


def test_a_thousand_refusals_cost_the_server_no_memory(door: LaboratoryUnderTest) -> None:
    def rss_kib() -> int:
        text = Path(f"/proc/{door.server.pid if door.server else 'self'}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))

    big = submit(name="n" * 10**6)
    for _ in range(50):
        ask(door, "POST", EXPERIMENTS, big)
    before = rss_kib()
    for i in range(1000):
        assert ask(door, "POST", EXPERIMENTS, big if i % 10 == 0 else submit(priority=99))[0] == 400
    assert rss_kib() - before < 20 * 1024


def test_what_only_the_server_may_say_is_not_taken_from_a_client(door: LaboratoryUnderTest) -> None:
    spec = {"source": {"tree": "../" * 13, "cwd": "."}, "surroundings": {"variables": "../../home"}}
    answered, told = ask(door, "POST", EXPERIMENTS, submit(**spec))
    assert answered == 201
    ended = door.wait_ended(told["experiment"]["run_id"])
    assert ended["status"] == "succeeded"
    assert (door.home / "home.json").exists()


@pytest.mark.parametrize("name", ["..", "/", "☃/../..\n💥", "\x1b[31mred", "." * 200, "CON"])
def test_any_name_is_kept_as_it_is_and_its_folder_stays_in_its_place(door: LaboratoryUnderTest, name: str) -> None:
    ended = door.wait_ended(door.submit("/bin/true", name=name)["run_id"])
    assert ended["name"] == name
    folder = door.folder(ended)
    assert folder.parent.parent == door.home / "labs/main"
    assert folder.name.isprintable()
    assert (folder / "run_manifest.json").exists()


def test_a_reference_that_fits_several_is_refused_and_lists_them(door: LaboratoryUnderTest) -> None:
    labels = [door.wait_ended(door.submit("/bin/true", name="twin")["run_id"])["label"] for _ in range(2)]
    with pytest.raises(Refused) as refusal:
        door.show("twin")
    assert (refusal.value.status, refusal.value.code) == (409, "ambiguous_reference")
    assert sorted(refusal.value.body["details"]) == labels


def test_output_that_is_not_text_is_kept_byte_by_byte(door: LaboratoryUnderTest) -> None:
    script = "import os\nos.write(1, bytes(range(256)) * 40000)\nos.write(2, b'\\xff\\xfe\\x00\\x1b[2J')"
    ended = door.wait_ended(door.submit(sys.executable, "-I", "-S", "-c", script)["run_id"])
    path = f"{EXPERIMENTS}/{ended['run_id']}/logs?stdout=0&stderr=0&limit_bytes=1048576"
    content, header = door.call("GET", path)
    sizes = {segment["stream"]: segment["size"] for segment in header["segments"]}
    assert content[: sizes["stdout"]] == (bytes(range(256)) * 40000)[: sizes["stdout"]]
    assert content.endswith(b"\xff\xfe\x00\x1b[2J")
    assert (door.folder(ended) / "attempts/1/stdout.log").stat().st_size == 256 * 40000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_connection_is_refused(door: LaboratoryUnderTest) -> None:
    home = door.home
    closed = [parent for parent in (home, *home.parents) if not parent.stat().st_mode & 0o001]
    modes = {path: path.stat().st_mode for path in (*closed, home / "server.sock")}
    client = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/server HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); sys.stdout.buffer.write(s.recv(100))"
    )
    try:
        for path in closed:
            path.chmod(modes[path] | 0o011)
        (home / "server.sock").chmod(0o666)  # somebody opened the file: the peer check alone stands
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        python = [*user, "/usr/bin/python3", "-I", "-S", "-c", client, str(home / "server.sock")]
        done = subprocess.run(python, capture_output=True, timeout=20, check=False)
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o7777)
    assert b"HTTP" not in done.stdout
    assert done.returncode == 0 or b"ConnectionResetError" in done.stderr or b"BrokenPipe" in done.stderr, done.stderr
    assert "connection of another user refused" in door.server_log()
    assert door.call("GET", "/v1/server")["pid"]
