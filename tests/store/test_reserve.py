from pathlib import Path

import pytest

from labrun.store.home import Home, init_home
from labrun.store.reserve import ensure_reserve, ensure_room, free_reserve


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return init_home(tmp_path / "lab")


def test_the_reserve_is_kept_given_back_and_kept_again(home: Home) -> None:
    size = 2**20
    assert ensure_reserve(home, size)
    assert home.reserve.stat().st_blocks * 512 >= size, "it holds real blocks"
    assert ensure_reserve(home, size)
    assert free_reserve(home)
    assert not free_reserve(home)
    assert ensure_reserve(home, size)


def test_a_small_disk_gets_no_reserve(home: Home) -> None:
    assert not ensure_reserve(home, 2**60)
    assert not home.reserve.exists()


def test_with_room_on_the_disk_the_reserve_stays(home: Home) -> None:
    assert ensure_reserve(home, 2**20)
    ensure_room(home)
    assert home.reserve.exists()
