"""Draws the pictures of the architecture: `docs/pictures.py` after a change of the layers or of a launch.

The layers come from the contract in pyproject.toml.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import toml

HERE = Path(__file__).parent

STYLE = """
.picture { font: 12px system-ui, sans-serif; color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --line: #8c959f;
 --paper: #ffffff; --one: #ddf4ff; --two: #dafbe1; --three: #fff8c5; --four: #f3e8fd; --five: #eaeef2; }
@media (prefers-color-scheme: dark) { .picture { --ink: #e6edf3; --dim: #9da7b3; --line: #6e7681; --paper: #0d1117;
 --one: #0c2d6b; --two: #0f3d20; --three: #4d3800; --four: #3c1e70; --five: #21262d; } }
.picture text { fill: var(--ink); }
.picture .over { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.picture .dim { fill: var(--dim); font-size: 11px; }
.picture .name { font-weight: 600; } .picture .middle { text-anchor: middle; } .picture .end { text-anchor: end; }
.picture rect { stroke: var(--line); } .picture .band { stroke: none; }
.picture line { stroke: var(--line); } .picture .away { stroke-dasharray: 4 3; }
.picture .lane { stroke-dasharray: 2 4; } .picture .head { fill: var(--line); stroke: none; }
.one { fill: var(--one); } .two { fill: var(--two); } .three { fill: var(--three); } .four { fill: var(--four); }
.five { fill: var(--five); }
"""

PACKAGE = "pycloudlib."
CONTRACT = "Layers: the upper may import the lower, never the reverse"

BANDS = (
    ("one", "programs", ("cli", "validation", "timeline")),
    ("two", "EC2", ("ec2.cloud", "ec2.api")),
    ("five", "other clouds", ("azure", "other_clouds")),
    ("three", "clouds, guests, SSH", ("cloud", "guest", "util")),
    ("four", "base", ("interrupts", "submodules")),
)
"""The colors of the layers: each band's title, and the first modules of its first and last layers."""

WIDTH = 960
ROW = 26


def layers() -> list[list[str]]:
    """Return the modules of each layer, the highest first."""
    settings = toml.loads((HERE.parent / "pyproject.toml").read_text())
    (contract,) = [one for one in settings["tool"]["importlinter"]["contracts"] if one["name"] == CONTRACT]
    return [[name.strip().removeprefix(PACKAGE) for name in one.split("|")] for one in contract["layers"]]


def svg(title: str, text: str, height: int, shapes: list[str]) -> str:
    head = f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    body = "\n".join(shapes)
    return f"{head}<style>{STYLE}</style>\n<title>{escape(title)}</title><desc>{escape(text)}</desc>\n{body}\n</svg>\n"


def words(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" class="{kind}"/>'


def across(x: float, y: float, to: float, kind: str = "") -> str:
    back = 7 if to > x else -7
    head = f"{to - back:g},{y - 4:g} {to - back:g},{y + 4:g} {to:g},{y:g}"
    line = f'<line x1="{x:g}" y1="{y:g}" x2="{to - back:g}" y2="{y:g}" class="{kind}"/>'
    return f'{line}<polygon points="{head}" class="head"/>'


def draw_layers() -> str:
    shapes: list[str] = []
    y = 34.0
    top, left, right = y, 160.0, 640.0
    wanted = iter(BANDS)
    kind, title, (first, *_, last) = next(wanted)
    starts = y
    for modules in layers():
        if modules[0] == first and not shapes:
            starts = y
        shapes.append(box(left, y, right - left, ROW - 4, kind))
        shapes.append(words((left + right) / 2, y + 15, "  ·  ".join(modules), "middle"))
        y += ROW
        if modules[0] == last:
            shapes.append(words(left - 12, (starts + y) / 2, title, "end name"))
            kind, title, (first, *_, last) = next(wanted, ("", "", ("", "")))
            y += 10
            starts = y
    shapes.append(words((left + right) / 2, 20, "the library: imports point down", "middle dim"))
    shapes.append(words(838, 20, "a program of its own", "middle dim"))
    shapes.append(box(736, top, 204, 170, "five"))
    shapes.append(words(838, top + 24, "local", "middle name"))
    for number, line in enumerate(("the local EC2:", "server, API, images,", "machines, network, storage")):
        shapes.append(words(838, top + 46 + 16 * number, line, "middle"))
    shapes.append(words(838, top + 118, "imported by cli, and by", "middle dim"))
    shapes.append(words(838, top + 134, "pytest_plugin (only LocalEC2)", "middle dim"))
    shapes.append(across(right, top + 11, 736))
    base = y - 10 - 3 * ROW
    shapes.append(f'<line x1="838" y1="{top + 170:g}" x2="838" y2="{base:g}"/>')
    shapes.append(across(838, base, right))
    for number, line in enumerate(
        ("of the library it imports", "errors, deadline, waiting,", "installation, releases,", "setting_values")
    ):
        shapes.append(words(828, base - 53 + 15 * number, line, "dim end"))
    text = "; ".join(", ".join(modules) for modules in layers())
    return svg("The layers of the library", f"From the highest to the lowest: {text}", int(y), shapes)


LANES = (
    ("EC2", "ec2/cloud.py"),
    ("Instances", "ec2/instance_collection.py"),
    ("create_several", "ec2/api/creating.py"),
    ("EC2Instance", "ec2/instance.py"),
    ("Boot", "ec2/instances/boot.py"),
    ("outside", "EC2's API, and the guest"),
)

Step = tuple[str, int, int, str]
"""What a step is ("" for a call, "away" for its return, or the color of a part's title), its lanes, and its text."""

LAUNCH: tuple[Step, ...] = (
    ("one", 0, 0, "check"),
    ("", 0, 1, "launch(LaunchOptions)"),
    ("", 1, 5, "DescribeImages; DescribeSubnets, if a subnet is given"),
    ("two", 0, 0, "request"),
    ("", 1, 5, "DescribeKeyPairs, ImportKeyPair"),
    ("", 1, 2, "CreateRequest"),
    ("", 2, 5, "RunInstances with tags, a client token, and an idempotency tag"),
    ("three", 0, 0, "record"),
    ("", 2, 2, "the ledger has the ids; clean() deletes them"),
    ("away", 2, 1, "records"),
    ("", 1, 3, "EC2Instance(description)"),
    ("four", 0, 0, "wait"),
    ("", 1, 3, "wait()"),
    ("", 3, 4, "Boot(target, expected, criteria)"),
    ("", 4, 5, "Poller: DescribeInstances, for all waiting threads"),
    ("", 4, 5, "SharedConnection: log in to sshd, at short intervals"),
    ("", 4, 5, "BootWatch: the state, and GetConsoleOutput for panics and host keys"),
    ("", 4, 5, "guest.cloud_init: wait until cloud-init has finished"),
    ("away", 4, 3, "boot id for the BootHistory"),
    ("away", 3, 1, "ready; or an error: explain it, then TerminateInstances"),
    ("away", 1, 0, "EC2Instance"),
)


def draw_launch() -> str:
    xs = [100.0, 250.0, 400.0, 550.0, 700.0, 880.0]
    top, y = 52.0, 74.0
    shapes: list[str] = []
    for kind, begin, end, text in LAUNCH:
        if begin == end == 0:
            shapes.append(box(4, y - 8, 62, 20, kind))
            shapes.append(words(35, y + 6, text, "middle name"))
            continue
        if begin == end:
            shapes.append(words(xs[begin] + 8, y + 4, text, "over"))
        else:
            shapes.append(across(xs[begin], y + 8, xs[end], kind))
            # The last lane has no room for a text that is longer than its arrow.
            x, side = (xs[end] - 12, "end") if end == len(xs) - 1 else (min(xs[begin], xs[end]) + 8, "")
            shapes.append(words(x, y + 3, text, f"over {'dim' if kind else ''} {side}"))
        y += 29
    lanes = [f'<line x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{y:g}" class="lane"/>' for x in xs]
    heads = []
    for x, (name, module) in zip(xs, LANES, strict=True):
        heads += [words(x, 20, name, "middle name"), words(x, 36, module, "middle dim")]
    text = "; ".join(step[3] for step in LAUNCH)
    return svg("The steps of EC2.launch()", text, int(y) + 8, [*lanes, *heads, *shapes])


PICTURES = {"layers.svg": draw_layers, "launch.svg": draw_launch}


def main() -> None:
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw())


if __name__ == "__main__":
    main()
