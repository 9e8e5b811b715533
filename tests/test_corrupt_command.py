"""`gfnet-bench corrupt`: the files it writes, what it refuses, and that stopping it changes nothing."""

import errno
import io
import json
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fake_imagenet import class_of, photo, truncated, write_val
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES
from gfnet_bench.cli import main
from gfnet_bench.corrupted_folder import folder as corrupted_folder
from gfnet_bench.corrupted_folder.contact_sheet import GAP, HEAD, MARGIN, NAMES, TILE
from gfnet_bench.corruptions import corrupt, made_by
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.base import Corruption
from gfnet_bench.randomness import image_seeds

QUICK = ["--corruption", "gaussian_noise", "contrast", "--severity", "2", "5", "--device", "cpu", "--no-progress"]
QUICK += ["--workers", "0"]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with edges and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([127 + 60 * np.sin(x / (9 + c)) + 40 * np.cos(y / (7 + c)) for c in range(3)], axis=2)
    waves[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(waves + rng.normal(0, 9, waves.shape), 0, 255).astype(np.uint8))


@pytest.fixture
def source(tmp_path):
    """Five images in two subfolders and at the top: wide, tall, grey, with an alpha channel, small."""
    folder = tmp_path / "val"
    for path, image in {
        "top.jpg": picture(120, 90, 1),
        "n01440764/wide.JPEG": picture(300, 260, 2),
        "n01440764/tall.png": picture(100, 140, 3),
        "n01443537/grey.JPEG": picture(130, 120, 4).convert("L"),
        "n01443537/alpha.png": picture(90, 80, 5).convert("RGBA"),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / path)
    (folder / "n01440764" / "notes.txt").write_text("no image")
    (folder / "n01440764" / "._wide.JPEG").write_bytes(b"left by another system")
    return folder


def files(folder):
    """Every file in a folder but the manifest: path in it -> bytes."""
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert found.pop("corrupt.json")
    return found


def pixels(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)


def test_files_are_what_corrupt_gives_in_the_layout_of_imagenet_c(source, tmp_path):
    target = tmp_path / "out"
    assert main(["corrupt", str(source), str(target), *QUICK, "--seed", "3"]) == 0
    names = {
        "top.jpg": "top.jpg",
        "n01440764/wide.JPEG": "n01440764/wide.JPEG",
        "n01440764/tall.png": "n01440764/tall.JPEG",
        "n01443537/grey.JPEG": "n01443537/grey.JPEG",
        "n01443537/alpha.png": "n01443537/alpha.JPEG",
    }
    written = files(target)
    cells = [(name, severity) for name in ("gaussian_noise", "contrast") for severity in (2, 5)]
    assert set(written) == {f"{name}/{s}/{image}" for name, s in cells for image in names.values()}
    crop = Compose([Resize(256), CenterCrop(224)])  # as the published script
    for image, name in names.items():
        clean = torch.from_numpy(np.array(crop(Image.open(source / image).convert("RGB")))).permute(2, 0, 1)
        for corruption, severity in cells:
            expected = corrupt(clean[None], corruption, severity, seeds=image_seeds([image], 3))[0]
            assert torch.equal(pixels(written[f"{corruption}/{severity}/{name}"]), expected)


@pytest.mark.parametrize(
    ("recipe", "options", "size"),
    [
        ("imagecorruptions", [], (120, 90)),
        ("imagenet_c", ["--no-resize"], (120, 90)),
        ("cifar_c", [], (32, 32)),
        ("tiny_imagenet_c", [], (64, 64)),
    ],
)
def test_each_recipe_has_its_size_and_its_format(recipe, options, size, source, tmp_path):
    target = tmp_path / "out"
    command = ["corrupt", str(source), str(target), *QUICK, "--recipe", recipe, *options]
    assert main(command) == 0
    is_jpeg = recipe in ("imagenet_c", "tiny_imagenet_c")
    written = files(target)["contrast/2/top.jpg" if is_jpeg else "contrast/2/top.png"]
    with Image.open(io.BytesIO(written)) as image:
        assert (image.format, image.size) == ("JPEG" if is_jpeg else "PNG", size)
    clean = Image.open(source / "top.jpg").resize(size, Image.Resampling.BILINEAR)
    expected = corrupt(
        torch.from_numpy(np.array(clean)).permute(2, 0, 1)[None],
        "contrast",
        2,
        recipe=recipe,
        seeds=image_seeds(["top.jpg"], 0),
    )
    assert torch.equal(pixels(written), expected[0])


