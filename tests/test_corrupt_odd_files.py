"""`corrupt` among odd files, odd folders and odd names: each is named and left out, or refused in one sentence."""

import os
import re
import struct
import subprocess
import time
import zlib

import numpy as np
import pytest
from fake_imagenet import encoded
from PIL import Image

from gfnet_bench.cli import main
from gfnet_bench.corrupted_folder import folder as corrupted_folder

QUICK = ["--corruption", "contrast", "--severity", "1", "--workers", "0", "--device", "cpu", "--no-progress"]
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "good.png").write_bytes(encoded(PIXELS, "PNG"))
    return tmp_path / "val"


def made(target):
    return sorted(file.relative_to(target / "contrast" / "1").as_posix() for file in target.rglob("*.JPEG"))


def flat_png(width, height):
    """A PNG of one colour, a few bytes long whatever its size."""
    row = zlib.compress(bytes(1) + bytes(width), 9)
    data = zlib.compress((bytes(1 + width)) * height, 9) if width * height < 10**7 else row

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def fifo(place):
    os.mkfifo(place / "odd.JPEG")


def folder(place):
    (place / "odd.JPEG").mkdir()


def dangling_link(place):
    (place / "odd.JPEG").symlink_to(place / "gone")


def link_to_itself(place):
    (place / "odd.JPEG").symlink_to(place / "odd.JPEG")


def device(place):
    (place / "odd.JPEG").symlink_to("/dev/zero")


def empty(place):
    (place / "odd.JPEG").write_bytes(b"")


def page(place):
    (place / "odd.JPEG").write_text("<!DOCTYPE html>")


def strip_that_asks_for_gigabytes(place):
    Image.new("RGB", (65000, 1)).save(place / "odd.JPEG")


def bomb(place):
    (place / "odd.JPEG").write_bytes(flat_png(60000, 60000))


def picture_of_floats_beyond_white(place):
    Image.fromarray(PIXELS[..., 0].astype(np.float32) * 3).save(place / "odd.JPEG", "TIFF")


ODD = [
    *(fifo, folder, dangling_link, link_to_itself, device, empty, page),
    *(strip_that_asks_for_gigabytes, bomb, picture_of_floats_beyond_white),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_an_odd_file_is_named_and_left_out(odd, source, tmp_path, capsys):
    odd(source)
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    err = capsys.readouterr().err
    assert re.search(rf"skipped {source}/odd.JPEG: .+\n", err) and "0x" not in err
    assert "wrote 1 files; 1 bad images skipped" in err
    assert made(tmp_path / "out") == ["good.JPEG"]


def test_a_strip_of_pixels_that_is_kept_as_it_is_is_no_jpeg(source, tmp_path, capsys):
    (source / "odd.png").write_bytes(flat_png(65_501, 40))
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK, "--no-resize"]) == 1
    assert "odd.png: 65501 x 40 pixels, expected at least 32 x 32, at most 65,500 a side" in capsys.readouterr().err
    assert made(tmp_path / "out") == ["good.JPEG"]


@pytest.mark.parametrize(
    "name",
    ["ab\xe9.png", "новый.png", "line\nbreak.png", "esc\x1b[2Jape.png", " .png", "--seed.png", "a" * 251 + ".png"],
)
def test_any_name_that_a_disk_takes(name, source, tmp_path, capsys):
    (source / name).write_bytes(encoded(PIXELS, "PNG"))
    target = tmp_path / "out"
    assert main(["corrupt", str(source), str(target), *QUICK, "--recipe", "cifar_c"]) == 0
    assert {file.name for file in (target / "contrast" / "1").iterdir()} == {"good.png", name}


def test_a_name_that_is_no_text(source, tmp_path):
    (source / os.fsdecode(b"n\xff\xfe")).mkdir()
    (source / os.fsdecode(b"n\xff\xfe/\xe9.png")).write_bytes(encoded(PIXELS, "PNG"))
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    assert (tmp_path / "out/contrast/1" / os.fsdecode(b"n\xff\xfe/\xe9.JPEG")).is_file()


def test_a_name_that_grows_too_long_is_left_out(source, tmp_path, capsys):
    (source / ("a" * 251 + ".png")).write_bytes(encoded(PIXELS, "PNG"))
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    assert ".png: its name would have 256 bytes, and 255 are the most" in capsys.readouterr().err


