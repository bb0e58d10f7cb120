"""The builder of the default image: a Debian cloud image, built from Debian's packages without mounts.

mmdebstrap creates an archive of the root file system, and mke2fs fills file systems with its contents, at their offsets
in the disk. The kernel and its initrd are also separate files: QEMU boots them directly as long as the disk's boot
loader would start the same ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import ImageError, InvalidArgumentError, MissingPrerequisiteError
from pycloudlib.local import qemu_img
from pycloudlib.local.images import apt_sources, boot_loader, guest_files, guest_network
from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI
from pycloudlib.local.images.catalog import Catalog, Entry, Image, timestamp
from pycloudlib.local.images.distributions import NAMED, SELF, distribution
from pycloudlib.local.images.guest_file import GuestFile
from pycloudlib.local.images.guest_files import TIDY_UP, write_archive
from pycloudlib.local.prerequisites import install_command, require_all
from pycloudlib.local.warm_start import initramfs
from pycloudlib.releases import DEFAULT_RELEASE, similar_release, unknown_release

Progress = Callable[[str], None]


DISK_SIZE = 8 * qemu_img.GIB
"""The disk size in bytes, as of Debian's own AMIs; the file is sparse."""

GPT_COPY = qemu_img.MIB
"""The bytes at the end of the disk for the copy of the partition table."""

ROOM_FOR_IMAGE = 1800 * qemu_img.MIB
"""The bytes of archive, tree, and disk, which exist at the same time."""

ROOM_FOR_MMDEBSTRAP = 1000 * qemu_img.MIB
"""The bytes that mmdebstrap writes to the directory for temporary files."""

_KERNEL_SETTINGS = " ".join(
    (
        # As in Debian's own AMIs: never time out on a slow volume.
        "nvme_core.io_timeout=4294967295",
        # Otherwise the kernel reserves I/O ports behind each empty slot, though no device has any.
        "pci=hpiosize=0",
        # Skip the self-tests of all ciphers at boot.
        "cryptomgr.notests",
        # As Debian's own AMIs: DHCPv6 waits seconds for duplicate address detection, and EC2 has no duplicates.
        "sysctl.net.ipv6.conf.default.accept_dad=0",
    )
)

PACKAGES = guest_files.PACKAGES
FILES = (*guest_files.GUEST_FILES, boot_loader.MACHINE_ARGUMENTS)


@dataclass(frozen=True)
class Variant:
    """The additions of a release to `PACKAGES`, `FILES`, and the kernel and boot loader of its architecture.

    Args:
        packages: further packages.
        files: further files; default none.
        finish: a shell command to run in the root directory ($1) after the installation; default none.
        user_mode_arguments: kernel arguments to add on QEMU's user networking; default none.
    """

    packages: tuple[str, ...]
    files: tuple[GuestFile, ...] = ()
    finish: str = ""
    user_mode_arguments: str = ""


@dataclass(frozen=True)
class Recipe:
    """The inputs of a build.

    Args:
        codename: the code name of the release.
        name: the name of a custom image; None for the distribution's names (default).
        include: further packages; default none.
        customize: the text of a program that runs in the image at the end; empty for none (default).
        architecture: "x86_64" (default) or "arm64".
    """

    codename: str
    name: str | None = None
    include: tuple[str, ...] = ()
    customize: str = ""
    architecture: str = "x86_64"

    @property
    def variant(self) -> Variant:
        """The variant of the release."""
        return VARIANTS[self.codename]

    @property
    def packages(self) -> tuple[str, ...]:
        """All explicitly installed packages."""
        kernel = f"linux-image-cloud-{NAMED[self.architecture]}"
        return (*PACKAGES, kernel, *self.loader.packages, *self.variant.packages, *self.include)

    @property
    def files(self) -> tuple[GuestFile, ...]:
        """The guest's own files."""
        return (*FILES, boot_loader.defaults(self._kernel_settings), *self.variant.files)

    @property
    def loader(self) -> boot_loader.Loader:
        """The boot loader."""
        return boot_loader.LOADERS[self.architecture]

    @property
    def has_boot_snapshots(self) -> bool:
        """Whether the image supports boot snapshots."""
        return self.architecture == "x86_64"

    @property
    def kernel_arguments(self) -> str:
        """The kernel command line."""
        return f"root=LABEL=root ro {self._kernel_settings}"

    @property
    def _kernel_settings(self) -> str:
        return f"console={self.loader.console} {_KERNEL_SETTINGS}"

    @property
    def digest(self) -> str:
        """A hash of all inputs that affect the resulting image."""
        layout = (boot_loader.PARTITIONS, self.loader, boot_loader.menu("", "", ""), DISK_SIZE)
        warm_start = (initramfs.FILES, initramfs.MAKE_INITRD)
        parts = (self, self.variant, self.packages, self.files, warm_start, TIDY_UP, self.kernel_arguments, layout)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


