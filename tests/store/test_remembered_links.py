from pathlib import Path

import pytest

from labrun.store.remembered_links import remember, remembered


def test_an_answer_is_kept_for_its_folder_and_none_is_an_answer_too(tmp_path: Path) -> None:
    path = tmp_path / "links.json"
    assert remembered(path, "/p") is None
    remember(path, "/p", ("data", "runs"))
    remember(path, "/q", ())
    assert (remembered(path, "/p"), remembered(path, "/q"), remembered(path, "/r")) == (("data", "runs"), (), None)
    remember(path, "/p", ("data",))
    assert remembered(path, "/p") == ("data",)


@pytest.mark.parametrize("content", ["", "[1]", '{"/p": 3}', "{torn"])
def test_a_damaged_file_remembers_nothing_and_is_mended_by_the_next_answer(tmp_path: Path, content: str) -> None:
    path = tmp_path / "links.json"
    path.write_text(content)
    assert remembered(path, "/p") is None
    remember(path, "/p", ("data",))
    assert remembered(path, "/p") == ("data",)
