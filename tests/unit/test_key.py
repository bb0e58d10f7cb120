from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib import key as key_module
from pycloudlib.errors import InvalidArgumentError, KeyPairError, UnsetSSHKeyError
from pycloudlib.key import KeyPair, find_key_pair, generate_key_pair_texts
from pycloudlib.ssh.private_key import load_private_key

RSA_PEM = ("rsa", "-m", "PEM", "-b", "2048")
RSA_PKCS8 = ("rsa", "-m", "PKCS8", "-b", "2048")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


def ssh_keygen(path: Path, *arguments: str, passphrase: str = "") -> Path:
    """Have OpenSSH make a key, since it decides what one is."""
    key_type, *rest = arguments or ("ed25519",)
    command = ["ssh-keygen", "-q", "-t", key_type, *rest, "-N", passphrase, "-C", "me@here", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def said_by_ssh_keygen(*arguments: str) -> str:
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, text=True).stdout


def fields(public_key: str) -> list[str]:
    return public_key.split()[:2]


# Load


@pytest.mark.parametrize("kind", [("ed25519",), RSA_PEM, RSA_PKCS8, ("rsa", "-b", "2048"), ("ecdsa",)])
def test_keys_made_by_openssh_are_loaded(kind: tuple[str, ...], tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id", *kind)
    pair = KeyPair.load(tmp_path / "id.pub", name="mine")
    assert (pair.public_key_path, pair.private_key_path, pair.name) == (tmp_path / "id.pub", private, "mine")
    assert pair.public_key_content == (tmp_path / "id.pub").read_text().strip()
    assert pair.public_key_fingerprint == said_by_ssh_keygen("-lf", str(private)).split()[1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_ending", ["\n", "\r\n"])
def test_key_files_saved_on_windows_are_loaded(encoding: str, line_ending: str, tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id")
    fingerprint = said_by_ssh_keygen("-lf", str(private)).split()[1]
    public_line = (tmp_path / "id.pub").read_text().strip()
    for path in (private, tmp_path / "id.pub"):
        path.write_bytes(path.read_text().replace("\n", line_ending).encode(encoding))
    pair = KeyPair.load(tmp_path / "id.pub")
    assert pair.public_key_content == public_line
    assert pair.public_key_fingerprint == fingerprint
    assert load_private_key(private).fingerprint == fingerprint


def test_only_the_suffix_pub_is_removed_from_the_path(tmp_path: Path) -> None:
    directory = tmp_path / "my.pub.keys"
    directory.mkdir()
    private = ssh_keygen(directory / "work.public")
    assert KeyPair.load(directory / "work.public.pub").private_key_path == private


def test_the_private_key_may_be_anywhere(tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id").rename(tmp_path / "elsewhere")
    assert KeyPair.load(str(tmp_path / "id.pub"), str(private)).private_key_path == private


@pytest.mark.parametrize("kind", [str, Path])
def test_key_pair_takes_strings_and_paths(kind: type, tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "key")
    public = f"{private}.pub"
    pair = KeyPair(kind(public))
    assert pair == KeyPair(kind(public), kind(private)) == KeyPair.load(public)
    assert (pair.public_key_path, pair.private_key_path, pair.name) == (Path(public), private, None)
    assert pair.public_key_content.startswith("ssh-ed25519 ")
    assert KeyPair(kind(public), name="mine").name == "mine"
    assert KeyPair(kind(private)).private_key_path == private


def test_key_pair_expands_a_tilde_and_reads_nothing(home: Path) -> None:
    pair = KeyPair("~/.ssh/none.pub", "~/.ssh/other")
    assert (pair.public_key_path, pair.private_key_path) == (home / ".ssh/none.pub", home / ".ssh/other")


def test_a_tilde_is_expanded(home: Path) -> None:
    ssh_keygen(home / "id")
    assert KeyPair.load("~/id.pub").private_key_path == home / "id"
    with pytest.raises(KeyPairError, match="~nobody-at-all/id: there is no such home directory"):
        KeyPair.load("~nobody-at-all/id")


@pytest.mark.parametrize("kind", [("ed25519",), RSA_PEM])
def test_one_pem_file_stands_for_both_halves(kind: tuple[str, ...], tmp_path: Path) -> None:
    pem = ssh_keygen(tmp_path / "id", *kind).rename(tmp_path / "from-ec2.pem")
    for pair in (KeyPair.load(pem), KeyPair.load(pem, pem)):
        assert (pair.public_key_path, pair.private_key_path) == (pem, pem)
        assert fields(pair.public_key_content) == fields((tmp_path / "id.pub").read_text())
        assert pair.public_key_fingerprint == said_by_ssh_keygen("-lf", str(tmp_path / "id.pub")).split()[1]


def test_the_repr_shows_paths_only(tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id")
    shown = repr(KeyPair.load(tmp_path / "id.pub"))
    assert str(private) in shown
    assert not [line for line in private.read_text().splitlines() if line in shown]


# Refused


def refused(public: Path, private: Path | None = None) -> str:
    with pytest.raises(KeyPairError) as caught:
        KeyPair.load(public, private)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "id.pub") == f"public key {tmp_path}/id.pub does not exist"
    private = ssh_keygen(tmp_path / "id")
    private.unlink()
    assert refused(tmp_path / "id.pub") == f"private key {private} does not exist"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ssh_keygen(tmp_path / "id")
    assert refused(tmp_path / "id.pub", tmp_path) == f"private key {tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("kind", [("ed25519",), RSA_PEM, RSA_PKCS8])
def test_passphrase_error_names_the_command_that_removes_it(kind: tuple[str, ...], tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id", *kind, passphrase="open sesame")
    message = refused(tmp_path / "id.pub")
    assert message.startswith(f"private key {private} has a passphrase; `ssh-keygen -p -f {private}` removes it")


def test_halves_of_two_pairs_are_refused(tmp_path: Path) -> None:
    ours, theirs = ssh_keygen(tmp_path / "ours"), ssh_keygen(tmp_path / "theirs")
    message = refused(tmp_path / "ours.pub", theirs)
    assert message.startswith(f"{ours}.pub is not the public key of {theirs}; ")


def test_public_key_in_place_of_the_private_one_is_refused(tmp_path: Path) -> None:
    ssh_keygen(tmp_path / "id")
    public = tmp_path / "id.pub"
    assert refused(public, public) == f"{public} is a public key; give the private key that belongs to it"
    bare = public.rename(tmp_path / "key")
    assert refused(bare) == f"{bare} is a public key; give the private key that belongs to it"


def test_a_damaged_private_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id")
    lines = private.read_text().splitlines()
    private.write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]))
    assert refused(tmp_path / "id.pub") == f"private key {private} is damaged, or of an unsupported type"
    with pytest.raises(KeyPairError) as caught:
        KeyPair.load(tmp_path / "id.pub")
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a private key in OpenSSH's or PEM format"),
        ("hello", "is not a private key in OpenSSH's or PEM format"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "is in PuTTY's format; `puttygen"),
    ],
)
def test_what_is_no_private_key_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id")
    private.write_text(text)
    assert reason in refused(tmp_path / "id.pub")


