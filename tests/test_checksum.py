from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gfnet_bench.downloads.checksum import Checksum, digest_of, pin, pinned, sha256_of

# The test vectors of FIPS 180-2 and RFC 1321.
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
MD5_ABC = "900150983cd24fb0d6963f7d28e17f72"


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return path


def test_known_digests(abc: Path) -> None:
    assert sha256_of(abc) == SHA256_ABC
    assert digest_of(abc, "md5") == MD5_ABC


def test_a_file_larger_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 3_000_000)
    # As coreutils' sha256sum has it.
    assert sha256_of(path) == "2a152c894398719c0570f83fac34ac03a0f6e8e474b995c2403aa5434f7b9dd4"


def changed(path: Path, content: bytes, when: int) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(when, when))
    return path


def test_a_file_that_did_not_change_is_read_once(abc: Path) -> None:
    assert sha256_of(changed(abc, b"abc", 10**9)) == SHA256_ABC
    assert sha256_of(changed(abc, b"abd", 10**9)) == SHA256_ABC  # which it cannot know
    assert sha256_of(changed(abc, b"abd", 10**9 + 1)) != SHA256_ABC
    assert sha256_of(changed(abc, b"abcd", 10**9)) != SHA256_ABC


def test_a_file_that_changed_just_now_is_read_again(abc: Path) -> None:
    now = time.time_ns()
    assert sha256_of(changed(abc, b"abc", now)) == SHA256_ABC
    assert sha256_of(changed(abc, b"abd", now)) != SHA256_ABC


def test_a_difference_is_told_in_short(abc: Path) -> None:
    assert Checksum("sha256", SHA256_ABC).difference(abc) is None
    assert Checksum("md5", "0" * 32).difference(abc) == "md5 900150983cd2..., expected 000000000000..."


def test_a_pin_is_what_sha256sum_writes(abc: Path) -> None:
    assert pinned(abc) is None
    pin(abc)
    assert abc.with_name("abc.sha256").read_text() == f"{SHA256_ABC}  abc\n"
    assert pinned(abc) == Checksum("sha256", SHA256_ABC, abc.with_name("abc.sha256"))
