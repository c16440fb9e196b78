from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_a_home_is_made_once_and_again_without_harm(served: Shell) -> None:
    assert served.lab("init").stdout == f"home: {served.home}\n"
    assert (served.home / "home.json").exists()
    served.lab("init")


def test_state_can_live_on_another_disk(served: Shell, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert served.json("init", "--state", str(state)) == {"home": str(served.home), "state": str(state)}
    served.lab("run", "--quiet", "--", "true")
    assert not (served.home / "queue.sqlite").exists()
    assert served.experiment("latest")["folder"].startswith(str(served.home / "labs"))


def test_a_folder_of_somebody_else_is_refused(served: Shell) -> None:
    served.home.mkdir()
    (served.home / "thesis.tex").touch()
    served.lab("init", status=3)
    assert [path.name for path in served.home.iterdir()] == ["thesis.tex"]