VARIANTS = {
    "trixie": Variant(guest_files.NETPLAN, guest_files.NETPLAN_FILES, guest_files.COMPILE_NETPLAN),
    "bookworm": Variant(
        guest_files.IFUPDOWN, guest_files.NETWORK, user_mode_arguments=guest_network.USER_MODE_ARGUMENTS
    ),
    "sid": Variant(
        guest_files.NETPLAN, (*guest_files.NETPLAN_FILES, *guest_files.NETWORKD_FILES), guest_files.COMPILE_NETPLAN
    ),
}
"""The releases that can be built."""

_PROGRAM = "usr/local/sbin/customize-image"
"""The path of a program that customizes the image, while it runs."""

HOST_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
"""EC2's names of architectures, by the kernel's."""

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)

LAST_LINES = 8
"""The number of lines of a failed program's output in an error message."""

SECONDS_TO_TIDY_UP = 30.0
"""The seconds that an interrupted mmdebstrap may take to remove its files."""


def build(
    catalogue: Catalog,
    *,
    release: str = DEFAULT_RELEASE,
    architecture: str = "x86_64",
    name: str | None = None,
    include: Sequence[str] = (),
    customize: Path | None = None,
    progress: Progress = lambda _: None,
    force: bool = False,
) -> Image:
    """Build the default image of a release, or a custom image. No-op if the catalog has an image of the same recipe.

    The build needs no root privileges if the host allows unprivileged user namespaces, or has fakechroot. It runs the
    packages' scripts, so a host of another architecture must be able to emulate this one.

    Args:
        catalogue: the catalog to add the image to.
        release: "trixie" or "13" (default), "bookworm" or "12", or "sid".
        architecture: "x86_64" (default) or "arm64".
        name: the name of a custom image, owned by account 123456789012; default the distribution's names.
        include: further packages; default none. They need a name.
        customize: a program that runs in the image at the end of the build, as root; default none. It needs a name.
        progress: called with one line per step, such as "  12 s  installing remaining packages"; default none.
        force: whether to build a new image anyway; default no. The old image remains.

    Returns:
        The daily AMI; the disk is also offered as a release AMI. With a name, the only AMI.

    Raises:
        InvalidArgumentError: packages or a program are given without a name, the architecture is unknown, or the
            release is mistyped.
        ImageError: the release cannot be built, the name is taken by another image, or mmdebstrap failed; the message
            has its last output.
        MissingPrerequisiteError: a program is not installed, or the host cannot run programs of the architecture.
        LocalEC2Error: the disk has too little space.
    """
    recipe = recipe_of(release, architecture=architecture, name=name, include=include, customize=customize)
    built = _newest_built(catalogue, recipe)
    if built is not None and not force:
        if built.recipe == recipe.digest:
            progress(f"{built.name} exists already")
            return built
        progress(f"{built.name} exists, but was built by another version")
    programs = require_programs()
    require_emulation(architecture)
    require_room(catalogue.directory)
    with catalogue.new_entry() as partial:
        return _build(catalogue, recipe, partial, programs, _with_elapsed_time(progress))


