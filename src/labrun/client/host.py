"""Another machine in front: the lab on a box, reached through the person's own `ssh`.

Each connection is one `ssh` whose far end is `lab bridge`: it starts a server there if need be and copies
bytes between the connection and the server's socket. The first line from there introduces the box. `ssh`
keeps one line to a host and lets later connections use it, so those cost no new handshake.

Source:
    ssh_config(5), ControlMaster, ControlPersist, ServerAliveInterval.
"""

import _socket
import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from labrun.core.errors import BadValue, HostUnreachable, HostWithoutLab, revive

INTRODUCTION = b"LABRUN "
"""Begins the line by which a bridge introduces its box; what a login prints before it is noise."""
_NOISE_LIMIT_BYTES = 8 * 2**20
"""Most that is read before the introduction is whole: the variables of a login are in it."""
_ANSWER_S = 60.0
"""Longest silence until a box introduces itself; somebody may have to type a password."""
FIRST_S = 15
"""How long `ssh` may take to reach a machine for the first time."""
_ALIVE_S, _ALIVE_TRIES = 4, 3
"""A line that is dead is noticed after their product."""
_KEPT_S = 120
"""How long `ssh` keeps its line to a host after the last use."""
_PATH_LIMIT_BYTES = 104 - len("/") - 40 - 17
"""Longest folder for the socket of a kept line: `%C` has 40 characters, and `ssh` adds 17 while it makes it."""
_SAID_BYTES = 64 * 1024
"""So much is kept of what `ssh` and the box complain of."""
_TOLD: dict[str, Any] = {
    **{"version": str, "user": str, "home": str, "python": str | None, "variables": dict, "process": dict},
    "pods": dict,
}
"""What a box must say of itself."""
_SSH_FAILED = 255
"""Exit status of `ssh` for its own failures, ssh(1)."""
_NOT_FOUND = (126, 127)
"""Those of a shell for a program that cannot be started."""
_LOGIN = re.compile(r"[A-Za-z0-9_.%+~$][A-Za-z0-9_.%@\\+~$-]*")
"""Of a directory service too: `ada@physics.org`, `PHYSICS\\ada`; never an option."""
_NAME = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*")


class Address(NamedTuple):
    """Where a box is, and how to get in."""

    name: str
    """Host name, or an alias of `~/.ssh/config`."""
    user: str | None = None
    port: int | None = None
    key: str | None = None
    """Path of a private key."""
    lab: str | None = None
    """The `lab` to call there; None: the one on PATH or in `~/.local/bin`."""
    home: str | None = None
    """The home there; None: what that machine says."""

    @property
    def shown(self) -> str:
        """As one would type it behind `ssh`."""
        port = f" -p {self.port}" if self.port is not None else ""
        return f"{self.user}@{self.name}{port}" if self.user else f"{self.name}{port}"


def parse_address(text: str, given: Mapping[str, Any], place: str) -> Address:
    """Read `ssh://user@box:2222?lab=/opt/bin/lab&home=/data/lab`, `user@box` or `box`.

    Args:
        text: As it was written.
        given: `user`, `port`, `key`, `lab` and `home` from elsewhere; what the text says itself wins.
        place: Who said so, for errors.

    Raises:
        BadValue: It is no such address.
    """
    expected = "ssh://user@box:port, user@box, or a host of ~/.ssh/config"
    try:
        parts = urlsplit(text if "://" in text else f"ssh://{text}")
        port = parts.port
        found = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise BadValue(place, text, expected) from None
    login, _, place_name = parts.netloc.rpartition("@")  # `hostname` would write an alias in small letters
    name = place_name[1:].partition("]")[0] if place_name.startswith("[") else place_name.partition(":")[0]
    user = unquote(login) if login else given.get("user")
    is_plain = text.isprintable() and parts.scheme == "ssh" and parts.path in ("", "/") and not parts.fragment
    if not is_plain or not _NAME.fullmatch(name) or found.keys() - {"lab", "home"}:
        raise BadValue(place, text, expected)
    if user is not None and not _LOGIN.fullmatch(user):
        raise BadValue(place, user, "a login name")
    return Address(
        name,
        user,
        port if port is not None else given.get("port"),
        given.get("key"),
        found.get("lab") or given.get("lab"),
        found.get("home") or given.get("home"),
    )


