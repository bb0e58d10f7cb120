from __future__ import annotations

import io
from typing import Any

import pytest
import toml

from pycloudlib import toml_sections
from pycloudlib.config import load_settings, parse_config
from pycloudlib.errors import ConfigError

OURS = '[ec2]\nregion = "here"\n'


@pytest.fixture(params=["all parsers", "toml alone"])
def parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As on Python 3.11 and later, and as on 3.10."""
    if request.param == "toml alone":
        monkeypatch.setattr(toml_sections, "PARSERS", (toml.loads,))
    return str(request.param)


def region_and_rest(text: str) -> tuple[str | None, dict[str, Any]]:
    config = parse_config(io.StringIO(text, newline=""))
    region = load_settings(io.StringIO(text, newline="")).region
    return region, {name: config[name] for name in config if name != "ec2"}


FOREIGN = {
    "mixed array": 'a = [1, "x", 2.5, {b = 1}]',
    "nested arrays": 'a = [[1, 2], ["x"]]',
    "array over lines": 'a = [ # one\n  ["[ec2]", 1],\n  [\'region = "there"\'],\n]',
    "integers of other bases": "a = 0xDEAD_beef\nb = 0o755\nc = 0b1101",
    "nan and inf": "a = nan\nb = -inf\nc = +inf",
    "dotted keys": 'a.b.c = 1\na."d e".f = 2',
    "inline tables": "a = {x = 1, y = {z = [2, {w = 3}]}}",
    "dates and times": "a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00.999-07:00\nc = 1979-05-27\nd = 07:32:00",
    "heredoc": 'a = """\nx = [1\n[ec2]\nregion = "there"\n"""',
    "literal heredoc": "a = '''\n[ec2]\n\"x\\y\n'''",
    "quotes in a heredoc": 'a = """He said ""hi"""""',
    "our name": "# ec2\na = [1, 'ec2']\nec2 = 1\nb = '''\n[ec2]'''",
    "brackets in strings": 'a = "[[["\nb = \'{{\'\nc = "\\"[ec2]"',
    "array of tables": "a = 1\n[[gce.list]]\nx = 1\n[[gce.list]]\nx = 2\n[gce.list.sub]\ny = [1, 'z']",
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.usefixtures("parsers")
def test_foreign_sections_are_never_refused(foreign: str, line_end: str) -> None:
    before = f"\ufeff[gce]\n{foreign}\n{OURS}".replace("\n", line_end)
    after = f"{OURS}[gce]\n{foreign}\n[oci]\nx = 1\n".replace("\n", line_end)
    assert region_and_rest(before)[0] == "here"
    region, others = region_and_rest(after)
    assert (region, others["oci"]) == ("here", {"x": 1})


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_sections_are_returned_where_python_reads_all_of_toml(foreign: str) -> None:
    tomllib = pytest.importorskip("tomllib")
    text = f"[gce]\n{foreign}\n{OURS}"
    assert repr(parse_config(io.StringIO(text))["gce"]) == repr(tomllib.loads(text)["gce"])


@pytest.mark.parametrize(
    "broken", ["a = [1, 2\nb = 2", "a = ", "a", 'a = "x', "a = 1\na = 2", "a = 1 2", "[gce", "[[gce.x]\ny = 1", "]"]
)
@pytest.mark.usefixtures("parsers")
def test_foreign_sections_that_are_not_toml_are_left_out(broken: str) -> None:
    region, others = region_and_rest(f"[oci]\nx = 1\n[gce]\n{broken}\n{OURS}[azure]\ny = 2\n")
    assert region == "here"
    assert (others["oci"], others["azure"]) == ({"x": 1}, {"y": 2})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[gce]\na = [1, "x"]\n[ec2]\nregion = \n', 4),
        ('[gce]\na = [1, "x"]\n[ec2]\nregion = "x"\nregion = "y"\n', 5),
        ('[ec2]\nregion = "x"\n[gce]\na = [1, "x"]\n[ec2]\nttl = 1\n', 5),
    ],
)
@pytest.mark.usefixtures("parsers")
def test_a_mistake_in_the_own_section_is_reported_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^configuration stream, line {line}: is not valid TOML: "):
        load_settings(io.StringIO(text))


@pytest.mark.parametrize("text", ['[ec2\nregion = "x"', 'ec2 = {region = "x"', '[gce]\na = """\n[ec2]\nregion = "x"'])
@pytest.mark.usefixtures("parsers")
def test_a_mistake_that_may_hide_the_own_section_is_reported(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^configuration stream.*: is not valid TOML"):
        load_settings(io.StringIO(text))


@pytest.mark.parametrize("text", ['ec2.region = "here"', 'ec2 = {region = "here"}', '["ec2"]\nregion = "here"'])
@pytest.mark.usefixtures("parsers")
def test_every_form_of_the_own_section_is_read(text: str) -> None:
    assert region_and_rest(f'{text}\n[gce]\na = [1, "x"]')[0] == "here"