def test_folders_that_lead_into_themselves_are_entered_once(source, tmp_path):
    (source / "a").mkdir()
    (source / "a" / "up").symlink_to(source)
    (source / "a" / "here").symlink_to(source / "a")
    (source / "lost").symlink_to(source / "lost")
    (source / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "far.png").write_bytes(encoded(PIXELS, "PNG"))
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    assert made(tmp_path / "out") == ["good.JPEG", "other/far.JPEG"]


def test_folders_in_folders_without_end(source, tmp_path, capsys):
    place = os.open(source, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        place, above = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    try:
        status = main(["corrupt", str(source), str(tmp_path / "out"), *QUICK])
        assert status == 0 or "cannot read" in capsys.readouterr().err
    finally:  # Python before 3.13 removes no tree this deep, and pytest fails when it tidies up three runs later
        subprocess.run(["rm", "-rf", str(source)], check=True)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"7", b'"text"', b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000, b"NaN",
        b'{"source": 1, "recipe": 2, "seed": 3, "transform": 4}',
        b'{"source": "s", "recipe": "r", "seed": 0, "transform": "t", "made_with": 5}',
        b'{"source": "s", "recipe": "r", "seed": 0, "transform": "t", "made_with": []}',
        fifo, folder, dangling_link, link_to_itself, device,
    ],
    ids=lambda content: content.__name__ if callable(content) else content[:30].decode(errors="replace"),
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(content, source, tmp_path, capsys):
    target = tmp_path / "out"
    target.mkdir()
    if callable(content):
        content(target)
        (target / "odd.JPEG").rename(target / "corrupt.json")
        if content is link_to_itself:
            (target / "corrupt.json").unlink()
            (target / "corrupt.json").symlink_to(target / "corrupt.json")
    else:
        (target / "corrupt.json").write_bytes(content)
    assert main(["corrupt", str(source), str(target), *QUICK]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"gfnet-bench: {target}") and err.count("\n") == 1 and "choose another DST" in err
    assert len(list(target.iterdir())) == 1