def remote_command(address: Address, words: Sequence[str] = ("bridge",)) -> str:
    """What `ssh` asks the box's login shell to do, a `lab` command; any shell understands it."""
    set_home = f"LAB_HOME={_path_there(address.home)} " if address.home else ""
    lab = _path_there(address.lab) if address.lab else "lab"
    script = 'PATH="$PATH:$HOME/.local/bin"; export PATH; ' + f"{set_home}exec {lab} {shlex.join(words)}"
    # fish takes a backslash inside single quotes for more than itself
    return "sh -c " + shlex.quote(script).replace("\\", "'\"\\\\\"'")


def _path_there(path: str) -> str:
    """A path for a shell there; `~/` means the home of whoever logs in."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def ssh_command(
    address: Address,
    kept: Path | None,
    timeout_s: int,
    *,
    may_ask: bool,
    words: Sequence[str] = ("bridge",),
    has_terminal: bool = False,
) -> list[str]:
    """The command line of one connection.

    Args:
        address: Where to.
        kept: Private folder for the sockets of kept lines; None: each connection has a line of its own.
        timeout_s: How long `ssh` tries to reach the machine.
        may_ask: Somebody is there to type a password or to look at a host's key.
        words: The `lab` command there.
        has_terminal: It gets a terminal there.
    """
    options = [f"ServerAliveInterval={_ALIVE_S}", f"ServerAliveCountMax={_ALIVE_TRIES}", f"ConnectTimeout={timeout_s}"]
    if kept is not None and len(os.fsencode(kept)) <= _PATH_LIMIT_BYTES:
        options += ["ControlMaster=auto", f"ControlPath={kept}/%C", f"ControlPersist={_KEPT_S}"]
    if not may_ask:
        options.append("BatchMode=yes")
    # what somebody's settings say for his own logins there would be in the way of ours
    options += ["RemoteCommand=none", "ClearAllForwardings=yes"]
    ssh = ["ssh", "-t" if has_terminal else "-T", *(f"-o{option}" for option in options)]
    return [*ssh, *_login(address), remote_command(address, words)]


def run_there(address: Address, kept: Path | None, words: Sequence[str], *, may_ask: bool, has_terminal: bool) -> int:
    """Run a `lab` command on a box, with our standard streams; its exit status.

    Raises:
        HostUnreachable: `ssh` did not get in; why, it has said itself.
        HostWithoutLab: There is no such `lab`.
    """
    import subprocess  # start-up time: only with another machine in front

    command = ssh_command(address, kept, FIRST_S, may_ask=may_ask, words=words, has_terminal=has_terminal)
    try:
        status = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise _no_ssh(address) from None
    if status == _SSH_FAILED:
        raise HostUnreachable(address.shown, "`ssh` did not get in, or the line was cut")
    if status in _NOT_FOUND:
        raise HostWithoutLab(address.shown, f"`{address.lab or 'lab'}` is not found there", _install(address))
    return status


def shell_command(address: Address, folder: str) -> list[str]:
    """The command line of a shell in a folder there."""
    return ["ssh", "-t", "-oRemoteCommand=none", *_login(address), f'cd {shlex.quote(folder)} && exec "$SHELL" -l']


def _login(address: Address) -> list[str]:
    words = ["-l", address.user] if address.user else []
    words += ["-p", str(address.port)] if address.port is not None else []
    words += ["-i", str(Path(address.key).expanduser())] if address.key else []
    return [*words, "--", address.name]


def kept_lines_folder(folder: Path) -> Path | None:
    """Make the private folder for kept lines; None when it is not ours alone: then no line is kept."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if is_ours else None


