"""Speed and size of frozen code: submit, first snapshot, working copy, a thousand experiments of one tree.

Usage: python bench/code.py [unchanged restarted first copy many] [--loop] [--dir DIR] [--rounds N]
"""

import http.client
import json
import os
import random
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from measure import emit, quantile, run_cases, short, take_turns, timed
from tests.scenarios.laboratory import LaboratoryUnderTest, UnixConnection

from labrun.capture.listing import list_code
from labrun.store.code import CodeStore
from labrun.store.seen import SeenFiles

TRUE = shutil.which("true") or "/bin/true"
_SETTLED_S = 2.5
"""Files touched more recently are read again by whoever is careful, so by labrun and by git."""


def quiet(*words: str, cwd: Path) -> None:
    """Run a command to its end."""
    subprocess.run(words, cwd=cwd, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def project(folder: Path, count: int, size_bytes: int = 2000) -> Path:
    """Make a repository of text files in folders of fifty, all committed."""
    draw = random.Random(count)
    words = [draw.randbytes(6).hex() for _ in range(2000)]
    for i in range(count):
        path = folder / f"package_{i // 50}/module_{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(draw.choices(words, k=size_bytes // 13)))
    quiet("git", "init", "-q", cwd=folder)
    quiet("git", "add", "-A", cwd=folder)
    quiet("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", cwd=folder)
    return folder


class Line:
    """One kept connection that submits `true` with a source folder."""

    def __init__(self, lab: LaboratoryUnderTest, root: Path) -> None:
        self._lab = lab
        self._connection = UnixConnection(lab.home / "server.sock", 60)
        self._spec = {
            "target": {"kind": "program", "name": "true", "argv": [TRUE]},
            "source": {"root": str(root)},
            "resources": {"cpus": 1},
        }

    def submit(self, **fields: object) -> dict[str, object]:
        """Submit one; returns when it is durable."""
        body = json.dumps({"spec": self._spec | fields, "variables": {"PATH": "/usr/bin:/bin"}})
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        self._connection.request("POST", "/v1/labs/main/experiments", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.CREATED:
            raise SystemExit(content.decode())
        return json.loads(content)["experiment"]

    def block(self) -> None:
        """Take every processor, so that nothing that is submitted afterwards runs."""
        argv = ["/bin/sleep", "10000"]
        target = {"kind": "program", "name": "sleep", "argv": argv}
        for _ in range(os.cpu_count() or 1):
            one = self.submit(target=target, source={"cwd": "/", "cwd_is_live": True})
            while self._lab.show(str(one["run_id"]))["experiment"]["step"] != "running":
                time.sleep(0.01)


def unchanged(folder: Path, rounds: int) -> None:
    """Submit of a project in which nothing changed, over an open connection, against `git status` and a stat each."""
    for count in (200, 5000):
        root = project(folder / f"unchanged-{count}", count)
        files = [os.fspath(path) for path in root.rglob("*.py")]
        lab = LaboratoryUnderTest(folder / f"unchanged-home-{count}")
        lab.start()
        try:
            line = Line(lab, root)
            line.block()
            time.sleep(_SETTLED_S)
            line.submit()

            def stats(files: list[str] = files) -> float:
                return timed(lambda: [os.lstat(path) for path in files])

            def status(root: Path = root) -> float:
                return timed(lambda: quiet("git", "status", "--porcelain", cwd=root))

            def submits(line: Line = line) -> float:
                return quantile([timed(line.submit) for _ in range(10)], 0.5)

            cases = {"git status": status, "stat each file": stats, "submit": submits}
            take_turns(f"submit unchanged, {count} files", cases, reference="git status", rounds=rounds)
        finally:
            lab.stop()


def restarted(folder: Path, rounds: int) -> None:
    """The snapshot of 5,000 files in which nothing changed by a server that just started: what its notes are worth."""
    root = project(folder / "restarted", 5000)
    place, notes = folder / "restarted.git", folder / "seen"
    time.sleep(_SETTLED_S)

    def store(kept: Path | None) -> CodeStore:
        return CodeStore(place, SeenFiles(kept, "this boot"))

    warm = store(notes)
    listing = list_code(root)
    warm.freeze(root, listing)
    cases = {
        "list": lambda: timed(lambda: list_code(root)),
        "freeze, as before": lambda: timed(lambda: warm.freeze(root, listing)),
        "freeze, after a restart": lambda: timed(lambda: store(notes).freeze(root, listing)),
        "freeze, notes lost": lambda: timed(lambda: store(None).freeze(root, listing)),
    }
    take_turns("snapshot unchanged, 5,000 files", cases, reference="list", rounds=rounds)


def first(folder: Path, rounds: int, size_mb: int = 190) -> None:
    """The first snapshot of 190 MB, half text, half random, against `git add` into an empty repository."""
    root = folder / "first"
    root.mkdir()
    draw = random.Random(1)
    words = [draw.randbytes(6).hex() for _ in range(2000)]
    for i in range(size_mb * 5):
        text = " ".join(draw.choices(words, k=15_400)).encode()
        (root / f"{i}.bin").write_bytes(draw.randbytes(200_000) if i % 2 else text)
    size = sum(path.stat().st_size for path in root.iterdir())
    os.sync()

    def add() -> float:
        quiet("git", "init", "-q", cwd=root)
        try:
            return timed(lambda: quiet("git", "add", "-A", cwd=root))
        finally:
            shutil.rmtree(root / ".git")

    def freeze() -> float:
        store = folder / "first.git"
        try:
            return timed(lambda: CodeStore(store).freeze(root, list_code(root)))
        finally:
            shutil.rmtree(store, ignore_errors=True)

    emit(group="first snapshot", case="size", megabytes=short(size / 1e6), files=size_mb * 5)
    take_turns("first snapshot", {"git add": add, "freeze": freeze}, reference="git add", rounds=rounds)


def copy(folder: Path, rounds: int) -> None:
    """A working copy of 5,000 files, against `cp` and `git checkout-index`."""
    root = project(folder / "copy", 5000)
    source = folder / "copied"
    shutil.copytree(root, source, ignore=shutil.ignore_patterns(".git"))
    store = CodeStore(folder / "copy.git")
    tree = store.freeze(root, list_code(root)).tree
    target = folder / "target"

    def cleared(work: Callable[[], object]) -> Callable[[], float]:
        def case() -> float:
            try:
                return timed(work)
            finally:
                shutil.rmtree(target)

        return case

    cases = {
        "cp -r": cleared(lambda: quiet("cp", "-r", "--reflink=never", str(source), str(target), cwd=folder)),
        "cp -r --reflink=auto": cleared(lambda: quiet("cp", "-r", str(source), str(target), cwd=folder)),
        "cp -al, hard links": cleared(lambda: quiet("cp", "-al", str(source), str(target), cwd=folder)),
        "git checkout-index": cleared(
            lambda: quiet("git", "checkout-index", "-a", f"--prefix={target}/", cwd=root),
        ),
        "checkout": cleared(lambda: store.checkout(tree, target)),
    }
    take_turns("working copy of 5,000 files", cases, reference="cp -r", rounds=rounds)


def many(folder: Path, _rounds: int, count: int = 1000) -> None:
    """A thousand experiments of one tree of 200 files: bytes on disk."""
    root = project(folder / "many", 200)
    lab = LaboratoryUnderTest(folder / "many-home")
    lab.start()
    try:
        line = Line(lab, root)
        chain = lab.home / "labs/main/chain.jsonl"
        for _ in range(count):
            line.submit()
        deadline = time.monotonic() + 900
        while not chain.exists() or chain.read_bytes().count(b"\n") < count:
            if time.monotonic() > deadline:
                raise SystemExit("not all were sealed")
            time.sleep(0.5)
        source = used(root, ".git")
        works = list(lab.home.glob("labs/main/*/*/work"))
        while any((work / "package_0/module_0.py").lstat().st_nlink == 1 for work in works):
            if time.monotonic() > deadline:
                raise SystemExit("not all share their code")
            time.sleep(0.5)
        work = sum(used(path) for path in works) - sum(_shared(path) for path in works)
        everything = used(lab.home)
        emit(
            group=f"{count} experiments of one tree",
            case="kilobytes on disk",
            source=short(source / 1e3),
            store=short(used(lab.home / "store") / 1e3),
            work_of_one=short(work / count / 1e3),
            record_of_one=short((everything - work - used(lab.home / "store")) / count / 1e3),
            all=short(everything / 1e3),
        )
    finally:
        lab.stop()


def _shared(work: Path) -> int:
    """Bytes of files that have another name elsewhere, and so no place of their own."""
    found = (Path(here, name).lstat() for here, _, names in os.walk(work) for name in names)
    return sum(status.st_blocks * 512 for status in found if status.st_nlink > 1)


def used(folder: Path, *without: str) -> int:
    """Bytes a folder takes on disk, hard links counted once."""
    words = ["du", "-s", "--block-size=1", *(f"--exclude={name}" for name in without), str(folder)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[0])


CASES = {"unchanged": unchanged, "restarted": restarted, "first": first, "copy": copy, "many": many}

if __name__ == "__main__":
    run_cases(CASES, __doc__)
