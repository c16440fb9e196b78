from labrun.core.fullest import fullest


def test_the_folder_is_named_in_which_the_weight_comes_together() -> None:
    shards = [(f"data/train/shard-{i}", 10) for i in range(100)]
    assert fullest([*shards, ("data", 1), ("src/labrun", 60)]) == [("data/train", 1000), ("src/labrun", 60)]


def test_files_in_the_root_itself_are_nobodys_folder() -> None:
    assert fullest([("", 1000)]) == []


def test_at_most_so_many_and_none_that_holds_next_to_nothing() -> None:
    weights = [(name, 100) for name in "abcdef"]
    assert len(fullest(weights, 2)) == 2
    assert fullest([("a", 1000), ("b", 1)]) == [("a", 1000)]


def test_nothing_weighs_nothing() -> None:
    assert fullest([]) == []
    assert fullest([("a", 0)]) in ([], [("a", 0)])