class Host:
    """A box whose lab is spoken to; every `open` is a connection to its server."""

    def __init__(self, address: Address, kept: Path | None, *, may_ask: bool) -> None:
        """Remember how to get there; nothing is opened yet."""
        self.address = address
        self._kept, self._may_ask = kept, may_ask
        self._lines: list[Any] = []
        self.introduction: dict[str, Any] = {}
        """What the box said of itself when it was last reached."""

    def open(self, timeout_s: int) -> _socket.socket:
        """Connect to the server there.

        Args:
            timeout_s: How long `ssh` tries to reach the machine.

        Raises:
            HostUnreachable: `ssh` did not get in.
            HostWithoutLab: It got in, and no labrun answered.
            LabError: The lab there cannot start its server, for the reason it gave itself.
        """
        import subprocess  # start-up time: only with another machine in front

        command = ssh_command(self.address, self._kept, timeout_s, may_ask=self._may_ask)
        ours, theirs = _socket.socketpair()
        said = _pad()
        process, end = None, theirs.fileno()
        try:
            with _deaf_to_the_keyboard():
                process = subprocess.Popen(command, stdin=end, stdout=end, stderr=said)
            theirs.close()
            self._meet(ours, process, said)
        except FileNotFoundError:
            ours.close()
            raise _no_ssh(self.address) from None
        except BaseException:
            ours.close()
            if process is not None:
                _dismiss(process)
            raise
        finally:
            theirs.close()
            os.close(said)
        self._lines = [*(line for line in self._lines if line.poll() is None), process]
        return ours

    def _meet(self, line: _socket.socket, process: Any, said: int) -> None:
        """Read up to the introduction."""
        line.settimeout(_ANSWER_S)
        heard = b""
        while True:
            at = heard.find(INTRODUCTION) if heard.startswith(INTRODUCTION) else heard.find(b"\n" + INTRODUCTION)
            if at >= 0 and b"\n" in (rest := heard[at:].lstrip(b"\n")):
                break
            try:
                piece = line.recv(65536)
            except TimeoutError:
                raise HostUnreachable(self.address.shown, f"it said nothing for {_ANSWER_S:g} s") from None
            except OSError:
                piece = b""
            if not piece or len(heard) > _NOISE_LIMIT_BYTES:
                raise self._refusal(process, _tail(said), heard)
            heard += piece
        try:
            told = json.loads(rest.partition(b"\n")[0][len(INTRODUCTION) :])
        except ValueError:
            told = None
        error = told.get("error") if isinstance(told, dict) else None
        if isinstance(error, dict) and isinstance(error.get("code"), str):
            hint = str(error["hint"]) if error.get("hint") is not None else None
            found = revive(error["code"], str(error.get("message")), hint, error.get("details"))
            found.message = f"on `{self.address.shown}`: {found.message}"
            raise found
        if not isinstance(told, dict) or not all(isinstance(told.get(key), kind) for key, kind in _TOLD.items()):
            raise HostWithoutLab(self.address.shown, "its bridge talks nonsense", "bring both to the same version")
        self.introduction = told

    def _refusal(self, process: Any, said: str, heard: bytes) -> Exception:
        """Why a line ended before the box introduced itself."""
        import subprocess  # loaded already

        try:
            status = process.wait(5)
        except subprocess.TimeoutExpired:
            status = None
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1] if lines else "it hung up without a word"
        shown = self.address.shown
        if status == _SSH_FAILED:
            if "HOST IDENTIFICATION HAS CHANGED" in said:
                hint = f"if you know why, `ssh-keygen -R {self.address.name}` forgets the old key"
                return HostUnreachable(shown, "its host key is not the one it had", hint)
            return HostUnreachable(shown, last)
        lab = self.address.lab or "lab"
        if status in _NOT_FOUND:
            return HostWithoutLab(shown, f"`{lab}` is not found there ({last})", _install(self.address))
        if "unknown command" in said:
            return HostWithoutLab(shown, "the labrun there is too old for this", "bring it to the same version")
        told = heard[-200:].decode("utf-8", "replace").strip().rpartition("\n")[2]
        return HostWithoutLab(shown, last if lines else told or last, f"try `ssh {shown} {lab} --version` by hand")


def _no_ssh(address: Address) -> HostUnreachable:
    return HostUnreachable(address.shown, "there is no `ssh` here", "install the OpenSSH client")


def _install(address: Address) -> str:
    return f"install labrun there, or say where it is: `--host 'ssh://{address.shown}?lab=/path/to/lab'`"


def _dismiss(process: Any) -> None:
    """End an `ssh` that may still ask for a password: asked to leave, it lets the terminal show what is typed again."""
    import subprocess  # loaded already

    process.terminate()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()


def _pad() -> int:
    """A file in memory that cannot grow: a box that complains without end must not fill ours."""
    found = os.memfd_create("labrun-ssh", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(found, _SAID_BYTES)
    fcntl.fcntl(found, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return found


def _tail(said: int) -> str:
    return os.pread(said, _SAID_BYTES, 0).rstrip(b"\0")[-4096:].decode("utf-8", "replace")


@contextlib.contextmanager
def _deaf_to_the_keyboard() -> Iterator[None]:
    """What is started inside never gets Ctrl-C: that is meant for the experiment, and must not cut the line to it."""
    keys = {signal.SIGINT, signal.SIGQUIT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, keys)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