def recipe_of(
    release: str = DEFAULT_RELEASE,
    *,
    architecture: str = "x86_64",
    name: str | None = None,
    include: Sequence[str] = (),
    customize: Path | None = None,
) -> Recipe:
    """Return the recipe of an image, with the arguments of `build`.

    Raises:
        InvalidArgumentError: packages or a program are given without a name, the architecture is unknown, or the
            release is mistyped.
        ImageError: the release cannot be built, or the program cannot be read.
    """
    if (include or customize) and name is None:
        raise InvalidArgumentError("an image with further packages or a program needs a name of its own")
    if architecture not in boot_loader.LOADERS:
        raise InvalidArgumentError(f"unknown architecture {architecture!r}; allowed: {', '.join(boot_loader.LOADERS)}")
    published = distribution(release)
    codename = published.release
    if codename not in VARIANTS:
        if published.known is None and similar_release(release):
            raise InvalidArgumentError(unknown_release(release))
        raise ImageError(
            f"cannot build {release!r}: only {', '.join(VARIANTS)} can be built; "
            "add a disk image of it with `pycloudlib local image add --release NAME --file DISK`"
        )
    return Recipe(codename, name, tuple(include), _program(customize) if customize else "", architecture)


def _program(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ImageError(f"cannot read the program {path}: {reason}") from error


def _newest_built(catalogue: Catalog, recipe: Recipe) -> Image | None:
    """Return the newest image with the names of a recipe."""

    def has_its_name(image: Image) -> bool:
        return image.name == recipe.name if recipe.name else image.owner_id != SELF

    kind = ("built", recipe.codename, recipe.architecture)
    of_kind = (image for image in catalogue.images() if (image.source, image.release, image.architecture) == kind)
    return next(filter(has_its_name, of_kind), None)


def require_programs() -> dict[str, Path]:
    """Return the paths of the programs that a build needs.

    Raises:
        MissingPrerequisiteError: a program or Debian's archive keyring is not installed.
    """
    fakeroot = [] if os.geteuid() == 0 else ["fakeroot"]
    needed = ["mmdebstrap", "mke2fs", "setpriv", "tar", "unshare", *boot_loader.PROGRAMS, *fakeroot]
    programs = require_all(needed, "to build an image")
    if not any(keyring.exists() for keyring in KEYRINGS):
        raise MissingPrerequisiteError(
            "Debian's archive keys are required to build an image, but not installed: "
            + install_command(["debian-archive-keyring"])
        )
    return programs


def require_emulation(architecture: str) -> None:
    """Require that the host runs programs of an architecture. No-op for its own.

    Args:
        architecture: "x86_64" or "arm64".

    Raises:
        MissingPrerequisiteError: the host cannot run them, or it is unknown whether it can.
    """
    if HOST_ARCHITECTURES.get(os.uname().machine) == architecture:
        return
    arch_test = require_all(["arch-test"], f"to build an image for {architecture}")["arch-test"]
    if subprocess.run([str(arch_test), NAMED[architecture]], capture_output=True, check=False).returncode != 0:
        raise MissingPrerequisiteError(
            f"this host cannot run programs for {architecture}, so it cannot build an image for it: as root, run "
            "`apt-get install -y qemu-user-static binfmt-support`; in a container, also "
            "`mount -t binfmt_misc none /proc/sys/fs/binfmt_misc` and `update-binfmts --enable`"
        )


def require_room(directory: Path) -> None:
    """Require enough disk space for a build.

    Raises:
        LocalEC2Error: the space is too small for the image, or for temporary files.
    """
    temporary = Path(tempfile.gettempdir())
    same = _device(directory) == _device(temporary)
    qemu_img.ensure_space(directory, ROOM_FOR_IMAGE + (ROOM_FOR_MMDEBSTRAP if same else 0))
    qemu_img.ensure_space(temporary, ROOM_FOR_MMDEBSTRAP)


def _build(catalogue: Catalog, recipe: Recipe, partial: Path, programs: dict[str, Path], progress: Progress) -> Image:
    created = timestamp()
    # Not in the entry's directory itself: every file left there becomes part of the entry.
    with tempfile.TemporaryDirectory(prefix="build-", dir=partial, ignore_cleanup_errors=True) as name:
        work = Path(name)
        _make_archive(recipe, work, programs, progress)
        progress("writing the disk")
        root = _unpack(work, programs)
        warm_initrd = _move_out(root / initramfs.INITRD, partial / "initrd-warm")
        boot = work / "boot"
        (root / "boot").rename(boot)
        (root / "boot").mkdir()
        kernel, initrd = _newest(boot, "vmlinuz-*"), _newest(boot, "initrd.img-*")
        (boot / "grub/grub.cfg").write_text(boot_loader.menu(kernel.name, initrd.name, recipe.kernel_arguments))
        shutil.copyfile(kernel, partial / "vmlinuz")
        shutil.copyfile(initrd, partial / "initrd")
        _make_disk(root, boot, partial / "disk.raw", recipe.loader, programs)
    published = distribution(recipe.codename)
    entry = Entry(
        release=recipe.codename,
        created=created,
        disk="disk.raw",
        format="raw",
        virtual_size=DISK_SIZE,
        kernel="vmlinuz",
        initrd="initrd",
        warm_initrd=warm_initrd,
        kernel_arguments=boot_loader.command_line(kernel.name, recipe.kernel_arguments),
        has_boot_loader=True,
        architecture=recipe.architecture,
        boot_mode=LEGACY_BIOS if recipe.loader.has_bios else UEFI,
        user_mode_arguments=recipe.variant.user_mode_arguments,
        root_device_name=published.root_device_name,
        username=published.username,
        source="built",
        recipe=recipe.digest,
    )
    image = catalogue.commit(partial, entry, name=recipe.name)
    progress(f"{image.name} is ready")
    return image


def _make_archive(recipe: Recipe, work: Path, programs: dict[str, Path], progress: Progress) -> None:
    """Install the packages with mmdebstrap, adding the guest's own files before and after."""
    files = work / "guest-files.tar"
    insert_files = f"tar-in {shlex.quote(str(files))} /"
    write_archive(files, recipe.files)
    hooks = [
        *(_program_hooks(work, recipe.customize) if recipe.customize else []),
        *([recipe.variant.finish] if recipe.variant.finish else []),
        *(_boot_snapshot_hooks(work) if recipe.has_boot_snapshots else []),
        *(recipe.loader.prepare, TIDY_UP, insert_files),
    ]
    sources = work / "sources.list"
    sources.write_text(apt_sources.host_mirrors(recipe.codename) or "")
    options = work / "apt.conf"
    options.write_text(apt_sources.host_options())
    command = [
        *_contained(programs),
        *(str(programs["mmdebstrap"]), "--variant=minbase", "--format=tar"),
        f"--architectures={NAMED[recipe.architecture]}",
        *("--include", ",".join(recipe.packages), "--aptopt", str(options)),
        # Before the packages: installing them builds the initrd, which depends on these files.
        *("--essential-hook", insert_files),
        *(word for hook in hooks for word in ("--customize-hook", hook)),
        *(recipe.codename, str(work / "root.tar")),
        *([str(sources)] if sources.stat().st_size else []),
    ]
    # Without root, mmdebstrap may switch to a user who cannot access the catalog.
    environment = os.environ | {"TMPDIR": str(work)} if os.geteuid() == 0 else None
    _run_mmdebstrap(command, environment, progress)


def _program_hooks(work: Path, program: str) -> list[str]:
    """Return the hooks that run a program in the image, and remove it."""
    archive = work / "program.tar"
    write_archive(archive, [GuestFile(_PROGRAM, program, mode=0o755)])
    return [f"tar-in {shlex.quote(str(archive))} /", f'chroot "$1" /{_PROGRAM} && rm "$1/{_PROGRAM}"']


def _boot_snapshot_hooks(work: Path) -> list[str]:
    """Return the hooks that create the initramfs for boot snapshots."""
    archive = work / "warm-start.tar"
    write_archive(archive, initramfs.FILES)
    return [f"tar-in {shlex.quote(str(archive))} /", initramfs.MAKE_INITRD]


def _contained(programs: dict[str, Path]) -> list[str]:
    """Return a command prefix that ends mmdebstrap's processes and mounts with it, even if it is killed."""
    with_parent = [str(programs["setpriv"]), "--pdeathsig", "KILL", "--"]
    namespaces = [str(programs["unshare"]), "--mount", "--pid", "--fork", "--kill-child", "--"]
    if os.geteuid() == 0 and subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode == 0:
        return [*with_parent, *namespaces]
    return [str(programs["setpriv"]), "--pdeathsig", "TERM", "--"]


def _run_mmdebstrap(command: Sequence[str], environment: dict[str, str] | None, progress: Progress) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    with _running(command, environment) as process:
        assert process.stderr is not None  # noqa: S101  (it is a pipe)
        for line in process.stderr:
            step = re.fullmatch(
                r"I: ((?:running apt-get|downloading|extracting|installing|creating) .*?)(?:\.\.\.)?\s*", line
            )
            if step:
                progress(step.group(1))
            elif line.strip() and not line.startswith("I: "):
                last.append(line.strip())
        status = process.wait()
    if status == 0:
        return
    output = "; ".join(without_secrets(line) for line in last) or f"exit status {status}"
    if "unable to pick chroot mode" in output:
        raise ImageError(
            "this user cannot build an image on this host: run the command as root, or install "
            f"programs that emulate root: {install_command(['uidmap', 'fakechroot', 'fakeroot'])}"
        )
    raise ImageError(f"mmdebstrap failed: {output}")


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str] | None) -> Iterator[subprocess.Popen[str]]:
    """Run a program in its own process group, and end the group on exit."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that _end alone sends SIGINT on Ctrl-C
    )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    # Signal the whole group: mmdebstrap waits for its children, then removes its directory. fakeroot ends its daemon
    # on SIGINT, but not on SIGTERM.
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=SECONDS_TO_TIDY_UP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _unpack(work: Path, programs: dict[str, Path]) -> Path:
    """Unpack the archive; without root privileges, only fakeroot reports root as the files' owner."""
    root = work / "root"
    root.mkdir()
    # Exclude device files: containers may not create them, and the guest's kernel creates its own.
    command = [str(programs["tar"]), "-C", str(root), "-xf", str(work / "root.tar"), "--numeric-owner", "--xattrs"]
    _run([*_as_root(work, programs), *command, "--exclude=./dev/*"], what="cannot unpack the root file system")
    (work / "root.tar").unlink()
    return root


