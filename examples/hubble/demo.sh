#!/bin/sh
# What `make demo` shows: one experiment through `lab run`, its record, its folder. Leaves .lab-demo/ behind.
set -eu
cd "$(dirname "$0")/../.."
# As after `. .venv/bin/activate`: labrun runs a script with the Python of the caller's environment.
VIRTUAL_ENV="$PWD/.venv"
PATH="$VIRTUAL_ENV/bin:$PATH"
LAB_HOME="$PWD/.lab-demo"
export VIRTUAL_ENV PATH LAB_HOME
trap 'lab server stop >/dev/null 2>&1 || true' EXIT

show() {
    printf '\n$'
    printf ' %s' "$@"
    printf '\n'
    "$@"
}

show lab run --name hubble examples/hubble/hubble.py --samples 20000 --seed 1929
show lab info latest
folder=$(lab info --quiet latest)
echo
echo "Everything it left, in $folder:"
(cd "$folder" && find . -path ./work -prune -o -type f -print | sort | sed 's|^\./|    |')
echo
echo "The result, outputs/summary.json:"
sed 's/^/    /' "$folder/outputs/summary.json"
