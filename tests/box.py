"""Another machine: a real sshd with keys of its own, reached over a cable that tests can cut."""

import os
import selectors
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers import wait_until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
LAB = Path(sys.executable).with_name("lab")


class Cable:
    """A TCP port that leads to another one, until it is cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_cut = False
        self._is_deaf = False
        self._limit_bytes: int | None = None
        self._linger_s = 0.0
        self.carried_bytes = 0
        """What went to the box."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    near.close()
                    continue
            with suppress(OSError):
                far = socket.create_connection(self._target)
                with self._lock:
                    self._pairs.append((near, far))
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not piece:
                        raise OSError
                    if key.fileobj is far and self._is_deaf:
                        continue
                    key.data.sendall(piece)
                    if key.fileobj is near:
                        self._count(len(piece))
        self._hang_up(near, far)

    def _count(self, size_bytes: int) -> None:
        self.carried_bytes += size_bytes
        if self._limit_bytes is None:
            return
        self._limit_bytes -= size_bytes
        if self._limit_bytes < 0:
            self._limit_bytes, self._is_deaf = None, True
            threading.Timer(self._linger_s, self.cut).start()

    def _hang_up(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        """Nothing comes through any more, and new connections are refused."""
        with self._lock:
            self._is_cut, self._limit_bytes, pairs, self._pairs = True, None, self._pairs, []
        for pair in pairs:
            self._hang_up(*pair)

    def cut_after(self, size_bytes: int, linger_s: float = 0.0) -> None:
        """Cut when so many more bytes went to the box; for a while before that, its answers are lost already."""
        self._limit_bytes, self._linger_s = size_bytes, linger_s

    def mend(self) -> None:
        """Let new connections through."""
        with self._lock:
            self._is_cut = self._is_deaf = False

    @property
    def is_cut(self) -> bool:
        """Whether it is."""
        return self._is_cut

    def close(self) -> None:
        """Take it away."""
        self.cut()
        self._listener.close()


class Box:
    """One sshd. `variables` make a shell here reach it as `box`."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> None:
        """Make keys and settings.

        Args:
            folder: For keys, settings, and the home on the box.
            address: Where sshd listens.
            inside: Put before its command line: a network namespace.
        """
        self.folder, self.home = folder, folder / "box-home"
        self._inside = inside
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name in ("hostkey", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "id.pub", folder / "authorized")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.at = (address, port)
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress {address}\nHostKey {folder}/hostkey\nPidFile {folder}/sshd.pid\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication yes\n"
            "PermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\n"
            f"SetEnv PATH={LAB.parent}:/usr/bin:/bin LAB_HOME={self.home}\n"
        )
        self.start()

    def start(self) -> None:
        """Start sshd and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [*self._inside, SSHD, "-f", self.folder / "sshd_config", "-E", self.folder / "sshd.log"]
        subprocess.run(command, check=True)
        wait_until((self.folder / "sshd.pid").exists, 10, "sshd is up")

    def reach(self, address: str, port: int) -> dict[str, str]:
        """Variables of a shell whose `ssh box` goes there; an ssh of its own reads the settings made here."""
        settings = self.folder / "ssh_config"
        settings.write_text(
            f"Host box\n  HostName {address}\n  Port {port}\n  IdentityFile {self.folder}/id\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known\n  StrictHostKeyChecking accept-new\n  HostKeyAlias box\n"
            f"Host box-password\n  HostName {address}\n  Port {port}\n  PubkeyAuthentication no\n"
            f"  UserKnownHostsFile {self.folder}/known\n  StrictHostKeyChecking accept-new\n  HostKeyAlias box\n"
        )
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {settings} "$@"\n')
        (programs / "ssh").chmod(0o755)
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        return {
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "LAB_HOST": "ssh://box",
            "XDG_RUNTIME_DIR": str(run),
        }

    def stop(self) -> None:
        """End sshd, its sessions, and the lab on the box."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / "sshd.pid").read_text())
            subprocess.run(["pkill", "-P", str(pid)], check=False)
            os.kill(pid, 15)
        variables = {"PATH": "/usr/bin:/bin", "LAB_HOME": str(self.home)}
        subprocess.run([LAB, "server", "stop"], env=variables, capture_output=True, check=False, timeout=60)


@contextmanager
def a_box(folder: Path) -> Iterator[tuple[Box, Cable]]:
    """A machine at the end of a cable."""
    box = Box(folder)
    cable = Cable(box.at)
    try:
        yield box, cable
    finally:
        cable.close()
        box.stop()
