from pathlib import Path

import pytest

from labrun.capture.editables import Editable, read_editables
from labrun.capture.packages import list_packages
from labrun.capture.readings import Readings
from tests.capture.installed import editable, install

SETUPTOOLS_FINDER = """\
from __future__ import annotations
import sys
MAPPING: dict[str, str] = {{'pkg': '{root}/src/pkg', 'ns.inner': '{root}/src/ns/inner'}}
NAMESPACES: dict[str, list[str]] = {{'ns': ['{root}/src/ns']}}
PATH_PLACEHOLDER = '__editable__.pkg-1.0.finder' + ".__path_hook__"
class _EditableFinder:
    pass
def install():
    sys.meta_path.append(_EditableFinder)
"""
REDIRECTOR = """\
from editables.redirector import RedirectingFinder as F
F.install()
F.map_module('pkg', '{root}/src/pkg/__init__.py')
F.map_module('one', '{root}/src/one.py')
"""
HOOK = """\
import sys
def install(package_name, top_level_modules, build_path):
    sys.meta_path.insert(0, object())
install('pkg', {{'pkg'}}, '{root}/build')
"""


def read(site: Path, root: Path, files: dict[str, str]) -> Editable:
    written = {name: text.format(root=root) for name, text in files.items()}
    install(site, "pkg", "1.0", direct=editable(root), files=written)
    (found,) = read_editables(list_packages([str(site)], Readings()))
    return found


def test_a_pth_line_puts_a_folder_on_the_path(tmp_path: Path) -> None:
    found = read(tmp_path, Path("/p"), {"_pkg.pth": "# remark\n{root}/src\n\nimport os; os.getpid()\nrelative\n"})
    assert found == Editable("pkg", "/p", folders=("/p/src", str(tmp_path / "relative")))


def test_the_finder_of_setuptools_maps_names(tmp_path: Path) -> None:
    files = {
        "__editable__.pkg-1.0.pth": "import __editable___pkg_1_0_finder; __editable___pkg_1_0_finder.install()",
        "__editable___pkg_1_0_finder.py": SETUPTOOLS_FINDER,
    }
    found = read(tmp_path, Path("/p"), files)
    modules = (("pkg", "/p/src/pkg"), ("ns.inner", "/p/src/ns/inner"), ("ns", "/p/src/ns"))
    assert found == Editable("pkg", "/p", modules=modules)


def test_the_redirector_of_hatch_and_pdm_maps_names(tmp_path: Path) -> None:
    files = {"_editable_impl_pkg.pth": "import _editable_impl_pkg", "_editable_impl_pkg.py": REDIRECTOR}
    found = read(tmp_path, Path("/p"), files)
    assert found == Editable("pkg", "/p", modules=(("pkg", "/p/src/pkg"), ("one", "/p/src/one.py")))


def test_a_hook_that_comes_first_is_recognised(tmp_path: Path) -> None:
    files = {"pkg-editable.pth": "import _pkg_editable_loader", "_pkg_editable_loader.py": HOOK}
    assert read(tmp_path, Path("/p"), files).is_hooked


@pytest.mark.parametrize(
    "text", ["MAPPING = {{", "MAPPING = {{'a': f()}}", "MAPPING = {{1: 2, 'b': 3, 'c': 'a\\0'}}", "\0", "MAPPING = 3"]
)
def test_a_loader_nobody_understands_maps_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, Path("/p"), {"_pkg.py": text}) == Editable("pkg", "/p")


def test_files_the_record_names_and_nobody_finds_are_skipped(tmp_path: Path) -> None:
    info = install(tmp_path, "pkg", "1.0", direct=editable(Path("/p")))
    (info / "RECORD").write_text('gone.pth,,\n"quoted.py",,\n../../bin/pkg,,\n')
    assert read_editables(list_packages([str(tmp_path)], Readings())) == (Editable("pkg", "/p"),)


def test_a_link_of_setup_py_develop_is_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "old.egg-info").mkdir(parents=True)
    (source / "old.egg-info/PKG-INFO").write_text("Name: old\nVersion: 1\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/old.egg-link").write_text(f"{source}\n.")
    found = read_editables(list_packages([str(tmp_path / "site")], Readings()))
    assert found == (Editable("old", str(source), folders=(str(source),)),)
