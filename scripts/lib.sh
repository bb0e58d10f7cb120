# What scripts/demo and scripts/test have in common: install what is missing, or say exactly what to install.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

# install_packages PACKAGE...: with apt-get where that needs no password, else say how.
install_packages() {
  local sudo=()
  command -v apt-get >/dev/null || die "install these with your package manager, then run this again: $*"
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || die "run this first: sudo apt-get install -y $*"
    sudo=(sudo -n)
  fi
  say "Installing Debian packages: $*"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# need_programs PROGRAM=PACKAGE...: install the packages of those programs that are missing.
need_programs() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# What real machines and their images need.
need_machines() {
  need_programs qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils socat=socat mmdebstrap=mmdebstrap \
    mke2fs=e2fsprogs setpriv=util-linux
  [ "$(id -u)" -eq 0 ] || need_programs fakeroot=fakeroot newuidmap=uidmap
}

# need_python EXTRAS: a virtual environment in .venv with this project and those extras.
need_python() {
  command -v python3 >/dev/null || install_packages python3
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or later is needed"
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    say "Making a virtual environment in .venv"
    rm -rf .venv
    python3 -m venv .venv
  fi
  local stamp=".venv/installed-$1" wanted
  wanted=$(sha256sum pyproject.toml)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "Installing Python packages: pycloudlib-ec2[$1]"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$1]"
    printf '%s\n' "$wanted" >"$stamp"
  fi
}
