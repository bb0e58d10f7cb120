"""The life of an instance: launched, asked things, restarted and deleted, with the time that each step took."""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from pycloudlib import EC2, KeyPair, progress
from pycloudlib.errors import PycloudlibError
from pycloudlib.local import LocalEC2, paths
from pycloudlib.local.images.builder import build
from pycloudlib.local.images.catalog import Catalog

WIDTH = 100

USER_DATA = """#cloud-config
write_files:
- path: /var/tmp/greeting
  content: hello from user data
"""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    print(f"{title} ...", flush=True)
    begin = time.monotonic()
    yield
    print(f"{'':60}{time.monotonic() - begin:6.1f} s", flush=True)


def show(title: str, text: str) -> None:
    for line in text.splitlines():
        print(f"    {title:12}{textwrap.shorten(line, WIDTH)}", flush=True)
        title = ""


def demo(accelerator: str) -> None:
    with contextlib.ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pycloudlib-demo-")))
        with step("Building the default image, unless there is one"):
            build(Catalog(paths.images_dir()), progress=lambda line: show("", line))
        with step("Starting a local EC2"):
            local = undo.enter_context(LocalEC2(accelerator=accelerator))
            show("endpoint", local.endpoint_url)
            show("machines", f"{local.info.accelerator} ({local.info.accelerator_reason})")
        ec2 = undo.enter_context(EC2("demo", config_file=write_settings(directory, local)))
        with step("Finding the daily image of Debian trixie"):
            image_id = ec2.daily_image("trixie")
            show("image", image_id)
        life_of_an_instance(ec2, image_id, directory)


def write_settings(directory: Path, local: LocalEC2) -> Path:
    key_pair = KeyPair.generate(directory)
    settings = directory / "pycloudlib.toml"
    settings.write_text(local.info.settings_toml(public_key_path=key_pair.public_key_path))
    settings.chmod(0o600)
    return settings


def life_of_an_instance(ec2: EC2, image_id: str, directory: Path) -> None:
    with step("Launching an instance"):
        instance = ec2.launch(image_id, user_data=USER_DATA, wait=False)
        show("instance", f"{instance.id} at {instance.ip}")
    with step("Waiting until it has booted and cloud-init is done"):
        instance.wait()
    with step("Asking it things over SSH"):
        show("kernel", instance.execute("uname -srm").check())
        show("cloud-id", instance.execute("cloud-id").check())
        show("user data", instance.execute("cat /var/tmp/greeting").check())
    with step("Pushing a file and pulling it back"):
        there, back = directory / "there", directory / "back"
        there.write_bytes(bytes(range(256)) * 4096)
        instance.push_file(str(there), "file")
        instance.pull_file("file", str(back))
        show("1 MiB", "the same" if there.read_bytes() == back.read_bytes() else "NOT the same")
    with step("Reading the end of its console"):
        show("console", "\n".join(instance.console_log().splitlines()[-4:]))
    with step("Restarting it"):
        boot_id = instance.get_boot_id()
        instance.restart()
        show("boot id", f"{boot_id} before, {instance.get_boot_id()} now")
    with step("Deleting it"):
        for error in instance.delete():
            raise error


def main() -> int:
    progress.show()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", choices=["auto", "kvm", "tcg"], default="auto")
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("demo: terminated; nothing is left running"))
    try:
        demo(parser.parse_args().accelerator)
    except PycloudlibError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever was reading has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; nothing is left running", file=sys.stderr)
        return 130
    print(f"Done after {time.monotonic() - begin:.0f} s; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