@pytest.mark.parametrize(
    "text",
    ["", "hello", "ssh-ed25519 not-base64!", "ssh-ed25519 QUJD", "ssh-ed25519", "# a comment\nssh-ed25519 QUJD"],
)
def test_what_is_no_public_key_is_refused(text: str, tmp_path: Path) -> None:
    ssh_keygen(tmp_path / "id")
    (tmp_path / "id.pub").write_text(text)
    assert f"{tmp_path}/id.pub is not a public key: one line in OpenSSH's format" in refused(tmp_path / "id.pub")


def test_other_public_key_format_names_the_conversion_command(tmp_path: Path) -> None:
    ssh_keygen(tmp_path / "id")
    public = tmp_path / "id.pub"
    public.write_text(said_by_ssh_keygen("-e", "-f", str(public)))
    assert refused(public) == f"public key {public} is not in OpenSSH's format; `ssh-keygen -i -f {public}` converts it"


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_bytes(b"\x30\x82\xff\xfe")
    assert refused(tmp_path / "id.pub") == f"public key {tmp_path}/id.pub is not a key in OpenSSH's or PEM format"


# Generate


@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_a_generated_pair_is_one_to_openssh_too(key_type: key_module.KeyType, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path / "new" / "directory", key_type=key_type)
    assert pair == KeyPair.load(tmp_path / "new" / "directory" / f"id_{key_type}.pub")
    assert fields(said_by_ssh_keygen("-yf", str(pair.private_key_path))) == fields(pair.public_key_content)


def test_a_generated_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path, "mine")
    assert stat.S_IMODE(pair.private_key_path.stat().st_mode) == 0o600
    assert pair.public_key_path == tmp_path / "mine.pub"


@pytest.mark.parametrize("existing", ["id_ed25519", "id_ed25519.pub"])
def test_a_key_is_never_overwritten(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(KeyPairError, match="exists already; a key is never overwritten"):
        KeyPair.generate(tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.glob("id_*")] == [(existing, "precious")]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyPairError, match="cannot be written: Not a directory"):
        KeyPair.generate(tmp_path / "file" / "keys")