def test_pixels_depend_neither_on_batch_size_nor_on_processes_nor_on_the_other_images(source, tmp_path, monkeypatch):
    corrupted_folder.corrupt_folder(corrupted_folder.Folder(source, tmp_path / "a"), ["gaussian_noise"], [2])
    monkeypatch.setattr(corrupted_folder, "WORTH_PROCESSES", 0)
    for name, size, workers in (("b", 1, 0), ("c", 2, 2), ("threads", 1, 3)):
        if name == "threads":  # as on a GPU
            monkeypatch.setattr(corrupted_folder, "pool", lambda workers, *_: ThreadPoolExecutor(workers))
        folder = corrupted_folder.Folder(source, tmp_path / name)
        outcome = corrupted_folder.corrupt_folder(
            folder, ["gaussian_noise"], [2], batch_size=size, workers=workers, progress=False
        )
        assert outcome == (5, {}) and files(tmp_path / name) == files(tmp_path / "a")
    alone = tmp_path / "alone" / "n01440764"
    alone.mkdir(parents=True)
    (source / "n01440764" / "wide.JPEG").rename(alone / "wide.JPEG")
    corrupted_folder.corrupt_folder(corrupted_folder.Folder(alone.parent, tmp_path / "d"), ["gaussian_noise"], [2])
    ((path, data),) = files(tmp_path / "d").items()
    assert files(tmp_path / "a")[path] == data


@pytest.mark.parametrize("enough", [0, 1, 7, 19])
def test_a_run_that_was_stopped_continues_to_the_same_files(enough, source, tmp_path, monkeypatch, capsys):
    command = ["corrupt", str(source), str(tmp_path / "stopped"), *QUICK, "--batch-size", "2"]
    save = Image.Image.save

    def save_some(image, path, *arguments, **options):
        if len(list((tmp_path / "stopped").rglob("[!.]*.*"))) - 1 >= enough:
            path.write_bytes(b"the first few bytes")
            raise KeyboardInterrupt
        save(image, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save_some)
    assert main(command) == 130
    monkeypatch.undo()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "stopped").rglob("[!.]*.*")}
    assert len(before) == enough + 1
    assert main(command) == 0
    assert "wrote 20 files" in capsys.readouterr().err if not enough else True
    assert main(["corrupt", str(source), str(tmp_path / "whole"), *QUICK]) == 0
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert {file: file.stat().st_mtime_ns for file in before} == before, "what was whole is not written again"
    capsys.readouterr()
    assert main(command) == 0 and "wrote 0 files" in capsys.readouterr().err


