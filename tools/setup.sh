#!/bin/sh
# Makes .venv with both commands in .venv/bin. Usage: tools/setup.sh demo|test
#
# Missing system packages (tools/system-packages) are installed with apt where that is allowed, else named in one line.
# Python packages are pinned in requirements/. Doing it again when nothing changed costs nothing.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:?usage: tools/setup.sh demo|test}

missing_packages() {
    while read -r package need probe; do
        case $package in ''|'#'*) continue ;; esac
        if [ "$need" = test ] && [ "$purpose" != test ]; then continue; fi
        sh -c "$probe" >/dev/null 2>&1 </dev/null || printf '%s ' "$package"
    done < tools/system-packages
}

install_packages() {
    if [ "$(id -u)" = 0 ]; then become=''; elif sudo -n true 2>/dev/null; then become='sudo -n'; else return 1; fi
    command -v apt-get >/dev/null || return 1
    echo "setup: installing $*"
    $become apt-get update -qq && $become env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$@" >/dev/null
}

if ! command -v python3 >/dev/null; then echo 'setup: python3 is missing; install it: apt-get install python3' >&2; exit 1; fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or later is needed, python3 is $(python3 -V)" >&2; exit 1
fi

missing=$(missing_packages)
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # a list of words
    install_packages $missing || true
    missing=$(missing_packages)
fi
if [ -n "$missing" ]; then
    echo "setup: missing system packages, install them with: apt-get install $missing" >&2
    # Without node everything else works: the demo shows the task as refused.
    [ "$missing" = 'nodejs ' ] && [ "$purpose" = demo ] || exit 1
fi

lists=requirements/runtime.txt
[ "$purpose" = demo ] || lists="$lists requirements/dev.txt"
# shellcheck disable=SC2086  # a list of words
stamp=".venv/.ready-$purpose-$(cat $lists pyproject.toml setup.py lattice_agent/exec/native/*.[ch] tools/setup.sh | cksum | cut -d' ' -f1)"
[ -e "$stamp" ] && exit 0

echo "setup: making .venv"
[ -x .venv/bin/python ] || python3 -m venv .venv
set --
for list in $lists; do set -- "$@" -r "$list"; done
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
# "compat" adds one plain line to the import path: no import hook at every start of the agent.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --config-settings editable_mode=compat --editable .
touch "$stamp"
