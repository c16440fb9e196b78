"""Credentials inside texts that are recorded: passwords in URLs, secrets on command lines.

A heuristic by form: it finds what is written the way credentials are written. Texts that may hold
anything else, the values of variables say, are not recorded at all (see `variables.py`).
"""

import re
from collections.abc import Sequence

_URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>`\\]+""")
_SECRET_WORDS = (
    r"(?:token|secret|passw|passphrase|pwd|api[-_]?key|access[-_]?key|private[-_]?key|signature|credential|auth)"
)
_QUERY = re.compile(rf"(?i)([?&;][^=&#;]*{_SECRET_WORDS}[^=&#;]*=|[?&;](?:key|sig|pass)=)[^&#;]+")
_CONDA_TOKEN = re.compile(r"/t/[^/]+")
_BY_NAME = re.compile(r"^\$\{[\w-]+\}(:\$\{[\w-]+\})?$")
_OPTION = re.compile(rf"(?i)^--?[\w.-]*{_SECRET_WORDS}[\w.-]*(?:=(?P<value>.*))?$", re.DOTALL)
_SETTING = re.compile(rf"(?i)^[\w.+-]*{_SECRET_WORDS}[\w.-]*=.", re.DOTALL)
_KNOWN_FORMS = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|hf_\w{20,}|AKIA[0-9A-Z]{16}|xox[abprs]-\S{10,})"
)
_SECRET_NAMES = frozenset(
    {"token", "secret", "passwd", "password", "passphrase", "pwd", "key", "apikey", "signature", "credential"}
    | {"credentials", "auth"}
)
_TOKENS_OF_TEXT = frozenset({"pad", "eos", "bos", "unk", "mask", "sep", "cls", "stop", "start", "end", "special"})


def without_credentials(url: str) -> str:
    """Take user name, password and tokens out of one URL; everything else stays as it is written.

    A user name stays where it is no secret: `git` in an SSH address. So do names of variables,
    which pip reads from the environment.

    >>> without_credentials("https://ada:hunter2@example.org/pkg.git")
    'https://example.org/pkg.git'
    >>> without_credentials("ssh://git@example.org/pkg.git"), without_credentials("git@example.org:pkg.git")
    ('ssh://git@example.org/pkg.git', 'git@example.org:pkg.git')
    >>> without_credentials("https://${USER}:${TOKEN}@example.org/x")
    'https://${USER}:${TOKEN}@example.org/x'
    >>> without_credentials("https://conda.example.org/t/se-cr-et/lab/linux-64/x.conda?sig=abc&n=1")
    'https://conda.example.org/t/***/lab/linux-64/x.conda?sig=***&n=1'

    Source:
        RFC 3986, 3.2.1 user information; PEP 610, "Specification", on credentials in `url`.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    # A password with an unescaped `/` is no valid URL, but it is a password.
    place = re.match(r"[^/?#@]*:[^/?#@]*[^0-9/?#@][^@\s]*@[^/?#]*|[^/?#]*", rest)
    authority = place[0] if place is not None else ""
    user, at, host = authority.rpartition("@")
    is_plain = user == "git" and ("ssh" in scheme or scheme.endswith("git"))
    if at and not is_plain and not _BY_NAME.match(user):
        name = user.partition(":")[0]
        authority = f"git@{host}" if name == "git" and "ssh" in scheme else host
    tail = rest[len(place[0]) if place is not None else 0 :]
    path, question, query = tail.partition("?")
    path = _CONDA_TOKEN.sub("/t/***", path, count=1) if path.startswith("/t/") else path
    return f"{scheme}://{authority}{path}" + (_QUERY.sub(r"\1***", question + query) if question else "")


def without_credentials_in(text: str) -> str:
    """Take credentials out of every URL in a text.

    >>> without_credentials_in("-i https://ada:pw@example.org/simple  # ours")
    '-i https://example.org/simple  # ours'
    """
    return _URL.sub(lambda found: without_credentials(found[0]), text)


def revealing_arguments(argv: Sequence[str]) -> tuple[str, ...]:
    """Name the arguments that look like credentials: a command line is recorded as it is.

    Args:
        argv: The whole command line.

    Returns:
        Names of options, or positions; never a value.

    >>> revealing_arguments(["train.py", "--api-key", "abc", "--lr=1", "https://ada:pw@example.org/", "DB_PASSWORD=x"])
    ('--api-key', 'argument 4', 'argument 5')
    >>> revealing_arguments(["train.py", "--tokenizer", "bpe", "--n-tokens=5", "--auth-off", "--lr"])
    ()
    """
    found = []
    for i, word in enumerate(argv):
        option = _OPTION.match(word)
        if option is not None and _is_secret_name(word.partition("=")[0]):
            follows = option["value"] is None and i + 1 < len(argv) and not argv[i + 1].startswith("-")
            if option["value"] or follows:
                found.append(word.partition("=")[0])
        elif _is_revealing(word):
            found.append(f"argument {i}")
    return tuple(found)


def _is_revealing(word: str) -> bool:
    if _SETTING.match(word) and _is_secret_name(word.partition("=")[0]):
        return True
    return _KNOWN_FORMS.search(word) is not None or without_credentials_in(word) != word


def _is_secret_name(name: str) -> bool:
    """Tell `--api-token` from `--n-tokens`, `--tokenizer`, `--pad-token` and the like."""
    *before, last = ("", *re.split(r"[-_.]", name.strip("-").lower()))
    return last in _SECRET_NAMES and not (last == "token" and before[-1] in _TOKENS_OF_TEXT)
