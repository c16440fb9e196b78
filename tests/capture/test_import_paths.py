import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from labrun.capture.import_paths import Imports, map_imports, not_frozen_arguments
from labrun.capture.listing import list_code
from labrun.capture.readings import Readings
from tests.capture.installed import editable, git, install, make_environment, project, site_of
from tests.capture.test_editables import HOOK, REDIRECTOR, SETUPTOOLS_FINDER


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(
        tmp_path / "root",
        {"src/pkg/__init__.py": "", "lib/tool.py": "", "train.py": "", ".gitignore": "*.so\nbuild/\ndata/\n"},
    )


def mapped(
    root: Path,
    python: Path | None = None,
    path: str | None = None,
    *,
    cwd: Path | None = None,
    files: Sequence[str] | None = None,
    readings: Readings | None = None,
) -> Imports:
    return map_imports(
        root=root,
        files=list_code(root).files if files is None else files,
        interpreter=python,
        python_path=path,
        cwd=cwd or root,
        readings=readings,
    )


def named(found: Imports) -> list[tuple[str, str]]:
    return [(each.kind, each.path) for each in found.not_frozen]


def test_without_python_path_and_editables_nothing_is_touched(root: Path, python: Path) -> None:
    assert mapped(root, python) == Imports()


def test_absolute_entries_inside_the_root_become_places_in_the_copy(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    found = mapped(root, path=f"{root}/src:{tmp_path}/shared:/no/such:{root}")
    assert found.import_path == ("./src", f"{tmp_path}/shared", "/no/such", "./")
    assert named(found) == [("import_path", f"{tmp_path}/shared")]


def test_entries_that_lie_elsewhere_alone_are_left_as_they_are(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    found = mapped(root, path=f"{tmp_path}/shared")
    assert found.import_path is None
    assert named(found) == [("import_path", f"{tmp_path}/shared")]


def test_relative_entries_are_meant_from_the_callers_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    found = mapped(root, path="../lib:../../shared::.", cwd=root / "src")
    assert found.import_path == ("./lib", f"{tmp_path}/shared", "./src")
    outside = mapped(root, path="root/src:shared", cwd=tmp_path)
    assert outside.import_path == ("./src", f"{tmp_path}/shared")


def test_an_entry_with_nothing_frozen_in_it_stays_live_and_is_named(root: Path) -> None:
    (root / "build/lib").mkdir(parents=True)
    (root / "build/lib/x.py").touch()
    found = mapped(root, path=f"{root}/build/lib")
    assert found.import_path is None
    assert named(found) == [("import_path", f"{root}/build/lib")]


def test_an_entry_reached_through_a_link_is_the_same_place(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert mapped(root, path=f"{tmp_path}/alias/src").import_path == ("./src",)


def test_a_folder_outside_is_named_with_commit_and_dirty_flag(root: Path, tmp_path: Path) -> None:
    other = project(tmp_path / "other", {"code/m.py": "1\n"})
    (found,) = mapped(root, path=f"{other}/code").not_frozen
    assert (found.commit, found.is_dirty) == (git(other, "rev-parse", "HEAD").strip(), False)
    (other / "code/m.py").write_text("2\n")
    (found,) = mapped(root, path=f"{other}/code").not_frozen
    assert found.is_dirty
    assert found.modified is not None


@pytest.mark.parametrize(
    "loader",
    [
        "",
        "MAPPING: dict[str, str] = {{'pkg': '{root}/src/pkg'}}",
        "F.map_module('pkg', '{root}/src/pkg/__init__.py')",
    ],
    ids=["path line", "finder of setuptools", "redirector"],
)
def test_an_editable_install_inside_the_root_is_mapped(root: Path, python: Path, loader: str) -> None:
    line = "import _loader" if loader else f"{root}/src"
    files = {"_pkg.pth": line, "_loader.py": loader.format(root=root)}
    install(site_of(python), "pkg", "1.0", direct=editable(root), files=files)
    found = mapped(root, python, path="/usr/lib/none")
    assert found == Imports(("/usr/lib/none", "./src"))


def test_a_link_of_setup_py_develop_inside_the_root_is_mapped(root: Path, python: Path) -> None:
    (root / "src/pkg.egg-info").mkdir()
    (root / "src/pkg.egg-info/PKG-INFO").write_text("Name: pkg\nVersion: 1\n")
    (site_of(python) / "pkg.egg-link").write_text(f"{root}/src\n..\n")
    (site_of(python) / "easy-install.pth").write_text(f"{root}/src\n")
    assert mapped(root, python).import_path == ("./src",)


def test_a_pth_line_without_a_package_is_mapped_too(root: Path, python: Path) -> None:
    (site_of(python) / "conda.pth").write_text(f"{root}/lib\n")
    assert mapped(root, python) == Imports(("./lib",))


def test_namespace_packages_and_single_modules_are_found_by_their_names(root: Path, python: Path) -> None:
    for place in ("src/ns/inner/__init__.py", "src/one.py"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    files = {"_a.py": SETUPTOOLS_FINDER.format(root=root), "_b.py": REDIRECTOR.format(root=root)}
    install(site_of(python), "pkg", "1.0", direct=editable(root), files=files)
    assert mapped(root, python) == Imports(("./src",))


def test_a_package_called_otherwise_than_its_folder_stays_live_and_is_named(root: Path, python: Path) -> None:
    text = f"MAPPING = {{'tool': '{root}/lib', 'pkg': '{root}/src/pkg'}}"
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_f.py": text})
    found = mapped(root, python)
    assert found.import_path == ("./src",)
    assert named(found) == [("editable", str(root))]
    assert "live code in" in found.notices[0]


def test_an_editable_install_whose_folder_is_not_frozen_is_named(root: Path, python: Path) -> None:
    (root / "build/__editable__.pkg").mkdir(parents=True)
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_p.pth": f"{root}/build/__editable__.pkg"})
    found = mapped(root, python)
    assert found.import_path is None
    assert named(found) == [("editable", str(root))]


def test_a_hook_that_comes_before_python_path_is_named(root: Path, python: Path) -> None:
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_h.py": HOOK.format(root=root)})
    found = mapped(root, python)
    assert found.import_path is None
    assert named(found) == [("editable", str(root))]
    assert "install it without `-e`" in found.notices[0]


def test_an_editable_install_outside_is_named_with_its_commit(root: Path, python: Path, tmp_path: Path) -> None:
    other = project(tmp_path / "other", {"a.py": ""})
    install(site_of(python), "other", "1.0", direct=editable(other), files={"_o.pth": str(other)})
    (found,) = mapped(root, python).not_frozen
    assert (found.kind, found.path, found.is_dirty) == ("editable", str(other), False)
    assert found.commit == git(other, "rev-parse", "HEAD").strip()


def test_an_environment_inside_the_root_is_no_code(root: Path) -> None:
    python = make_environment(root / ".venv")
    install(site_of(python), "thing", "1.0")
    assert mapped(root, python) == Imports()


def test_compiled_extensions_beside_frozen_code_are_named(root: Path, python: Path) -> None:
    suffix = f".cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so"
    for name in (f"_fast{suffix}", "_other.cpython-27.so", "_old.abi3.so", "not a module.so"):
        (root / "src/pkg" / name).write_bytes(b"ELF")
    (root / "data").mkdir()
    (root / "data/lib.so").touch()
    found = mapped(root, python)
    assert named(found) == [
        ("extension", f"{root}/src/pkg/_fast{suffix}"),
        ("extension", f"{root}/src/pkg/_old.abi3.so"),
    ]
    assert found.not_frozen[0].size_bytes == 3
    assert f"--link src/pkg/_fast{suffix}" in found.notices[0]


def test_an_extension_that_is_frozen_is_not_named(root: Path, python: Path) -> None:
    (root / "src/pkg/_fast.so").touch()
    git(root, "add", "-f", ".")
    assert mapped(root, python).not_frozen == ()


def test_an_extension_that_is_linked_into_the_copy_is_not_named(root: Path, python: Path) -> None:
    (root / "src/pkg/_fast.so").touch()
    found = map_imports(
        root=root,
        files=list_code(root).files,
        interpreter=python,
        python_path=None,
        cwd=root,
        links=["src/pkg/_fast.so"],
    )
    assert found == Imports()


def test_an_extension_built_later_is_seen(root: Path, python: Path) -> None:
    readings = Readings(settled_s=0)
    assert mapped(root, python, readings=readings).not_frozen == ()
    (root / "src/pkg/_fast.so").touch()
    assert named(mapped(root, python, readings=readings)) == [("extension", f"{root}/src/pkg/_fast.so")]


def test_a_mapped_folder_that_hides_the_standard_library_is_told(root: Path, python: Path) -> None:
    (root / "src/logging.py").touch()
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_p.pth": f"{root}/src"})
    assert mapped(root, python).notices == (
        "./src comes first on the frozen import path and hides modules of the standard library: logging",
    )


def test_a_python_that_does_not_answer_leaves_python_path_mapped(root: Path, tmp_path: Path) -> None:
    found = mapped(root, tmp_path / "no-python", path=f"{root}/src")
    assert found.import_path == ("./src",)
    assert "editable installs are not mapped" in found.notices[0]


def test_a_program_is_taken_to_start_the_callers_python(root: Path, python: Path) -> None:
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_p.pth": f"{root}/src"})
    variables = {"PATH": str(python.parent), "HOME": str(root)}
    found = map_imports(
        root=root, files=list_code(root).files, interpreter=None, python_path=None, cwd=root, variables=variables
    )
    assert found.import_path == ("./src",)


def test_the_frozen_copy_is_what_python_then_imports(root: Path, python: Path, tmp_path: Path) -> None:
    """The same, seen by Python itself: an editable install by setuptools' own finder, edited after the copy."""
    (root / "src/pkg/__init__.py").write_text("said = 'frozen'\n")
    text = f"""
import sys
MAPPING = {{'pkg': '{root}/src/pkg'}}
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        from importlib.util import spec_from_file_location
        if name in MAPPING:
            return spec_from_file_location(name, MAPPING[name] + '/__init__.py')
sys.meta_path.append(Finder)
"""
    install(site_of(python), "pkg", "1.0", direct=editable(root), files={"_f.pth": "import _f", "_f.py": text})
    found = mapped(root, python)
    work = tmp_path / "work"
    subprocess.run(["cp", "-r", str(root), str(work)], check=True)
    (root / "src/pkg/__init__.py").write_text("said = 'live'\n")
    command = [str(python), "-c", "import pkg; print(pkg.said)"]
    assert found.import_path is not None
    path = os.pathsep.join(str(work / entry) for entry in found.import_path)
    live = subprocess.check_output(command, cwd=tmp_path, text=True, env={})
    frozen = subprocess.check_output(command, cwd=tmp_path, text=True, env={"PYTHONPATH": path})
    assert (live.strip(), frozen.strip()) == ("live", "frozen")


def test_arguments_that_are_paths_to_live_things_are_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    (root / "data").mkdir()
    words = [
        f"{root}/out.txt",
        f"--data={tmp_path}/data.csv",
        "../data.csv",
        f"-o={root}/data",
        "/no/such/file",
        "--lr=1/2",
        "train.py",
        "/dev/null",
        "--name=/",
        "--out=../not-there",
        "nul\0/x",
    ]
    found = not_frozen_arguments(words, root=root, cwd=root)
    assert [each.path for each in found] == [f"{root}/out.txt", f"{tmp_path}/data.csv", f"{root}/data", "/"]
    assert {each.kind for each in found} == {"argument"}
    assert [each.size_bytes for each in found] == [None, 4, None, None]


def test_arguments_of_a_command_without_a_source_root_are_named_too(tmp_path: Path) -> None:
    (tmp_path / "data.csv").touch()
    (found,) = not_frozen_arguments([f"{tmp_path}/data.csv", "../x"], root=None, cwd=tmp_path)
    assert found.path == f"{tmp_path}/data.csv"