def test_a_key_that_cannot_be_written_whole_is_not_left_there(tmp_path: Path) -> None:
    program = f"""
import resource
from pycloudlib.errors import KeyPairError
from pycloudlib.key import KeyPair
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    KeyPair.generate({str(tmp_path)!r}, "id")
except KeyPairError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert said == f"{tmp_path}/id cannot be written: File too large\n"
    assert not list(tmp_path.glob("id*"))


def test_texts_of_a_new_pair_belong_together_and_differ_each_time(tmp_path: Path) -> None:
    public, private = generate_key_pair_texts()
    (tmp_path / "id.pub").write_text(public)
    (tmp_path / "id").write_text(private)
    assert KeyPair.load(tmp_path / "id.pub").public_key_content == public
    assert generate_key_pair_texts()[1] != private


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="key type 'dsa' is unknown; allowed: 'ed25519', 'rsa'"):
        generate_key_pair_texts("dsa")  # type: ignore[arg-type]


# Find


def test_the_configured_pair_is_found(tmp_path: Path, home: Path) -> None:
    ssh_keygen(home / ".ssh" / "id_ed25519")
    private = ssh_keygen(tmp_path / "id").rename(tmp_path / "private")
    assert find_key_pair(tmp_path / "id.pub", private, "mine") == KeyPair(tmp_path / "id.pub", private, "mine")


def test_a_private_key_alone_is_enough(tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id")
    assert find_key_pair(private_key_path=private).public_key_path == tmp_path / "id.pub"
    (tmp_path / "id.pub").unlink()
    assert find_key_pair(private_key_path=private).public_key_path == private


def test_a_private_key_is_enough_when_its_public_half_cannot_even_be_named(tmp_path: Path) -> None:
    private = ssh_keygen(tmp_path / "id").rename(tmp_path / ("k" * 254))
    assert find_key_pair(private_key_path=private).public_key_path == private


def test_without_a_configured_one_the_first_usual_pair_is_found(home: Path) -> None:
    rsa = ssh_keygen(home / ".ssh" / "id_rsa", *RSA_PEM)
    assert find_key_pair().private_key_path == rsa
    ed25519 = ssh_keygen(home / ".ssh" / "id_ed25519")
    assert find_key_pair(name="mine") == KeyPair(home / ".ssh" / "id_ed25519.pub", ed25519, "mine")


def test_a_half_pair_and_a_type_that_ec2_refuses_are_passed_over(home: Path) -> None:
    ssh_keygen(home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "id_ed25519.pub").unlink()
    ssh_keygen(home / ".ssh" / "id_ecdsa", "ecdsa")
    with pytest.raises(UnsetSSHKeyError):
        find_key_pair()


def test_missing_key_pair_explains_how_to_create_one() -> None:
    with pytest.raises(UnsetSSHKeyError, match=r"`ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519`.*public_key_path"):
        find_key_pair()


def test_without_a_home_directory_there_is_no_default_key(homeless: None) -> None:
    with pytest.raises(UnsetSSHKeyError, match=r"^no SSH key: this user has no home directory.*PUBLIC_KEY_PATH$"):
        find_key_pair()


@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_a_saved_key_is_readable_by_its_owner_only_and_has_its_public_key_beside_it(
    tmp_path: Path, key_type: str
) -> None:
    public, private = generate_key_pair_texts(key_type)
    pair = KeyPair.save(tmp_path / "new" / "mine", private, "known")
    assert pair.private_key_path.stat().st_mode & 0o777 == 0o600
    assert (pair.public_key_path, pair.name) == (tmp_path / "new" / "mine.pub", "known")
    assert pair.public_key_content == public
    pair.check()


def test_a_saved_pem_file_can_be_loaded_alone(tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-m", "PEM", "-f", str(tmp_path / "given")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    pem = (tmp_path / "given").read_text()
    pair = KeyPair.save(tmp_path / "ec2s.pem", pem)
    assert KeyPair.load(pair.private_key_path).private_key_path == tmp_path / "ec2s.pem"


def test_what_is_no_private_key_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(KeyPairError, match="is not a private key"):
        KeyPair.save(tmp_path / "new" / "key", "nonsense")
    assert not (tmp_path / "new").exists()


def test_saving_overwrites_no_key(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("there already")
    with pytest.raises(KeyPairError, match="exists already"):
        KeyPair.save(tmp_path / "key", generate_key_pair_texts()[1])
    assert not (tmp_path / "key").exists()
