import os
import shutil
import socket
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labrun.capture.listing import CREDENTIALS, NEVER, NO_CREDENTIALS, Listing, list_code
from labrun.core.errors import CodeUnreadable, TooManyFiles
from tests.other_user import NOBODY, refusal

NASTY = (
    "-rf",
    "new\nline.py",
    "unicode-ü-漢.py",
    "with space",
    "caf\udce9.txt",
    "a/--help",
    "quote'\"`$x",
    "*.py",
    "#hash",
)


def write(root: Path, *names: str, text: str = "x\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(root: Path, *words: str) -> str:
    name = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True, text=True).stdout


@contextmanager
def without_git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path, os.environ["PATH"] = os.environ["PATH"], str(tmp_path_factory.mktemp("empty"))
    try:
        yield
    finally:
        os.environ["PATH"] = path


@pytest.fixture(params=["with git", "without git"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "with git":
        yield request.param
    else:
        with without_git(tmp_path_factory):
            yield request.param


@pytest.fixture
def repository(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


def listed(root: Path) -> list[str]:
    return list(list_code(root).files)


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A repository with one of everything; made while git is on the path."""
    root = tmp_path / "busy"
    root.mkdir()
    git(root, "init", "-q")
    write(root, "train.py", "pkg/__init__.py", "pkg/model.py", "gone.py", "kept.log", "sub/data/raw.csv", *NASTY)
    write(root, ".gitignore", text="*.log\nbuild/\n/only-here\n!important.log\nsub/data/*\n!sub/data/keep.csv\n")
    write(root, "pkg/.gitignore", text="*.tmp\n!*.log\n")
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "begin")
    (root / "gone.py").unlink()
    write(root, "new.py", "debug.log", "important.log", "build/out.o", "pkg/scratch.tmp", "pkg/why.log", "only-here")
    write(root, "pkg/only-here", "sub/data/more.csv", "sub/data/keep.csv", "pkg/__pycache__/model.pyc", "excluded")
    write(root, ".git/info/exclude", text="excluded\n")
    write(root, "node_modules/left-pad/index.js", ".ipynb_checkpoints/a.ipynb", "env/pyvenv.cfg", "env/bin/python")
    write(root, "conda/conda-meta/history", "conda/bin/python")
    (root / "link").symlink_to("train.py")
    return root


BUSY = {
    *NASTY,
    ".gitignore",
    "pkg/.gitignore",
    "train.py",
    "pkg/__init__.py",
    "pkg/model.py",
    "kept.log",
    "sub/data/raw.csv",
    "new.py",
    "important.log",
    "pkg/why.log",
    "pkg/only-here",
    "sub/data/keep.csv",
    "link",
}


def test_tracked_and_untracked_files_are_frozen_and_ignored_ones_are_not(busy: Path, either: str) -> None:
    assert set(listed(busy)) == BUSY


def test_a_folder_below_the_top_of_its_repository_follows_the_rules_above(busy: Path, either: str) -> None:
    assert set(listed(busy / "pkg")) == {".gitignore", "__init__.py", "model.py", "only-here", "why.log"}
    assert set(listed(busy / "sub")) == {"data/raw.csv", "data/keep.csv"}


def test_a_folder_without_a_repository_is_walked(tmp_path: Path, either: str) -> None:
    write(tmp_path, "run.py", "lib/a.py", "out/big.bin", "__pycache__/run.pyc", *NASTY)
    write(tmp_path, ".gitignore", text="out/\n")
    assert set(listed(tmp_path)) == {"run.py", "lib/a.py", ".gitignore", *NASTY}


def test_labignore_leaves_out_what_git_tracks(repository: Path, either: str) -> None:
    write(repository, "run.py", "data/big.csv", "data/small.csv", "deep/x.bin")
    write(repository, ".labignore", text="data/*\n!data/small.csv\n")
    write(repository, "deep/.labignore", text="*.bin\n")
    assert listed(repository) == [".labignore", "data/small.csv", "deep/.labignore", "run.py"]


def test_an_unborn_branch_is_listed(repository: Path, either: str) -> None:
    write(repository, "run.py")
    assert listed(repository) == ["run.py"]


def test_submodules_and_nested_repositories_are_frozen_by_content(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library, root = tmp_path / "library", tmp_path / "root"
    for path in (library, root):
        path.mkdir()
        git(path, "init", "-q")
    write(library, "lib.py", "ignored.o")
    write(library, ".gitignore", text="*.o\n")
    git(library, "add", ".")
    git(library, "commit", "-qm", "library")
    write(root, "run.py")
    git(root, "submodule", "--quiet", "add", str(library), "vendor/library")
    git(root, "commit", "-qam", "with a submodule")
    git(root, "clone", "-q", str(library), "nested")
    write(root, "vendor/library/edited.py", "nested/new.py", "nested/new.o")
    expected = {
        ".gitmodules",
        "run.py",
        "nested/.gitignore",
        "nested/lib.py",
        "nested/new.py",
        "vendor/library/.gitignore",
        "vendor/library/edited.py",
        "vendor/library/lib.py",
    }
    assert set(listed(root)) == expected
    with without_git(tmp_path_factory):
        assert set(listed(root)) == expected


def test_a_second_work_tree_of_a_repository_is_listed(busy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = busy.parent / "other"
    git(busy, "worktree", "add", "-q", "--detach", str(other))
    write(other, "late.py", "excluded")
    expected = (BUSY - {"new.py", "important.log", "pkg/why.log", "pkg/only-here", "sub/data/keep.csv", "link"}) | {
        "gone.py",
        "late.py",
    }
    assert set(listed(other)) == expected
    with without_git(tmp_path_factory):
        assert set(listed(other)) == expected


def test_a_project_below_a_repository_that_ignores_everything_is_its_own(repository: Path, either: str) -> None:
    write(repository, ".gitignore", text="*\n")
    write(repository, "project/pyproject.toml", "project/run.py")
    assert listed(repository / "project") == ["pyproject.toml", "run.py"]


def test_a_broken_repository_is_walked_and_said(tmp_path: Path) -> None:
    write(tmp_path, ".git", text="gitdir: /nowhere\n")
    write(tmp_path, "run.py")
    listing = list_code(tmp_path)
    assert listing.files == ("run.py",)
    assert "git does not list" in listing.notices[0]


def test_credentials_are_left_out_by_name_and_examples_stay(tmp_path: Path, either: str) -> None:
    secret = [
        ".env",
        ".env.local",
        "key.pem",
        "id_rsa",
        "deploy/id_ed25519.pub",
        ".netrc",
        ".pypirc",
        ".aws/credentials",
    ]
    secret += ["credentials.json", "a/store.p12", "b.pfx"]
    write(tmp_path, *secret, ".env.example", "run.py", "id_rsa_tools.py", ".aws/config")
    listing = list_code(tmp_path)
    assert listing.left_out == tuple(sorted(secret))
    assert listing.files == (".aws/config", ".env.example", "id_rsa_tools.py", "run.py")


def test_the_list_of_credentials_is_printed_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/frozen-code.md").read_text()
    assert [name for name in (*CREDENTIALS, *NO_CREDENTIALS, *NEVER) if f"`{name}`" not in page] == []


def test_links_are_listed_and_never_followed(repository: Path, either: str) -> None:
    write(repository, "real/a.py")
    (repository / "loop").symlink_to(".")
    (repository / "folder").symlink_to("real")
    (repository / "nas").symlink_to("/nowhere/data")
    (repository / "up").symlink_to("../elsewhere")
    listing = list_code(repository)
    assert listing.files == ("folder", "loop", "nas", "real/a.py", "up")
    assert listing.notices == (
        "link out of the source folder, its target is not frozen: nas -> /nowhere/data, up -> ../elsewhere",
    )


def test_a_tracked_folder_that_became_a_link_is_listed_as_the_link(repository: Path, either: str) -> None:
    write(repository, "real/a.py", "pkg/a.py")
    git_path = os.environ["PATH"]
    if either == "with git":
        git(repository, "add", ".")
    (repository / "pkg/a.py").unlink()
    (repository / "pkg").rmdir()
    (repository / "pkg").symlink_to("real")
    assert listed(repository) == ["pkg", "real/a.py"]
    assert os.environ["PATH"] == git_path


def test_sockets_and_pipes_are_skipped_with_a_notice(tmp_path: Path) -> None:
    write(tmp_path, "run.py")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{os.open(tmp_path, os.O_PATH)}/sock")
        listing = list_code(tmp_path)
    assert listing == Listing(("run.py",), (), ("not frozen, neither file nor link: pipe, sock",))


def test_a_labs_home_inside_the_source_is_not_frozen(repository: Path, either: str) -> None:
    write(repository, "run.py", "lab/home.json", "lab/labs/main/x/README.md", "other/home.json")
    (repository / "lab/control").mkdir()
    assert listed(repository) == ["other/home.json", "run.py"]


def test_only_the_files_named_are_listed(tmp_path: Path) -> None:
    write(tmp_path, "run.py", "other.py", "lib/a.py", "lib/b.py")
    assert list_code(tmp_path, ("run.py",)).files == ("run.py",)
    assert list_code(tmp_path, ("run.py", "lib")).files == ("lib/a.py", "lib/b.py", "run.py")
    with pytest.raises(CodeUnreadable, match=r"missing\.py"):
        list_code(tmp_path, ("missing.py",))


@pytest.mark.parametrize("way", ["git", "walk"])
def test_a_folder_that_cannot_be_read_is_named(way: str) -> None:
    root = Path(tempfile.mkdtemp(prefix="labrun-closed-"))  # the folders of pytest are closed to others
    try:
        write(root, "run.py", "closed/a.py")
        if way == "git":
            git(root, "init", "-q")
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(root)], check=True)
        (root / "closed").chmod(0)
        assert refusal(lambda: list_code(root), CodeUnreadable, root).startswith(f"cannot freeze `{root}/closed`")
    finally:
        (root / "closed").chmod(0o700)
        shutil.rmtree(root)


def test_one_git_process_lists_a_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write(repository, *(f"d{i}/f{i}.py" for i in range(50)))
    bin_path, log = tmp_path_factory.mktemp("bin"), tmp_path_factory.mktemp("log") / "calls"
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    (bin_path / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    (bin_path / "git").chmod(0o755)
    path, os.environ["PATH"] = os.environ["PATH"], f"{bin_path}:{os.environ['PATH']}"
    try:
        assert len(listed(repository)) == 50
    finally:
        os.environ["PATH"] = path
    assert len(log.read_text().splitlines()) == 1
    assert "--no-optional-locks" in log.read_text()


def test_a_rename_that_only_changes_case_is_seen_where_git_ignores_case(repository: Path, either: str) -> None:
    """A repository that came from a Mac has `core.ignorecase` set."""
    write(repository, "Model.py", "README.md")
    if either == "with git":
        git(repository, "add", ".")
        git(repository, "config", "core.ignorecase", "true")
    (repository / "Model.py").rename(repository / "model.py")
    assert listed(repository) == ["README.md", "model.py"]


@pytest.mark.parametrize("where", ["default", "setting"])
def test_the_users_own_ignore_file_counts_with_and_without_git(
    busy: Path, either: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    user = tmp_path / "user"
    write(user, ".config/git/ignore" if where == "default" else "my-ignore", text="new.py\nlink\n")
    if where == "setting":
        write(user, ".gitconfig", text="[core]\n\texcludesFile = ~/my-ignore\n")
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert set(listed(busy)) == BUSY - {"new.py", "link"}
    write(tmp_path / "plain", "new.py")
    assert listed(tmp_path / "plain") == ["new.py"], "outside a repository git has no say"


def test_a_split_index_and_a_compressed_one_are_read(busy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    git(busy, "update-index", "--split-index")
    write(busy, "late.log")
    git(busy, "add", "-f", "late.log")
    with without_git(tmp_path_factory):
        assert set(listed(busy)) == BUSY | {"late.log"}
    git(busy, "update-index", "--no-split-index")
    git(busy, "update-index", "--index-version", "4")
    with without_git(tmp_path_factory):
        assert set(listed(busy)) == BUSY | {"late.log"}


def test_an_index_that_cannot_be_read_is_said(busy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (busy / ".git/index").write_bytes(b"DIRC rubbish")
    with without_git(tmp_path_factory):
        listing = list_code(busy)
    assert "train.py" in listing.files
    assert listing.notices == (f"the index of {busy} cannot be read: files it tracks and ignores are not frozen",)


def test_a_conflict_is_listed_once(repository: Path, either: str) -> None:
    if either == "with git":
        write(repository, "a.py", text="1\n")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "one")
        git(repository, "checkout", "-qb", "other")
        write(repository, "a.py", text="2\n")
        git(repository, "commit", "-qam", "two")
        git(repository, "checkout", "-q", "-")
        write(repository, "a.py", text="3\n")
        git(repository, "commit", "-qam", "three")
        subprocess.run(["git", "merge", "-q", "other"], cwd=repository, check=False, capture_output=True)
        assert git(repository, "ls-files", "-u").count("a.py") == 3
    else:
        write(repository, "a.py")
    assert listed(repository) == ["a.py"]


def test_places_that_stay_live_are_not_listed(busy: Path, either: str) -> None:
    left = {"pkg/__init__.py", "pkg/model.py", "pkg/why.log", "pkg/only-here", "pkg/.gitignore", "train.py"}
    assert set(list_code(busy, without=("pkg", "train.py", "nowhere")).files) == BUSY - left
    assert "pkg/model.py" not in list_code(busy, ("pkg", "new.py"), without=("pkg/model.py",)).files


def test_more_files_than_the_limit_are_refused_and_the_fullest_folders_named(busy: Path, either: str) -> None:
    write(busy, *(f"data/images/{i % 7}/{i}.png" for i in range(200)), *(f"tiles/{i}.npy" for i in range(40)))
    with pytest.raises(TooManyFiles) as caught:
        list_code(busy, limit_files=100)
    count = len(BUSY) + 240
    assert caught.value.message == f"source folder `{busy}` has {count} files, the limit is 100"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("the fullest folders are data/images (200), tiles (40)")
    assert "`/data/images/` in .labignore" in caught.value.hint
    write(busy, ".labignore", text="/data/images/\n")
    assert len(list_code(busy, limit_files=100).files) == len(BUSY) + 40 + 1


def test_a_crowd_below_a_labignore_is_no_reason_to_refuse(repository: Path, either: str) -> None:
    write(repository, "run.py", *(f"data/{i}" for i in range(50)))
    write(repository, ".labignore", text="data/\n")
    assert list_code(repository, limit_files=5).files == (".labignore", "run.py")


def test_a_crowd_is_counted_for_a_while_only(repository: Path, either: str) -> None:
    write(repository, *(f"data/{i % 50}/{i}" for i in range(600)))
    with pytest.raises(TooManyFiles, match=r"has at least 266 files, the limit is 10$"):
        list_code(repository, limit_files=10, counting_s=0.0)


def test_names_of_a_crowd_are_not_kept(repository: Path, either: str) -> None:
    # hard links are made faster than files, and to a listing they are files
    seed = repository / "data/0"
    write(repository, "data/0")
    for folder in range(4):
        (repository / f"data/{folder}.d").mkdir()
        for i in range(10_000):
            os.link(seed, repository / f"data/{folder}.d/{i}")
    tracemalloc.start()
    try:
        with pytest.raises(TooManyFiles, match=r"has 40,001 files"):
            list_code(repository, limit_files=1000)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


NASTY_PATTERNS = (
    "[",
    "[a",
    "\\",
    "a\\",
    "**",
    "a**b",
    "[!",
    "[]]",
    "!",
    "#",
    "\udce9*",
    "[z-a]",
    "*" * 40 + "b",
    "\0",
    "/",
    "//",
)


def test_patterns_that_make_no_sense_are_read_as_git_reads_them(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = ("run.py", "a", "aab", "[", "b")
    write(repository, *files)
    for pattern in NASTY_PATTERNS:
        (repository / ".gitignore").write_bytes(os.fsencode(pattern) + b"\n")
        with_git = listed(repository)
        with without_git(tmp_path_factory):
            assert listed(repository) == with_git, pattern