def test_more_corruptions_are_added_to_a_folder(source, tmp_path, capsys):
    command = ["corrupt", str(source), str(tmp_path / "out"), *QUICK]
    assert main([*command, "--severity", "1"]) == 0
    assert main([*command, "--severity", "1..3", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "20 files to write" in err and [line.split()[-1] for line in out.splitlines()[-3:]] == ["0", "5", "5"]
    assert main([*command, "--severity", "1..3"]) == 0
    assert len(files(tmp_path / "out")) == 5 * 2 * 3
    assert len(json.loads((tmp_path / "out" / "corrupt.json").read_text())["made_with"]) == 1


def test_dry_run_writes_nothing(source, tmp_path, capsys):
    assert main(["corrupt", str(source), str(tmp_path / "out"), "--corruption", "all", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert f"{5 * len(CORRUPTIONS) * 5} files to write" in err and len(out.splitlines()) >= len(CORRUPTIONS) * 5
    assert not (tmp_path / "out").exists()


def test_bad_images_are_named_and_left_out(source, tmp_path, capsys):
    (source / "n01440764" / "cut.JPEG").write_bytes(truncated(photo(3)))
    (source / "n01443537" / "text.png").write_text("no image")
    (source / "n01443537" / "empty.png").write_bytes(b"")
    command = ["corrupt", str(source), str(tmp_path / "out"), *QUICK]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "n01440764/cut.JPEG: " in err and "n01443537/text.png: " in err and "the file is empty" in err
    assert "wrote 20 files; 3 bad images skipped" in err
    assert len(files(tmp_path / "out")) == 20
    assert main(command) == 1, "they are tried again, and still bad"


def test_an_image_that_stays_too_small_is_bad(source, tmp_path, capsys):
    picture(31, 200).save(source / "narrow.png")
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK, "--no-resize"]) == 1
    assert "narrow.png: 31 x 200 pixels, expected at least 32 x 32" in capsys.readouterr().err


def test_what_it_writes_of_class_folders_is_an_imagenet_c(tmp_path, capsys):
    write_val(tmp_path / "val")
    command = ["corrupt", str(tmp_path / "val"), str(tmp_path / "imagenet-c"), "--corruption", "contrast"]
    assert main([*command, "--severity", "1", "--no-resize", "--workers", "0", "--no-progress", "--device", "cpu"]) == 0
    spec = DATASETS["imagenet_c"]
    items = spec.find([tmp_path], Corruption("contrast", 1))
    assert sorted(items.labels.tolist()) == list(range(1000))
    shown = {label: np.array(Image.open(path)) for path, label in zip(items.paths, items.labels.tolist(), strict=True)}
    # One flat colour has no contrast to lose, so each file still tells the class it was written for.
    assert all(class_of(image[20, 20]) == label for label, image in shown.items())


def test_a_folder_made_otherwise_is_refused(source, tmp_path, capsys):
    target = tmp_path / "out"
    command = ["corrupt", str(source), str(target), *QUICK]
    assert main(command) == 0
    before = files(target)
    for options, message in (
        (["--seed", "1"], "made with seed 0, but now it is seed 1"),
        (["--recipe", "imagecorruptions"], "made with recipe imagenet_c, transform shorter side"),
        (["--no-resize"], "but now it is transform as it is"),
        (["--seed", "1", "--dry-run"], "made with seed 0, but now it is seed 1"),
    ):
        capsys.readouterr()
        assert main([*command, *options]) == 1
        err = capsys.readouterr().err
        assert message in err and "choose another DST" in err and err.count("\n") == 1
    other = source.rename(tmp_path / "other")
    assert main(["corrupt", str(other), *command[2:]]) == 1, "files of two sources would be mixed"
    assert "made with source" in capsys.readouterr().err
    assert files(target) == before


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{val}"], 2, "needs SRC and DST"),
        (["{tmp}/nowhere", "{tmp}/out"], 1, "expected a folder of images, found nothing"),
        (["{val}/top.jpg", "{tmp}/out"], 1, "expected a folder of images, found a file"),
        (
            ["{tmp}/empty", "{tmp}/out"],
            1,
            "expected images (.bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp) in",
        ),
        (["{val}", "{val}"], 2, "expected DST outside of SRC"),
        (["{val}", "{val}/n01440764/out"], 2, "expected DST outside of SRC"),
        (["{val}", "{tmp}"], 1, "expected an empty folder, or one that `gfnet-bench corrupt` has made"),
        (["{val}", "{val}/../file"], 1, "expected an empty folder, or one that `gfnet-bench corrupt` has made"),
        (["{val}", "{tmp}/file/out"], 1, "cannot write to"),
        (["{val}", "{tmp}/out", "--corruption", "frog"], 2, "did you mean fog"),
        (["{val}", "{tmp}/out", "--recipe", "imagenet"], 2, "did you mean imagenet_c"),
        (["{val}", "{tmp}/out", "--device", "abacus"], 2, "--device abacus: not on this machine"),
        (["--preview", "{tmp}/nowhere.png"], 1, "expected an image, found none that can be read"),
        (["--preview", "{tmp}/file"], 1, "expected an image, found a damaged one"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, status, message, source, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    words = [word.format(val=source, tmp=tmp_path) for word in arguments]
    assert main(["corrupt", *words]) == status
    err = capsys.readouterr().err
    assert message in err and err.startswith("gfnet-bench: ") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_images_that_would_get_one_name_are_refused(source, tmp_path, capsys):
    picture(64, 64).save(source / "n01440764" / "tall.JPEG")
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    assert "n01440764/tall.JPEG and n01440764/tall.png would both be written as" in capsys.readouterr().err


@pytest.mark.parametrize("severity", ["0", "6", "1..6", "3..1", "2.5", "all", "1.."])
def test_severities_that_do_not_exist_are_refused_by_the_parser(severity, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["corrupt", "a", "b", "--severity", severity])
    assert ended.value.code == 2 and "expected 1 to 5, or a range such as 1..5" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_leaves_whole_files(source, tmp_path, monkeypatch, capsys):
    save = Image.Image.save

    def full(image, path, *arguments, **options):
        if "contrast" in str(path):
            path.write_bytes(b"the first few bytes")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(image, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    assert main(["corrupt", str(source), str(tmp_path / "out"), *QUICK]) == 1
    err = capsys.readouterr().err
    assert "cannot write" in err and "(No space left on device)" in err and err.count("\n") == 1
    left = files(tmp_path / "out")
    assert len(left) == 10 and all(pixels(data).shape == (3, 224, 224) for data in left.values())


def test_preview_shows_each_corruption_in_its_place(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(32, 32).save("small.png")
    assert main(["corrupt", "--preview", "small.png", "--recipe", "cifar_c", "--seed", "4"]) == 0
    sheet = np.array(Image.open("preview.png"))
    clean = torch.from_numpy(np.array(Image.open("small.png"))).permute(2, 0, 1)[None]
    seeds = image_seeds(["small.png"], 4)

    def tile(row, column):
        top, left = HEAD + row * (TILE + GAP), MARGIN + NAMES + column * (TILE + GAP)
        enlarged = sheet[top : top + TILE, left : left + TILE]
        return torch.from_numpy(enlarged[3 :: TILE // 32, 3 :: TILE // 32]).permute(2, 0, 1)[None]

    for row, name in enumerate(made_by("cifar_c")):
        assert torch.equal(tile(row, 0), clean)
        for severity in SEVERITIES:
            expected = corrupt(clean, name, severity, recipe="cifar_c", seeds=seeds)
            assert torch.equal(tile(row, severity), expected)
    names = sheet[HEAD:, MARGIN : MARGIN + NAMES]
    rows = names[: len(made_by("cifar_c")) * (TILE + GAP)].reshape(len(made_by("cifar_c")), -1, NAMES, 3)
    assert (rows.min(axis=(1, 2, 3)) < 50).all(), "every row is named"


def test_an_interrupt_does_not_wait_for_what_a_gpu_has_still_to_do(source, tmp_path, monkeypatch):
    folder = corrupted_folder.Folder(source, tmp_path / "out")
    cells = [corrupted_folder.Cell("contrast", severity) for severity in SEVERITIES]
    started, saved = threading.Event(), []

    def save(image, file, quality):
        saved.append(file)
        started.set()
        assert corrupted_folder._stopping.wait(60)

    monkeypatch.setattr(corrupted_folder, "_save", save)
    with pytest.raises(KeyboardInterrupt), corrupted_folder._executor("cuda", 1) as threads:
        job = threads.submit(
            corrupted_folder._write_batch,
            folder,
            folder.todo(cells),
            "cpu",
        )
        assert started.wait(60)
        raise KeyboardInterrupt
    assert not corrupted_folder._stopping.is_set()  # the next folder in this process is written
    assert isinstance(job.exception(), CancelledError) and 1 <= len(saved) <= 5  # one severity of five, of one size


@pytest.mark.gpu
def test_a_gpu_writes_the_same_files_with_any_number_of_threads(source, tmp_path, monkeypatch):
    monkeypatch.setattr(corrupted_folder, "WORTH_PROCESSES", 0)
    for name, size, workers in (("a", 64, 0), ("b", 1, 3)):
        folder = corrupted_folder.Folder(source, tmp_path / name)
        corrupted_folder.corrupt_folder(folder, device="cuda", batch_size=size, workers=workers, progress=False)
    assert files(tmp_path / "a") == files(tmp_path / "b")
