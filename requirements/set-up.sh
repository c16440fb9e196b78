#!/bin/sh
# Make a virtual environment with labrun in it, from hashed requirements.
#
#   sh requirements/set-up.sh demo|dev [FOLDER]      FOLDER: the environment, default .venv
#
# What Debian packages lack is installed when we are root, otherwise named in one apt line.
# A second call with nothing changed returns at once. PYTHON names the interpreter (default python3).
set -eu

group=${1:?demo or dev}
venv=${2:-.venv}
python=${PYTHON:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
requirements="$root/requirements/$group.txt"
stamp="$venv/set-up-$group.txt"
[ -r "$requirements" ] || { echo "set-up: there is no requirements/$group.txt" >&2; exit 2; }

missing() {
    # Debian packages whose programs are not here, in one line.
    if ! command -v "$python" >/dev/null 2>&1; then
        printf 'python3 python3-venv '
    elif ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        printf 'python3-venv '
    fi
    command -v git >/dev/null 2>&1 || printf 'git '
    if [ "$group" = dev ]; then
        command -v strace >/dev/null 2>&1 || printf 'strace '
        command -v faketime >/dev/null 2>&1 || printf 'faketime '
        [ -x /usr/sbin/sshd ] || command -v sshd >/dev/null 2>&1 || printf 'openssh-server '
        command -v ssh >/dev/null 2>&1 || printf 'openssh-client '
        command -v ip >/dev/null 2>&1 || [ -x /sbin/ip ] || printf 'iproute2 '
        command -v zsh >/dev/null 2>&1 || printf 'zsh '
        command -v fish >/dev/null 2>&1 || printf 'fish '
    fi
}

wanted=$(missing)
if [ -n "$wanted" ]; then
    line="apt-get update && apt-get install -y --no-install-recommends ${wanted% }"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "set-up: installing ${wanted% }" >&2
        # A package list may be weeks old: without the update the install asks for files that are gone.
        # When either fails, the line below is printed; apt's own complaint stands above it.
        apt-get update -qq >/dev/null &&
            # shellcheck disable=SC2086  # several words on purpose
            env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null ||
            true
    fi
    wanted=$(missing)
    if [ -n "$wanted" ]; then
        {
            echo "set-up: this machine lacks: ${wanted% }"
            echo "On Debian or Ubuntu, as root:"
            echo "    $line"
        } >&2
        exit 1
    fi
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "set-up: labrun needs Python 3.11 or newer, \`$python\` is $("$python" -V 2>&1)" >&2
    echo "Name another one: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
}

# A copied or moved folder, another interpreter or changed requirements: all of them show here.
facts=$(
    cd "$root"
    pwd
    "$python" -V 2>&1
    cksum "requirements/$group.txt" requirements/set-up.sh pyproject.toml
)
if [ -x "$venv/bin/python" ] && [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$facts" ]; then
    exit 0
fi

echo "set-up: installing labrun for \`$group\` in $venv (once, about a minute)" >&2
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
# No isolation: the build backend is among the hashed requirements, nothing unnamed is downloaded.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$root"
printf '%s\n' "$facts" >"$stamp"
