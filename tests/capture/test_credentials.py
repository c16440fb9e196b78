import pytest

from labrun.capture.credentials import revealing_arguments, without_credentials, without_credentials_in


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://ada:pw@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org", "https://example.org"),
        ("https://ada:pa/ss@example.org/x", "https://example.org/x"),
        ("https://example.org:8080/x@y", "https://example.org:8080/x@y"),
        ("https://ada:p%2Fw@example.org:8080/x#frag", "https://example.org:8080/x#frag"),
        ("ssh://git@example.org/a", "ssh://git@example.org/a"),
        ("ssh://git:pw@example.org/a", "ssh://git@example.org/a"),
        ("ssh://ada@example.org/a", "ssh://example.org/a"),
        ("git+https://oauth2:tok@example.org/a@v1", "git+https://example.org/a@v1"),
        ("git@example.org:a.git", "git@example.org:a.git"),
        ("/srv/a@b.git", "/srv/a@b.git"),
        ("file:///srv/a@b.git", "file:///srv/a@b.git"),
        ("https://${USER}:${PASSWORD}@example.org/a", "https://${USER}:${PASSWORD}@example.org/a"),
        ("https://example.org/a?access_token=abc&page=2", "https://example.org/a?access_token=***&page=2"),
        (
            "https://s3.example.org/a?X-Amz-Signature=abc&X-Amz-Date=1",
            "https://s3.example.org/a?X-Amz-Signature=***&X-Amz-Date=1",
        ),
        ("https://conda.example.org/t/tk-123/main", "https://conda.example.org/t/***/main"),
        ("", ""),
    ],
)
def test_addresses_lose_their_credentials_and_nothing_else(url: str, clean: str) -> None:
    assert without_credentials(url) == clean


def test_every_address_in_a_text_is_cleaned() -> None:
    text = "a https://u:p@h/x, 'ftp://u@h' <https://h/y>\nnumpy==1\n"
    assert without_credentials_in(text) == "a https://h/x, 'ftp://h' <https://h/y>\nnumpy==1\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--password=x", "--password"),
        ("--api-key=x", "--api-key"),
        ("-token=x", "-token"),
        ("WANDB_API_KEY=x", "argument 1"),
        ("https://u:p@h/", "argument 1"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "argument 1"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "argument 1"),
    ],
)
def test_arguments_that_look_like_credentials_are_named_without_their_value(word: str, said: str) -> None:
    assert revealing_arguments(["a.py", word]) == (said,)


@pytest.mark.parametrize(
    "word", ["--lr=1e-3", "--pad-token=<pad>", "--max-tokens=5", "--sort-key=x", "--keys", "--secretary=a"]
)
def test_ordinary_arguments_are_not_named(word: str) -> None:
    assert revealing_arguments(["a.py", word]) == ()


def test_an_option_followed_by_its_value_is_named() -> None:
    assert revealing_arguments(["a.py", "--token", "x", "--secret"]) == ("--token",)
