from labrun.core.resources import Request


def test_asking_for_nothing_is_told_from_asking_for_little() -> None:
    assert Request().is_empty
    assert not Request(cpus=1).is_empty
    assert not Request(gpu_count=0).is_empty