def test_every_byte_of_a_manifest_may_be_damaged(source, tmp_path, capsys):
    target = tmp_path / "out"
    assert main(["corrupt", str(source), str(target), *QUICK]) == 0
    whole = (target / "corrupt.json").read_bytes()
    for place in range(0, len(whole), 3):
        damaged = whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :]
        (target / "corrupt.json").write_bytes(damaged)
        capsys.readouterr()
        assert main(["corrupt", str(source), str(target), *QUICK, "--dry-run"]) in (0, 1)
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("place", ["contrast", "contrast/1", "contrast/1/good.JPEG"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_what_stands_in_the_way_of_a_file_is_refused_or_replaced(kind, place, source, tmp_path, capsys):
    target = tmp_path / "out"
    assert main(["corrupt", str(source), str(target), "--corruption", "fog", *QUICK[2:]]) == 0
    way = target / place
    way.parent.mkdir(parents=True, exist_ok=True)
    {
        "file": lambda: way.write_bytes(b""),
        "folder": lambda: (way / "inside").mkdir(parents=True),
        "link": lambda: way.symlink_to(tmp_path / "nowhere"),
        "fifo": lambda: os.mkfifo(way),
    }[kind]()
    capsys.readouterr()
    status = main(["corrupt", str(source), str(target), *QUICK])
    err = capsys.readouterr().err
    whole = (target / "contrast/1/good.JPEG").is_file() and (target / "contrast/1/good.JPEG").stat().st_size > 0
    assert status == (0 if whole else 1)
    assert whole or err.startswith("gfnet-bench: cannot write")


def test_files_that_lost_power_left_empty_are_written_again(source, tmp_path):
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    file = tmp_path / "out/contrast/1/good.JPEG"
    whole = file.read_bytes()
    file.write_bytes(b"")
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    assert file.read_bytes() == whole


def test_an_image_that_was_changed_is_corrupted_again(source, tmp_path):
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    before = (tmp_path / "out/contrast/1/good.JPEG").read_bytes()
    (source / "good.png").write_bytes(encoded(255 - PIXELS, "PNG"))
    later = time.time() + 5
    os.utime(source / "good.png", (later, later))
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 0
    assert (tmp_path / "out/contrast/1/good.JPEG").read_bytes() != before


def test_memory_that_runs_out_is_not_taken_for_a_bad_image(source, tmp_path, monkeypatch, capsys):
    def too_large(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(corrupted_folder, "uncoded", too_large)
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    err = capsys.readouterr().err
    assert "memory ran out at 1 images of up to 224 x 224 pixels" in err and "bad images" not in err


def test_a_texture_that_cannot_be_had_is_missed_before_anything_is_written(source, tmp_path, monkeypatch, capsys):
    from gfnet_bench.errors import MissingError

    def nowhere(name):
        raise MissingError(f"{name}: not to be had")

    monkeypatch.setattr(corrupted_folder, "texture_file", nowhere)
    assert main(["corrupt", str(source), str(tmp_path / "out"), "--corruption", "contrast", "frost", *QUICK[2:]]) == 1
    assert "frost1.png: not to be had" in capsys.readouterr().err and not (tmp_path / "out").exists()


def damaged_images():
    """Every format with bytes flipped here and there."""
    rng = np.random.default_rng(1)
    for form, mode in [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "P"), ("TIFF", "RGB"), ("WEBP", "RGB"), ("BMP", "L")]:
        data = encoded(PIXELS, form, mode)
        for number in range(25):
            flipped = bytearray(data)
            for place in rng.integers(0, min(len(data), 400 if number % 2 else len(data)), 1 + number % 4):
                flipped[place] ^= 1 << rng.integers(8)
            yield f"{form}_{mode}_{number}.png", bytes(flipped)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_damaged_images_of_every_format(source, tmp_path, capsys):
    images = dict(damaged_images())
    for name, data in images.items():
        (source / name).write_bytes(data)
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    err = capsys.readouterr().err
    skipped = [line for line in err.splitlines() if line.startswith("skipped ")]
    assert len(skipped) + len(made(tmp_path / "out")) == len(images) + 1 and len(skipped) > 20
    assert "object at 0x" not in err and all(line.partition(": ")[2].strip() for line in skipped)


# --- the contact sheet ----------------------------------------------------------------------------------------------


def test_a_sheet_never_takes_the_place_of_its_photograph(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = encoded(PIXELS, "PNG")
    (tmp_path / "preview.png").write_bytes(data)
    (tmp_path / "link.png").symlink_to("preview.png")
    for words in (["preview.png"], ["link.png"], ["preview.png", "link.png"]):
        assert main(["corrupt", "--preview", *words]) == 2
        assert "the sheet would take the place of" in capsys.readouterr().err
        assert (tmp_path / "preview.png").read_bytes() == data


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_a_sheet_takes_the_place_of_nothing_but_a_file(kind, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(encoded(PIXELS, "PNG"))
    sheet = tmp_path / "sheet.png"
    {"folder": sheet.mkdir, "fifo": lambda: os.mkfifo(sheet), "device": lambda: sheet.symlink_to("/dev/null")}[kind]()
    assert main(["corrupt", "--preview", str(tmp_path / "photo.png"), str(sheet)]) == 2
    assert "expected the name of a file to write" in capsys.readouterr().err and not sheet.is_file()


@pytest.mark.parametrize("odd", [*ODD, None], ids=lambda odd: getattr(odd, "__name__", "nothing"))
def test_an_odd_file_has_no_sheet(odd, tmp_path, capsys):
    if odd:
        odd(tmp_path)
    assert main(["corrupt", "--preview", str(tmp_path / "odd.JPEG"), str(tmp_path / "sheet.png")]) == 1
    err = capsys.readouterr().err
    assert "expected an image, found" in err and err.count("\n") == 1 and not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "photo.png").write_bytes(encoded(PIXELS, "PNG"))
    (tmp_path / "sheet.png").write_bytes(b"the old one")

    def full(image, path, *arguments, **options):
        path.write_bytes(b"the first few bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr("gfnet_bench.corrupted_folder.contact_sheet.made_by", lambda recipe: [])
    assert main(["corrupt", "--preview", str(tmp_path / "photo.png"), str(tmp_path / "sheet.png")]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert {f.name for f in tmp_path.iterdir()} == {"photo.png", "sheet.png"}
    assert (tmp_path / "sheet.png").read_bytes() == b"the old one"


@pytest.mark.parametrize("flags", [["--dry-run"], ["--no-resize"], ["--severity", "3"], ["--corruption", "fog"]])
def test_flags_that_a_sheet_does_not_heed_are_refused(flags, tmp_path, capsys):
    assert main(["corrupt", "--preview", "photo.png", *flags]) == 2
    assert "--preview draws all 19 corruptions" in capsys.readouterr().err
