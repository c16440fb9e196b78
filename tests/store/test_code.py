import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labrun.core.errors import CodeUnreadable, DiskFull, StoreDamaged, TooBig
from labrun.store.code import CodeStore
from labrun.store.objects import CHUNK_BYTES, Objects
from labrun.store.working import FILE, LINK, PROGRAM, Entry, is_untouched
from tests.helpers import examples
from tests.other_user import refusal

NASTY = ("-rf", "new\nline.py", "unicode-ü-漢.py", "caf\udce9.txt", "a b/--help", "a b.py", "a", "z/y/x/w.py")


def every_file(root: Path) -> SimpleNamespace:
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += [os.path.relpath(f"{folder}/{name}", root) for name in (*names, *links)]
    return SimpleNamespace(files=tuple(sorted(found)))


def freeze(store: CodeStore, root: Path) -> str:
    return store.freeze(root, every_file(root)).tree


def write(root: Path, name: str, content: bytes = b"x\n") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def settle(root: Path) -> None:
    """Make files look as if they had not been touched for a while, as far as their own times say."""
    for name in every_file(root).files:
        os.utime(root / name, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


def git(store: Path, *words: str) -> bytes:
    return subprocess.run(["git", f"--git-dir={store}", *words], check=True, capture_output=True).stdout


def packs(path: Path) -> list[Path]:
    return sorted((path / "objects/pack").glob("*.pack"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name in NASTY:
        write(root, name, os.fsencode(name))
    write(root, "crlf.txt", b"one\r\ntwo\r\n")
    write(root, ".gitattributes", b"* text=auto eol=lf\n*.png filter=lfs\n")
    write(root, "empty")
    (root / "empty").write_bytes(b"")
    write(root, "run.sh").chmod(0o755)
    (root / "link").symlink_to("crlf.txt")
    (root / "dangling").symlink_to(os.fsencode("nowhere/caf\udce9"))
    (root / "z/up").symlink_to("..")
    return root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store/code.git"


@pytest.fixture
def store(path: Path) -> CodeStore:
    return CodeStore(path)


def contents(root: Path) -> dict[str, tuple[str, bytes]]:
    found = {}
    for name in every_file(root).files:
        file = root / name
        if file.is_symlink():
            found[name] = ("link", os.fsencode(file.readlink()))
        else:
            found[name] = ("program" if file.stat().st_mode & stat.S_IXUSR else "file", file.read_bytes())
    return found


def test_what_is_checked_out_is_what_was_frozen(tmp_path: Path, source: Path, store: CodeStore) -> None:
    frozen = store.freeze(source, every_file(source))
    done = store.checkout(frozen.tree, tmp_path / "work")
    assert contents(tmp_path / "work") == contents(source)
    assert done.file_count == frozen.file_count == len(contents(source))
    assert done.kept == ()
    assert freeze(store, tmp_path / "work") == frozen.tree


def test_line_ends_are_not_converted(tmp_path: Path, source: Path, store: CodeStore) -> None:
    store.checkout(freeze(store, source), tmp_path / "work")
    assert (tmp_path / "work/crlf.txt").read_bytes() == b"one\r\ntwo\r\n"


def test_git_itself_gives_the_same_tree(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    (source / ".gitattributes").write_bytes(b"")  # without filters git stores raw bytes too
    tree = freeze(store, source)
    mine = tmp_path / "mine.git"
    subprocess.run(["git", "init", "-q", "--bare", str(mine)], check=True)
    work = ["git", f"--git-dir={mine}", f"--work-tree={source}", "-c", "core.bare=false"]
    subprocess.run([*work, "add", "-A", "."], check=True, cwd=source)
    assert subprocess.run([*work, "write-tree"], check=True, capture_output=True).stdout.decode().strip() == tree


def test_plain_git_reads_the_store_and_finds_it_sound(path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    git(path, "fsck", "--full", "--strict", "--no-dangling")
    listed = git(path, "ls-tree", "-r", "-z", "-l", tree).split(b"\0")[:-1]
    seen = {}
    for line in listed:
        facts, name = line.split(b"\t", 1)
        mode, _, blob, size = facts.split()
        seen[os.fsdecode(name)] = Entry(int(mode, 8), blob.decode(), int(size))
    assert seen == dict(store.entries(tree))
    assert seen["run.sh"].mode == PROGRAM
    assert seen["link"].mode == LINK
    assert seen["crlf.txt"].mode == FILE
    assert git(path, "cat-file", "blob", seen["crlf.txt"].blob) == b"one\r\ntwo\r\n"


def test_git_does_not_throw_the_trees_away(path: Path, source: Path, store: CodeStore, tmp_path: Path) -> None:
    tree = freeze(store, source)
    subprocess.run(["git", f"--git-dir={path}", "gc", "--prune=now", "--quiet"], check=False, capture_output=True)
    CodeStore(path).checkout(tree, tmp_path / "work")


def test_a_store_that_git_repacked_with_deltas_is_read(path: Path, tmp_path: Path, store: CodeStore) -> None:
    root = tmp_path / "source"
    text = os.urandom(20_000).hex().encode()
    for i in range(10):
        write(root, f"f{i}.txt", text + b"%d" % i)
    tree = freeze(store, root)
    commit = git(path, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "x", tree).decode().strip()
    git(path, "update-ref", "refs/heads/main", commit)
    git(path, "repack", "-a", "-f", "-q")
    for old in packs(path)[:]:
        if b"chain length" not in git(path, "verify-pack", "-v", str(old)):
            for file in old.parent.glob(f"{old.stem}.*"):
                file.chmod(0o644)
                file.unlink()
    again = CodeStore(path)
    again.checkout(tree, tmp_path / "work")
    assert contents(tmp_path / "work") == contents(root)
    assert again.entries(tree)["f3.txt"].size == len(text) + 1


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..", ".git")
)
files = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join),
    st.tuples(st.binary(max_size=40), st.sampled_from(["file", "program", "link"])),
    max_size=8,
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files)
def test_freeze_checkout_freeze_gives_the_same_tree(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[bytes, str]]
) -> None:
    tmp = tmp_path_factory.mktemp("any")
    root = tmp / "source"
    root.mkdir()
    for name, (content, kind) in wanted.items():
        file = root / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if kind == "link":
                file.symlink_to(content.replace(b"\0", b"") or b"x")
            else:
                file.write_bytes(content)
                file.chmod(0o755 if kind == "program" else 0o644)
        except OSError:
            continue  # a name that is a file and a folder at once, or too long
    store = CodeStore(tmp / "code.git")
    tree = freeze(store, root)
    store.checkout(tree, tmp / "work")
    assert contents(tmp / "work") == contents(root)
    assert freeze(CodeStore(tmp / "other.git"), tmp / "work") == tree
    shutil.rmtree(tmp)


def test_files_in_memory_become_a_tree_once(path: Path, store: CodeStore, tmp_path: Path) -> None:
    files = {"environment.json": b"{}", "config/a.yaml": b"lr: 1\n", "config/b.yaml": b"lr: 1\n", "stdin": b"\0\xff"}
    tree = store.store_files(files)
    assert {name: entry.mode for name, entry in store.entries(tree).items()} == dict.fromkeys(files, FILE)
    store.checkout(tree, tmp_path / "submitted")
    assert {name: (tmp_path / "submitted" / name).read_bytes() for name in files} == files
    git(path, "fsck", "--full", "--strict", "--no-dangling")
    before = [(file, file.stat().st_mtime_ns) for file in sorted(path.rglob("*"))]
    assert store.store_files(dict(reversed(files.items()))) == tree
    assert CodeStore(path).store_files(files) == tree
    assert [(file, file.stat().st_mtime_ns) for file in sorted(path.rglob("*"))] == before
    assert freeze(store, tmp_path / "submitted") == tree
    assert store.store_files({}) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.mark.parametrize("name", ["", "/etc/x", "a//b", "../x", "a/./b", ".git/config", "a\0b", "a/"])
def test_files_in_memory_with_a_path_that_is_none_are_refused(path: Path, store: CodeStore, name: str) -> None:
    with pytest.raises(ValueError, match="no path of a tree"):
        store.store_files({"good": b"", name: b""})
    assert not path.exists()


def test_an_unchanged_tree_writes_nothing(path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    before = [(file, file.stat().st_mtime_ns) for file in sorted(path.rglob("*"))]
    assert freeze(store, source) == tree
    assert freeze(CodeStore(path), source) == tree
    assert [(file, file.stat().st_mtime_ns) for file in sorted(path.rglob("*"))] == before


def test_only_new_objects_are_written_in_one_pack(path: Path, source: Path, store: CodeStore) -> None:
    freeze(store, source)
    write(source, "z/y/new.py", b"new")
    freeze(store, source)
    added = max(packs(path), key=lambda pack: pack.stat().st_mtime_ns)
    assert len(packs(path)) == 2
    kinds = [line.split()[1] for line in git(path, "verify-pack", "-v", str(added)).splitlines() if b" " in line][:4]
    assert sorted(kinds) == [b"blob", b"tree", b"tree", b"tree"]


def test_an_edit_that_keeps_size_and_time_is_seen(path: Path, source: Path, store: CodeStore) -> None:
    file = write(source, "edited.py", b"lr = 1\n")
    settle(source)
    first = freeze(store, source)
    with file.open("r+b") as stream:
        stream.write(b"lr = 2\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert freeze(store, source) != first


def test_edits_in_quick_succession_are_all_seen(tmp_path: Path, store: CodeStore) -> None:
    # The clock of a file system ticks every few milliseconds: two edits may carry the same time.
    root = tmp_path / "source"
    trees = []
    for i in range(150):
        write(root, "hot.py", b"%06d" % i)
        trees.append(freeze(store, root))
    assert len(set(trees)) == 150


def test_a_file_that_changes_while_it_is_read_is_read_again_then_refused(
    source: Path, store: CodeStore, path: Path
) -> None:
    file = write(source, "busy.bin", os.urandom(6 * CHUNK_BYTES))
    stop = threading.Event()

    def scribble() -> None:
        while not stop.is_set():
            with file.open("ab") as stream:
                stream.write(b"x")

    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    try:
        with pytest.raises(CodeUnreadable, match=r"busy\.bin.*changes while"):
            store.freeze(source, every_file(source))
    finally:
        stop.set()
        scribbler.join()
    assert not list(path.rglob("tmp_*"))
    freeze(store, source)


@pytest.mark.parametrize(("name", "shown"), [("gone.py", "gone.py"), ("a/gone.py", "a/gone.py"), ("\udce9", r"\xe9")])
def test_a_file_that_vanished_after_it_was_listed_is_left_out_and_named(
    source: Path, store: CodeStore, name: str, shown: str
) -> None:
    frozen = store.freeze(source, SimpleNamespace(files=(name, "crlf.txt")))
    assert frozen.notices == (f"not frozen, it vanished just now: {shown}",)
    assert set(store.entries(frozen.tree)) == {"crlf.txt"}


def test_a_file_that_is_being_replaced_is_frozen(source: Path, store: CodeStore) -> None:
    """Editors move the old file away before they write the new one."""
    (source / "run.sh").rename(source.parent / "backup")
    back = threading.Timer(0.03, lambda: (source.parent / "backup").rename(source / "run.sh"))
    back.start()
    frozen = store.freeze(source, SimpleNamespace(files=("crlf.txt", "run.sh")))
    back.join()
    assert frozen.notices == ()
    assert store.entries(frozen.tree)["run.sh"].mode == PROGRAM


def test_a_file_that_cannot_be_read_is_named() -> None:
    place = Path(tempfile.mkdtemp(prefix="labrun-closed-"))  # the folders of pytest are closed to others
    try:
        write(place, "source/run.py")
        write(place, "source/secret.csv").chmod(0)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", str(place)], check=True)
        said = refusal(
            lambda: CodeStore(place / "code.git").freeze(place / "source", every_file(place / "source")),
            CodeUnreadable,
            place,
        )
        assert said == f"cannot freeze `{place}/source/secret.csv`: Permission denied"
        assert not packs(place / "code.git")
    finally:
        shutil.rmtree(place)


def test_over_the_limit_the_largest_are_named_with_the_ignore_line(source: Path, store: CodeStore, path: Path) -> None:
    for i in range(7):
        write(source, f"data/{i}.bin", bytes(1000 * (i + 1)))
    with pytest.raises(TooBig) as caught:
        store.freeze(source, every_file(source), limit_bytes=20_000)
    assert [entry["path"] for entry in caught.value.details] == [f"data/{i}.bin" for i in (6, 5, 4, 3, 2)]  # type: ignore[attr-defined]
    assert "`/data/6.bin` in .labignore (or .gitignore" in (caught.value.hint or "")
    assert not packs(path)


def test_over_the_limit_by_many_small_files_the_fullest_folders_are_named(source: Path, store: CodeStore) -> None:
    for i in range(40):
        write(source, f"data/images/{i}.png", bytes(1000))
    with pytest.raises(TooBig) as caught:
        store.freeze(source, every_file(source), limit_bytes=20_000)
    assert "the fullest folders are data/images (39.1 KiB)" in (caught.value.hint or "")
    assert "`/data/images/` in .labignore" in (caught.value.hint or "")


def test_what_is_neither_file_nor_link_is_left_out_and_said(source: Path, store: CodeStore) -> None:
    os.mkfifo(source / "pipe")
    frozen = store.freeze(source, SimpleNamespace(files=("crlf.txt", "pipe")))
    assert frozen.notices == ("not frozen, neither file nor link: pipe",)
    assert set(store.entries(frozen.tree)) == {"crlf.txt"}


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path, source: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        store = CodeStore(mount / "store/code.git")
        freeze(store, source)
        write(source, "big.bin", os.urandom(3 << 20))
        with pytest.raises(DiskFull):
            freeze(store, source)
        assert not list(mount.rglob("tmp_*"))
        (source / "big.bin").unlink()
        write(source, "small.py", b"fits")
        freeze(store, source)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts system calls with strace")
def test_a_pack_that_a_killed_process_did_not_make_durable_is_made_so_before_it_counts(
    tmp_path: Path, path: Path, source: Path, store: CodeStore
) -> None:
    """A process killed after the rename and before the sync leaves a pack that can be read and may yet be lost."""
    freeze(store, source)
    log = tmp_path / "calls"
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=fsync",
            "-o",
            str(log),
            sys.executable,
            "-c",
            FREEZE,
            str(path),
            str(source),
        ],
        input="again\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"<{path}/objects/pack>" in log.read_text()


def test_what_a_crash_left_of_a_write_is_removed(path: Path, source: Path, store: CodeStore) -> None:
    freeze(store, source)
    (path / "objects/pack/tmp_pack_1_1").write_bytes(b"half")
    freeze(CodeStore(path), source)
    assert not list(path.rglob("tmp_*"))


def test_large_files_pass_through_in_pieces(tmp_path: Path, store: CodeStore) -> None:
    root = tmp_path / "source"
    file = write(root, "big.bin", os.urandom(3 * CHUNK_BYTES) + bytes(9 * CHUNK_BYTES) + b"end")
    tree = freeze(store, root)
    store.checkout(tree, tmp_path / "work")
    assert (
        hashlib.sha256((tmp_path / "work/big.bin").read_bytes()).digest() == hashlib.sha256(file.read_bytes()).digest()
    )


def test_a_damaged_object_is_never_written_out(tmp_path: Path, path: Path, store: CodeStore) -> None:
    root = tmp_path / "source"
    write(root, "a.bin", os.urandom(4000))
    tree = freeze(store, root)
    pack = packs(path)[0]
    whole = pack.read_bytes()
    pack.chmod(0o644)
    found = 0
    for at in range(12, len(whole) - 20, 97):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        try:
            CodeStore(path).checkout(tree, tmp_path / f"work{at}")
        except StoreDamaged:
            found += 1
            assert not (tmp_path / f"work{at}/a.bin").exists()
        else:  # a bit nobody reads: the content was verified
            assert contents(tmp_path / f"work{at}") == contents(root)
    assert found > 40
    pack.write_bytes(whole[:100])
    with pytest.raises(StoreDamaged):
        CodeStore(path).checkout(tree, tmp_path / "work")


def test_a_pack_whose_index_is_torn_is_in_nobody_elses_way(
    tmp_path: Path, path: Path, source: Path, store: CodeStore
) -> None:
    lost = freeze(store, source)
    (index,) = (path / "objects/pack").glob("*.idx")
    index.chmod(0o644)
    whole = index.read_bytes()
    for broken in (b"", b"\xfftOc", whole[:300], whole[:1100] + bytes(20) + whole[1120:]):
        index.write_bytes(broken)
        again = CodeStore(path)
        with pytest.raises(StoreDamaged, match=r"is missing; .*\.idx cannot be read"):
            again.entries(lost)
        write(tmp_path / "other", f"{len(broken)}.py")
        again.checkout(freeze(again, tmp_path / "other"), tmp_path / f"work{len(broken)}")
    assert freeze(again, source) == lost, "the same files are stored again, and mend it"
    again.checkout(lost, tmp_path / "work")
    assert contents(tmp_path / "work") == contents(source)


def test_an_unknown_tree_is_damage(store: CodeStore, source: Path) -> None:
    freeze(store, source)
    with pytest.raises(StoreDamaged, match="missing"):
        store.entries("0" * 40)


@pytest.mark.parametrize("name", [b"..", b"a/b", b".git", b"."])
def test_a_tree_that_would_write_elsewhere_is_refused(path: Path, name: bytes) -> None:
    objects = Objects(path)
    objects.prepare()
    writer = objects.writing()
    blob = hashlib.sha1(b"blob 1\0x").digest()
    tree = b"100644 " + name + b"\0" + blob
    tree_name = hashlib.sha1(b"tree %d\0" % len(tree) + tree).digest()
    assert writer.add(3, blob, 1, [b"x"])
    assert writer.add(2, tree_name, len(tree), [tree])
    writer.finish()
    with pytest.raises(StoreDamaged, match="has an entry named"):
        CodeStore(path).entries(tree_name.hex())


def test_a_first_checkout_replaces_what_a_crash_left_half_written(
    tmp_path: Path, source: Path, store: CodeStore
) -> None:
    tree = freeze(store, source)
    work = tmp_path / "work"
    write(work, "crlf.txt", b"one\r\nTWO\r\n")
    write(work, "run.sh", b"")
    write(work, "link", b"no link")
    write(work, "mine.txt", b"left alone")
    store.checkout(tree, work)
    assert (work / "mine.txt").read_bytes() == b"left alone"
    (work / "mine.txt").unlink()
    assert contents(work) == contents(source)


def test_a_later_checkout_keeps_what_was_changed_and_restores_what_is_missing(
    tmp_path: Path, source: Path, store: CodeStore
) -> None:
    tree = freeze(store, source)
    work = tmp_path / "work"
    store.checkout(tree, work)
    (work / "crlf.txt").write_bytes(b"changed by the run")
    (work / "run.sh").unlink()
    (work / "link").unlink()
    (work / "link").write_bytes(b"a file now")
    done = store.checkout(tree, work, keep_changed=True)
    assert done.kept == ("crlf.txt", "link")
    assert (work / "crlf.txt").read_bytes() == b"changed by the run"
    assert (work / "run.sh").stat().st_mode & stat.S_IXUSR


def test_a_later_checkout_restores_what_a_power_cut_tore(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    work = tmp_path / "work"
    store.checkout(tree, work)
    times = (work / "crlf.txt").stat()
    (work / "crlf.txt").write_bytes(b"one\r\n\0\0\0\0\0")
    os.utime(work / "crlf.txt", ns=(times.st_atime_ns, times.st_mtime_ns))  # the inode is whole, a block is not
    (work / "a").write_bytes(b"")  # neither block nor time reached the disk
    assert store.checkout(tree, work, keep_changed=True).kept == ()
    assert contents(work) == contents(source)


def test_a_later_checkout_keeps_a_changed_mode(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    work = tmp_path / "work"
    store.checkout(tree, work)
    (work / "crlf.txt").chmod(0o755)
    assert store.checkout(tree, work, keep_changed=True).kept == ("crlf.txt",)
    assert (work / "crlf.txt").stat().st_mode & stat.S_IXUSR


def test_a_folder_replaced_by_a_link_is_not_written_through(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    store.checkout(tree, work)
    shutil.rmtree(work / "z")
    elsewhere.mkdir()
    (work / "z").symlink_to(elsewhere)
    assert store.checkout(tree, work, keep_changed=True).kept == ("z/up", "z/y/x/w.py")
    assert list(elsewhere.iterdir()) == []
    store.checkout(tree, work)
    assert contents(work) == contents(source)
    assert list(elsewhere.iterdir()) == []


def test_a_file_is_known_to_be_untouched_by_its_status_alone(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    work = tmp_path / "work"
    store.checkout(tree, work)
    entries = store.entries(tree)
    plain = [name for name, entry in entries.items() if entry.mode != LINK]
    assert all(is_untouched((work / name).lstat(), entries[name]) for name in plain)
    (work / "crlf.txt").write_bytes(b"one\r\nTWO\r\n")
    assert not is_untouched((work / "crlf.txt").lstat(), entries["crlf.txt"])
    times = (work / "run.sh").stat()
    os.utime(work / "run.sh", ns=(times.st_atime_ns, times.st_mtime_ns - 10 * 10**9))
    assert not is_untouched((work / "run.sh").lstat(), entries["run.sh"]), "its time was set, ten seconds after"
    shutil.copy2(work / "a b.py", work / "a")
    assert not is_untouched((work / "a").lstat(), entries["a"])


def test_several_checkouts_run_beside_a_freeze(tmp_path: Path, source: Path, store: CodeStore) -> None:
    tree = freeze(store, source)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_ in range(5):
                if number == 0:
                    write(source.parent / "other", f"f{round_}.py", os.urandom(1000))
                    freeze(store, source.parent / "other")
                else:
                    store.checkout(tree, tmp_path / f"work{number}-{round_}")
        except BaseException as error:  # noqa: BLE001  handed to the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert contents(tmp_path / "work3-4") == contents(source)


FREEZE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from labrun.store.code import CodeStore
root = Path(sys.argv[2])
listing = SimpleNamespace(files=tuple(sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())))
store = CodeStore(Path(sys.argv[1]))
for line in sys.stdin:
    if line.strip() == "files":
        print(store.store_files({"a": b"1", "b/c": b"2"}), flush=True)
        continue
    if line.strip() == "touch":
        (root / "run.py").write_bytes(b"two")
    print(store.freeze(root, listing).tree, flush=True)
"""


def synced(call: str) -> str:
    """Say what a line of strace synced: the call and the file's name without its numbers."""
    verb, _, rest = call.partition("(")
    name = rest.partition("<")[2].partition(">")[0].rpartition("/")[2]
    return f"{verb} {'_'.join(name.split('_')[:2])}"


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts system calls with strace")
def test_a_freeze_syncs_pack_index_and_folder_and_an_unchanged_one_nothing(tmp_path: Path, path: Path) -> None:
    root, log = tmp_path / "source", tmp_path / "calls"
    write(root, "run.py", b"one")
    path.parent.mkdir()
    command = ["strace", "-f", "-y", "-s", "64", "-e", "trace=fsync,fdatasync,syncfs,sync,rename,write"]
    done = subprocess.run(
        [*command, "-o", str(log), sys.executable, "-c", FREEZE, str(path), str(root)],
        input="first\nagain\ntouch\nfiles\nfiles\n",
        capture_output=True,
        text=True,
        check=True,
    )
    calls = [line.split(None, 1)[1] for line in log.read_text().splitlines()]
    answers = [i for i, call in enumerate(calls) if any(f'"{tree}' in call for tree in done.stdout.split())]
    assert len(answers) == 5
    parts = [calls[begin:end] for begin, end in zip([0, *answers], answers, strict=False)]
    first, again, touched, files, same = (
        [synced(call) for call in part if "sync" in call.partition("(")[0]] for part in parts
    )
    assert again == same == []
    assert touched == files == ["fsync tmp_pack", "fsync tmp_idx", "fsync pack"]
    assert len(first) == 3 + 8  # making the repository is durable too
    renames = [i for i, call in enumerate(calls) if call.startswith("rename")]
    last_sync = max(i for i, call in enumerate(calls[: answers[0]]) if call.startswith("fsync"))
    assert renames[1] < last_sync, "the folder is synced after both files have their names"
