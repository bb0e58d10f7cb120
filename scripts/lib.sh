# What scripts/demo and scripts/test have in common: install what is missing, or say exactly what to install.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"
# Hundreds of Pythons are started here, and none should compile everything anew.
unset PYTHONDONTWRITEBYTECODE

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

missing=()

# want_programs PROGRAM=PACKAGE...: note the packages of those programs that are missing.
want_programs() {
  local pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
}

# What Python and its virtual environments need.
want_python() {
  want_programs python3=python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
}

# What real machines and their images need.
want_machines() {
  want_programs qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils socat=socat mmdebstrap=mmdebstrap \
    mke2fs=e2fsprogs mformat=mtools sfdisk=fdisk setpriv=util-linux dnsmasq=dnsmasq-base slirp4netns=slirp4netns nft=nftables
  [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing+=(ovmf)
  [ "$(id -u)" -eq 0 ] || want_programs fakeroot=fakeroot fakechroot=fakechroot
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
}

# Install all that was noted, at once.
install_missing() {
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# make_environment EXTRAS: a virtual environment in .venv with this project and those extras.
make_environment() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or later is needed"
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
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
