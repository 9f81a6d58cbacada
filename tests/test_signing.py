"""Signatures: what is signed passes, anything else is refused in words before it is read."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from conftest import memory_below
from signed import signed_text, write_keys

from ffedge.errors import ConfigError, SignatureError
from ffedge.signing import open_verified, sign, verify
from ffedge.signing.signature import MAX_NAME, MAX_SIGNATURE_FILE

ROOT = Path(__file__).resolve().parent.parent
SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))

#: The order of Ed25519's group.
L = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, SEED)


@pytest.fixture
def private(keys):
    return keys[0]


@pytest.fixture
def public(keys):
    return keys[1]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "digits.ffedge"
    path.write_bytes(bytes(i * i % 251 for i in range(1000)))
    return path


@pytest.fixture
def signed(file, private):
    sign(file, private, version=7)
    return file


def signature_of(path):
    return path.with_name(path.name + ".sig")


def taken(path, public, **options):
    """What ``open_verified`` hands out."""
    with open_verified(path, public, **options) as (file, _):
        return file.read()


def refused(path, public, words, **options):
    """Both ways to take a file refuse it, in these words."""
    with pytest.raises(SignatureError, match=words):
        verify(path, public, **options)
    with pytest.raises(SignatureError, match=words), open_verified(path, public, **options):
        pytest.fail("the file was handed out")


# --- what passes ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 3 * 2**18])
def test_a_signed_file_of_any_length_passes_with_the_facts_that_were_signed(
    tmp_path, private, public, size
):
    content = bytes(size - 1) + b"x" if size else b""
    (tmp_path / "m.onnx").write_bytes(content)

    made = sign(tmp_path / "m.onnx", private, version=3)

    assert verify(tmp_path / "m.onnx", public) == made
    assert taken(tmp_path / "m.onnx", public) == content
    assert (made.name, made.version, made.nbytes) == ("m.onnx", 3, size)


@pytest.mark.parametrize("version", [None, 1, 2**63 - 1])
def test_the_signature_file_is_the_one_that_its_description_gives(file, private, version):
    sign(file, private, version=version)

    expected = signed_text(SEED, file.read_bytes(), "digits.ffedge", version)
    assert signature_of(file).read_bytes() == expected


def test_the_format_of_today_is_read_for_ever(tmp_path, public):
    (tmp_path / "m").write_bytes(b"abc")
    (tmp_path / "m.sig").write_text(GOLDEN)

    assert verify(tmp_path / "m", public).version == 5
    assert verify(tmp_path / "m", public).sha512.startswith("ddaf35a193617abacc417349ae204131")


def test_signing_again_gives_the_same_bytes_and_leaves_nothing_else(signed, private, tmp_path):
    before = signature_of(signed).read_bytes()

    sign(signed, private, version=7)

    assert signature_of(signed).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [
        "digits.ffedge", "digits.ffedge.sig", "test.private.pem", "test.public.pem",
    ]  # fmt: skip


def test_a_file_may_be_signed_under_another_name(file, private, public):
    sign(file, private, name="model of the week")

    assert verify(file, public, name="model of the week").name == "model of the week"
    refused(file, public, "got one of 'model of the week'; give the file its name")


def test_a_link_is_the_file_that_it_points_to_under_its_own_name(signed, private, public):
    link = signed.with_name("current")
    link.symlink_to(signed)
    signature_of(link).symlink_to(signature_of(signed))

    refused(link, public, "expected a signature of 'current', got one of 'digits.ffedge'")
    assert verify(link, public, name="digits.ffedge").version == 7


# --- what does not ----------------------------------------------------------------------------


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_anywhere_in_the_signature_file_is_refused(signed, public, bit):
    path = signature_of(signed)
    content = path.read_bytes()

    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(SignatureError):
            verify(signed, public)

    path.write_bytes(content)
    assert verify(signed, public).version == 7


def test_a_flipped_bit_in_the_file_is_refused(signed, public):
    content = signed.read_bytes()

    for place in range(0, 8 * len(content), 37):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        signed.write_bytes(changed)
        refused(signed, public, "expected the bytes that were signed, got others")


@pytest.mark.parametrize("length", [0, 1, 999, 1001, 5000])
def test_a_file_of_another_length_is_refused(signed, public, length):
    signed.write_bytes((signed.read_bytes() * 5)[:length])

    refused(signed, public, "expected the 1,000 B that were signed, got a file of another length")


def test_a_signature_file_cut_short_anywhere_is_refused(signed, public):
    path = signature_of(signed)
    content = path.read_bytes()

    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(SignatureError):
            verify(signed, public)


def test_the_signature_of_another_file_is_refused(signed, private, public):
    other = signed.with_name("other.ffedge")
    other.write_bytes(signed.read_bytes()[::-1])
    sign(other, private, version=8)

    signature_of(signed).write_bytes(signature_of(other).read_bytes())

    refused(signed, public, "expected a signature of 'digits.ffedge', got one of 'other.ffedge'")
    refused(signed, public, "expected the bytes that were signed", name="other.ffedge")


def test_another_file_with_its_own_good_signature_is_refused_under_this_ones_name(
    signed, private, public
):
    other = signed.with_name("other.ffedge")
    other.write_bytes(b"another model of the same owner")
    sign(other, private, version=8)

    other.replace(signed)
    signature_of(other).replace(signature_of(signed))

    refused(signed, public, "expected a signature of 'digits.ffedge', got one of 'other.ffedge'")


def test_the_signature_of_another_key_is_refused(signed, tmp_path):
    _, other = write_keys(tmp_path, OTHER_SEED, "other")

    refused(signed, other, "expected a signature by key [0-9a-f]{16}, got one by key [0-9a-f]{16}")


def test_the_signature_of_another_key_under_this_ones_name_is_refused(signed, public):
    key = json.loads(signature_of(signed).read_bytes())["key"]
    forged = signed_text(OTHER_SEED, signed.read_bytes(), signed.name, 7, key=key)
    signature_of(signed).write_bytes(forged)

    refused(signed, public, "got one that this key did not make")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 8}, {"version": None}, {"name": "digits.ffedgf"}, {"bytes": 999},
        {"sha512": "0" * 128}, {"signature": base64.b64encode(bytes(64)).decode()},
    ],
    ids=str,
)  # fmt: skip
def test_no_fact_can_be_changed_without_the_key(signed, public, changes):
    content = signed.read_bytes()
    forged = signed_text(SEED, content, signed.name, 7, **changes)
    assert signed_text(SEED, content, signed.name, 7) == signature_of(signed).read_bytes()
    signature_of(signed).write_bytes(forged)

    refused(signed, public, "got one that this key did not make")


def test_the_second_form_of_a_signature_is_refused(signed, public):
    good = base64.b64decode(json.loads(signature_of(signed).read_bytes())["signature"])
    scalar = int.from_bytes(good[32:], "little") + L
    twin = base64.b64encode(good[:32] + scalar.to_bytes(32, "little")).decode()
    signature_of(signed).write_bytes(
        signed_text(SEED, signed.read_bytes(), signed.name, 7, signature=twin)
    )

    refused(signed, public, "got one that this key did not make")


def test_a_signature_of_another_protocol_over_the_same_file_is_refused(signed, private, public):
    from ffedge.signing.keys import read_private

    plain = read_private(private).sign(signed.read_bytes())
    changed = signed_text(
        SEED, signed.read_bytes(), signed.name, 7, signature=base64.b64encode(plain).decode()
    )
    signature_of(signed).write_bytes(changed)

    refused(signed, public, "got one that this key did not make")


def respelled(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


SPELLINGS = {
    "spaces": lambda text: respelled(text, '"version": 7', '"version":  7'),
    "a fraction": lambda text: respelled(text, '"version": 7', '"version": 7.0'),
    "an exponent": lambda text: respelled(text, '"version": 7', '"version": 7e0'),
    "a key twice": lambda text: respelled(text, '"version": 7', '"version": 9,\n  "version": 7'),
    "a surplus key": lambda text: respelled(text, '"version": 7', '"more": 1,\n  "version": 7'),
    "an escape": lambda text: respelled(text, "digits", "d\\u0069gits"),
    "padding": lambda text: respelled(text, '=="', '===="'),
    "a line feed more": lambda text: text + "\n",
    "no line feed": lambda text: text[:-1],
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "upper case": lambda text: text.replace("a", "A"),
    "another order": lambda text: json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n",
    "true for 1": lambda text: respelled(text, '"ffedge_signature": 1', '"ffedge_signature": true'),
    "a byte order mark": lambda text: "\ufeff" + text,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_a_good_signature_is_refused(signed, public, spelling):
    path = signature_of(signed)
    changed = SPELLINGS[spelling](path.read_text())
    assert changed != path.read_text()
    path.write_bytes(changed.encode())

    refused(signed, public, "expected a signature")


CONTENTS = {
    "nothing": b"",
    "no JSON": b"MZ\x90\0\xff\xfe",
    "nested lists": b"[" * MAX_SIGNATURE_FILE,
    "nested objects": (b'{"a":' * MAX_SIGNATURE_FILE)[: MAX_SIGNATURE_FILE - 5],
    "a long number": b"9" * MAX_SIGNATURE_FILE,
    "a list": b"[1]",
    "a number": b"1",
    "other JSON": b'{"version": 1}',
    "no facts": b'{"ffedge_signature": 1}',
    "a format of lists": b'{"ffedge_signature": [[[1]]]}',
    "not a number": b'{"ffedge_signature": NaN}',
    "a lone surrogate": b'{"ffedge_signature": 1, "name": "\\ud800"}',
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_signature_file_of_other_content_is_refused(file, public, case):
    signature_of(file).write_bytes(CONTENTS[case])

    refused(file, public, "digits.ffedge.sig: expected ")


HOSTILE_FACTS = [
    {"name": "../digits.ffedge"}, {"name": "a\0b"}, {"name": "\x1b[2J"}, {"name": "\ud800"},
    {"name": "x" * (MAX_NAME + 1)}, {"name": ""}, {"name": 1}, {"name": None}, {"name": ".."},
    {"version": 0}, {"version": -1}, {"version": 2**63}, {"version": True}, {"version": "7"},
    {"version": [7]}, {"bytes": -1}, {"bytes": 2**64}, {"bytes": None}, {"bytes": False},
    {"sha512": "0" * 127}, {"sha512": "g" * 128}, {"sha512": 0}, {"key": "0" * 63}, {"key": {}},
    {"signature": ""}, {"signature": "AAAA"}, {"signature": 1}, {"signature": "é" * 88},
]  # fmt: skip


@pytest.mark.parametrize("changes", HOSTILE_FACTS, ids=lambda changes: ascii(changes)[:40])
def test_an_impossible_fact_is_refused_as_such(signed, public, changes):
    forged = signed_text(SEED, signed.read_bytes(), signed.name, 7, **changes)
    signature_of(signed).write_bytes(forged)

    refused(signed, public, "got missing, surplus or impossible values")


def test_a_newer_format_is_refused_by_its_number(signed, public):
    text = signature_of(signed).read_text()
    signature_of(signed).write_text(respelled(text, '_signature": 1', '_signature": 2'))

    refused(signed, public, "expected signature format 1, got 2; a newer ffedge wrote it")


def test_nothing_is_allocated_for_what_is_not_signed(signed, public):
    verify(signed, public)
    os.truncate(signed, 2**33)

    with memory_below(2**17):
        refused(signed, public, "got a file of another length")


@pytest.mark.parametrize("which", ["signature", "key"])
def test_a_huge_signature_or_key_file_is_refused_unread(signed, public, which):
    verify(signed, public)
    path = signature_of(signed) if which == "signature" else public
    os.truncate(path, 2**33)

    with (
        memory_below(2**17),
        pytest.raises((SignatureError, ConfigError), match=r"of at most .* B, got a longer file"),
    ):
        verify(signed, public)


def test_verifying_a_large_file_takes_no_memory_of_its_size(tmp_path, private, public):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**26)
    sign(path, private)

    with memory_below(2**20):
        verify(path, public)


def test_a_missing_file_or_signature_is_told_apart(signed, private, public):
    signed.rename(signed.with_name("elsewhere"))
    refused(signed, public, "digits.ffedge: expected a signed file, got no such file")

    signature_of(signed).unlink()
    refused(signed, public, "digits.ffedge.sig: expected a signature file, got no such file; sign")
    with pytest.raises(ConfigError, match="expected a file to sign, got no such file"):
        sign(signed, private)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.parametrize("place", ["digits.ffedge", "digits.ffedge.sig"])
def test_what_is_no_file_is_refused_at_once(signed, public, make, place):
    path = signed.with_name(place)
    path.unlink()
    make(path)

    refused(signed, public, f"{place}: expected a sign.* file, got a (folder|pipe or device)")


@pytest.mark.parametrize("version", [0, -1, 2**63, 1.0, True, "1"])
def test_a_version_that_is_none_is_refused(file, private, public, version):
    with pytest.raises(ConfigError, match=r"expected a version of 1 to 2\*\*63 - 1, got"):
        sign(file, private, version=version)
    sign(file, private, version=1)
    with pytest.raises(ConfigError, match=r"expected a lowest version of 1 to 2\*\*63 - 1, got"):
        verify(file, public, at_least=version)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\udcff", "ä" * 128, ".."])
def test_a_name_that_cannot_be_signed_is_refused(file, private, name):
    with pytest.raises(ConfigError, match="expected a printable name without / of at most 255"):
        sign(file, private, name=name)

    assert not signature_of(file).exists()


def test_a_file_whose_own_name_is_no_text_needs_another_one(tmp_path, private, public):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match="choose one with --name"):
        sign(path, private)

    sign(path, private, name="plain")

    assert verify(path, public, name="plain").nbytes == 1


# --- versions ---------------------------------------------------------------------------------


def test_an_older_version_than_asked_for_is_refused(signed, public):
    assert verify(signed, public, at_least=7).version == 7
    refused(signed, public, "expected version 8 or newer, got version 7", at_least=8)


def test_a_signature_without_a_version_passes_only_where_none_is_asked_for(
    file, private, public, tmp_path
):
    sign(file, private)

    assert verify(file, public).version is None
    refused(file, public, "expected version 1 or newer, got no version", at_least=1)
    refused(file, public, "expected a signature with a version", record=tmp_path / "record")
    assert not (tmp_path / "record").exists()


# --- between verifying and loading ------------------------------------------------------------


def handed_out_after(change, path, public):
    with open_verified(path, public) as (file, _):
        change()
        return file.read()


@pytest.mark.parametrize("how", ["written over", "replaced", "deleted"])
def test_what_is_handed_out_is_what_was_verified_whatever_becomes_of_the_file(signed, public, how):
    good, evil = signed.read_bytes(), bytes(1000)

    def change():
        if how == "written over":
            signed.write_bytes(evil)
        elif how == "replaced":
            signed.with_name("evil").write_bytes(evil)
            signed.with_name("evil").replace(signed)
        else:
            signed.unlink()

    assert handed_out_after(change, signed, public) == good
    assert not signed.exists() or signed.read_bytes() == evil


@pytest.mark.parametrize("how", ["before the length is known", "after"])
def test_a_file_that_grows_while_it_is_read_is_refused(signed, public, monkeypatch, how):
    import ffedge.signing.signed_file as module

    honest = module.open_regular

    def open_regular(path, *rest):
        if path != signed:
            return honest(path, *rest)
        file = honest(path, *rest)
        if how == "after":
            fstat = os.fstat

            def growing(handle):
                monkeypatch.setattr(os, "fstat", fstat)
                found = fstat(handle)
                os.truncate(signed, 5000)
                return found

            monkeypatch.setattr(os, "fstat", growing)
        else:
            os.truncate(signed, 5000)
        return file

    for take in (verify, taken):
        monkeypatch.setattr(module, "open_regular", open_regular)
        with pytest.raises(SignatureError, match="got a file of another length"):
            take(signed, public)
        os.truncate(signed, 1000)


def test_signing_twice_at_once_leaves_one_whole_signature(file, private, public):
    script = (
        "import sys; from ffedge.signing import sign\n"
        "for _ in range(20): sign(sys.argv[1], sys.argv[2], version=int(sys.argv[3]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, file, private, str(n)], cwd=ROOT)
        for n in (1, 2)
    ]

    assert [process.wait() for process in started] == [0, 0]
    assert verify(file, public).version in (1, 2)


GOLDEN = """\
{
  "ffedge_signature": 1,
  "name": "m",
  "version": 5,
  "bytes": 3,
  "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
  "key": "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
  "signature": "hvCw/1dfseKmvdbPjLGIZerG3fqsjrer/XWdZfYFiCCMEtNWeNCrgab8AEG6yYtj/qW9meA2OI7pRBnykcEbDg=="
}
"""  # noqa: E501