def _make_disk(root: Path, boot: Path, disk: Path, loader: boot_loader.Loader, programs: dict[str, Path]) -> None:
    """Write the directory trees to the partitions of a raw disk, and install the boot loader."""
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    boot_loader.partition(disk, _run)
    for tree, place in ((root, boot_loader.ROOT), (boot, boot_loader.BOOT)):
        size = place.size or DISK_SIZE - place.offset - GPT_COPY
        options = ["-L", tree.name, "-E", f"offset={place.offset}", "-d", str(tree)]
        command = [str(programs["mke2fs"]), "-q", "-F", "-t", "ext4", *options, str(disk), f"{size // 1024}k"]
        _run([*_as_root(root.parent, programs), *command], what="cannot write the disk")
    loader.install(root, boot, disk, _run)


def _as_root(work: Path, programs: dict[str, Path]) -> list[str]:
    if "fakeroot" not in programs:
        return []
    state = work / "fakeroot"
    state.touch()
    return [str(programs["fakeroot"]), "-i", str(state), "-s", str(state), "--"]


def _run(command: Sequence[str], *, what: str) -> None:
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if done.returncode == 0:
        return
    if qemu_img.NO_SPACE in done.stderr:
        raise ImageError(f"{what}: no space left on the disk")
    raise ImageError(f"{what}: {'; '.join(done.stderr.strip().splitlines()[-LAST_LINES:])}")


def without_secrets(line: str) -> str:
    """Redact the user and password of every URL in a line, as mirrors and proxies may have them."""
    return re.sub(r"://[^/@\s]+@", "://***@", line)


def _move_out(source: Path, destination: Path) -> str:
    """Move a file out of the image; return its new name, or "" if it does not exist."""
    if not source.exists():
        return ""
    shutil.move(source, destination)
    return destination.name


def _newest(directory: Path, pattern: str) -> Path:
    found = max(directory.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)
    if found is None:
        raise ImageError(f"the packages contain no {pattern}: the image cannot boot")
    return found


def _with_elapsed_time(progress: Progress) -> Progress:
    started = time.monotonic()
    return lambda step: progress(f"{time.monotonic() - started:4.0f} s  {step}")


def _device(path: Path) -> int:
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    return existing.stat().st_dev
