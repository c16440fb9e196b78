import subprocess
from pathlib import Path

import pytest

from labrun.capture.patch import Version, is_binary, section

FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000
LONG = b"".join(b"line %d\n" % i for i in range(4000))
PAIRS = [
    (None, Version(FILE, b"a\nb\n")),
    (None, Version(FILE, b"")),
    (None, Version(PROGRAM, b"no end")),
    (None, Version(LINK, b"some/where")),
    (Version(FILE, b"a\nb\n"), None),
    (Version(FILE, b"a\nb\n"), Version(FILE, b"a\nc\n")),
    (Version(FILE, b"a\nb"), Version(FILE, b"a\nb\n")),
    (Version(FILE, b"a\r\nb\r\n"), Version(FILE, b"a\nb\r\n")),
    (Version(FILE, b"a\rb\x0cc\n"), Version(FILE, b"a\rb\x0cd\n")),
    (Version(FILE, b"\xff\n"), Version(FILE, b"\xfe\n")),
    (Version(FILE, b"a\n"), Version(PROGRAM, b"a\n")),
    (Version(FILE, b"a\n"), Version(PROGRAM, b"b\n")),
    (Version(FILE, b"a\n"), Version(LINK, b"b")),
    (Version(LINK, b"a"), Version(LINK, b"b")),
    (Version(FILE, b""), Version(FILE, b"-- \n+++ x\n@@ -1 +1 @@\n")),
    (Version(FILE, LONG), Version(FILE, LONG.replace(b"line 7\n", b"seven\n"))),
    (Version(FILE, LONG[:9000]), Version(FILE, LONG[:9000].replace(b"line 7\n", b"seven\n").replace(b"900\n", b""))),
]
NAMES = [b"plain", b"with space", b"sub/folder/x", "ü-漢".encode(), b'q"uote\\', b"new\nline", b"tab\t", b"caf\xe9"]


def write(path: bytes, version: Version | None) -> None:
    if version is None:
        return
    subprocess.run([b"mkdir", b"-p", path.rpartition(b"/")[0]], check=True)
    place = Path(path.decode("utf-8", "surrogateescape"))
    if version.mode == LINK:
        place.symlink_to(version.content.decode())
    else:
        place.write_bytes(version.content)
        place.chmod(version.mode & 0o777)


def read(path: bytes) -> Version | None:
    place = Path(path.decode("utf-8", "surrogateescape"))
    if place.is_symlink():
        return Version(LINK, str(place.readlink()).encode())
    if not place.exists():
        return None
    return Version(PROGRAM if place.stat().st_mode & 0o100 else FILE, place.read_bytes())


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_git_applies_what_is_written(tmp_path: Path, old: Version | None, new: Version | None) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    patch = b""
    for name in NAMES:
        write(bytes(tmp_path) + b"/" + name, old)
        patch += section(name, old, new)
    (tmp_path / "the.patch").write_bytes(b"# a remark on top\n" + patch)
    subprocess.run(["git", "apply", "--whitespace=nowarn", "the.patch"], cwd=tmp_path, check=True)
    for name in NAMES:
        assert read(bytes(tmp_path) + b"/" + name) == new


def test_a_small_change_in_a_long_file_is_found_a_very_long_one_is_replaced_whole() -> None:
    long = LONG[:9000]
    changed = section(b"x", Version(FILE, long), Version(FILE, long.replace(b"line 7\n", b"7\n")))
    assert changed.count(b"\n") < 15
    whole = section(b"x", Version(FILE, LONG), Version(FILE, LONG.replace(b"line 7\n", b"7\n")))
    assert whole.count(b"\n") > 8000


def test_binary_is_what_git_takes_for_it() -> None:
    assert is_binary(b"a\0")
    assert not is_binary(b"a" * 8000 + b"\0")
