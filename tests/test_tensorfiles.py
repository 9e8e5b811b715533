"""Files of tensors: right or named for what they are, whatever is done to them, and no code of theirs is ever run."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.models import tensorfiles
from gfnet_bench.models.tensorfiles import read_tensors
from gfnet_bench.weightfile import sha256_of_weights

STATE = {"stem.weight": torch.arange(12.0).reshape(4, 3), "head.bias": torch.tensor([1, 2, 3], dtype=torch.int64)}


def zipped(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def legacy(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {"zip": zipped, "legacy": legacy, "safetensors": safetensors.torch.save}
EVERY_FORMAT = pytest.mark.parametrize("form", FORMATS)


def same(found: Any, expected: dict[str, Tensor] = STATE) -> bool:
    alike = isinstance(found, dict) and found.keys() == expected.keys()
    return alike and all(repr(found[name]) == repr(value) for name, value in expected.items())


def refusal(path: Path) -> str:
    """The one sentence about a file that is no checkpoint."""
    with pytest.raises(GfnetBenchError) as caught:
        read_tensors(path)
    text = str(caught.value)
    assert str(path) in text and text.isprintable() and len(text) < 600, text
    return text


# Damage


@EVERY_FORMAT
def test_a_changed_byte_is_noticed_or_does_no_harm(tmp_path: Path, form: str) -> None:
    rng, content, path = random.Random(0), FORMATS[form](STATE), tmp_path / "weights.pth"
    outcomes = {"right": 0, "refused": 0, "other": 0}
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 8))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_tensors(path)
        except GfnetBenchError as error:
            assert str(path) in str(error) and str(error).isprintable() and len(str(error)) < 600
            outcomes["refused"] += 1
        else:
            outcomes["right" if same(found) else "other"] += 1
    assert outcomes["refused"] and outcomes["right"] + (outcomes["other"] if form != "zip" else 0)
    if form == "zip":  # the others have no checksums
        assert not outcomes["other"], outcomes


@EVERY_FORMAT
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    content, path = FORMATS[form](STATE), tmp_path / "weights.pth"
    for end in [*range(0, 200, 7), *range(200, len(content), 41), len(content) - 1]:
        path.write_bytes(content[:end])
        refusal(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    rng, path = random.Random(1), tmp_path / "weights.pth"
    for begins in (b"", b"PK\x03\x04", b"\x80\x02", legacy(STATE)[:25], b"\x20\0\0\0\0\0\0\0{", b"\x08\x07"):
        for _ in range(25):
            path.write_bytes(begins + rng.randbytes(rng.randrange(1, 300)))
            refusal(path)


def test_zip_files_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        (tmp_path / "weights.pth").write_bytes(zipped(STATE))
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_tensors(tmp_path / "weights.pth"))


def test_a_zip_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(zipped(STATE))) as whole,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, bytes(10**7) if "/data/" in name else whole.read(name))
    (tmp_path / "bomb.pth").write_bytes(packed.getvalue())
    assert "claim more bytes" in refusal(tmp_path / "bomb.pth")


# Code


class Call:
    """What a malicious file asks for when it is unpickled: a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_no_call_in_a_file_is_made(tmp_path: Path, form: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    calls = {
        "mkdir": Call(os.mkdir, str(trace)),
        "system": Call(os.system, f"mkdir {trace}"),
        "Popen": Call(subprocess.Popen, ["mkdir", str(trace)]),
        "eval": Call(eval, f"__import__('os').mkdir({str(trace)!r})"),
        "exec": Call(exec, f"import os; os.mkdir({str(trace)!r})"),
        "open": Call(open, str(trace), "w"),
        "rmtree": Call(shutil.rmtree, str(tmp_path)),
        "copyfile": Call(shutil.copyfile, __file__, str(trace)),
        "import_module": Call(__import__("importlib").import_module, "antigravity"),
        "loads": Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(trace)))),
    }
    for name, call in calls.items():
        for content in (call, {"model": call}, {"model": STATE, "x": call}, {"model": STATE, "x": [({"y": call},)]}):
            path.write_bytes(FORMATS[form](content))
            text = refusal(path)
            assert f"would have to run code to be read ({'posix.' if name in ('mkdir', 'system') else ''}" in text
            assert name in text and "do not use this file" in text
    # Functions of any other module become stand-ins: the weights beside them can be used.
    path.write_bytes(FORMATS[form]({"model": STATE, "extra": Call(write, str(trace))}))
    assert same(read_tensors(path)["model"])
    path.write_bytes(FORMATS[form]({"model": STATE, "extra": Call(Path.mkdir, trace)}))
    assert "cannot be read without running code (it holds pathlib." in refusal(path)
    path.write_bytes(FORMATS[form](Call(write, str(trace))))
    assert read_tensors(path).stands_for.endswith("test_tensorfiles.write")
    assert not trace.exists() and tmp_path.exists() and "antigravity" not in sys.modules


def write(path: str) -> None:
    Path(path).write_text("this was run")


def test_other_pickle_protocols_are_named(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "four.pth", pickle_protocol=4)
    assert "expected pickle protocol 2, found 4" in refusal(tmp_path / "four.pth")


# What people have in place of a checkpoint


def archive_of(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zip_:
        for name, content in names.items():
            zip_.writestr(name, content)
    return buffer.getvalue()


def tar_of(names: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def array_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def array_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3), b=np.zeros(2))
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; its files stay
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12345\n"
WEIGHTS = {"weights.pth": zipped(STATE)}
ELSE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file; delete it and fetch it again"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "white space": (b" \n\n", "nothing but white space"),
    "page": (b"\n\n<html lang=en>Sign in</html>", "a web page .*fetch the file with a browser"),
    "lfs pointer": (LFS, "a Git-LFS pointer; `git lfs pull`"),
    "annex pointer": (b"/annex/objects/SHA256E-s1--4d7a.pth\n", "a git-annex pointer"),
    "json error": (b'{"error": "Repository not found"}', 'JSON that begins \'{"error": "Repository not found"}\''),
    "json list": (b'[{"message": "no"}]', "JSON that begins"),
    "json key at eight": (b'{"abc": {"a": 1}}', "JSON that begins"),
    "xml error": (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "XML that begins .*AccessDenied"),
    "bare xml": (b"<Error><Code>NoSuchKey</Code></Error>", "XML that begins '<Error><Code>NoSuchKey"),
    "text": (b"404: Not Found", "text that begins '404: Not Found'"),
    "text beyond ascii": ("ファイルが見つかりません\n".encode() * 900, "text that begins"),
    "gzip": (gzip.compress(zipped(STATE)), "a gzip file; unpack it"),
    "tar": (tar_of(WEIGHTS), "a tar archive; unpack it"),
    "tar.gz": (tar_of(WEIGHTS, "w:gz"), "a gzip file; unpack it"),
    "bzip2": (tar_of(WEIGHTS, "w:bz2"), "a bzip2 file; unpack it"),
    "xz": (tar_of(WEIGHTS, "w:xz"), "an xz file; unpack it"),
    "zip": (archive_of(WEIGHTS), "a zip archive of 'weights.pth'; unpack it"),
    "empty zip": (archive_of({}), "an empty zip archive"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "a Zstandard file"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7-Zip archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
    "npy": (array_file(), "a NumPy array"),
    "npz": (array_archive(), r"a NumPy archive \(.npz\)"),
    "keras": (archive_of({"metadata.json": b"{}", "model.weights.h5": b"x"}), "a Keras model"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x9c\x01", "an ONNX model"),
    "saved model": (b"\x08\x01\x12\x9b\xf3\x01\n", "a TensorFlow SavedModel"),
    "tflite": (b"\x1c\0\0\0TFL3\x14\0", "a TensorFlow Lite model"),
    "flax": (b"\x81\xa6params\x82\xa4head\x81\xa4bias", "a Flax msgpack file"),
    "large flax": (b"\xde\x00\x20\xa6params\xa4head", "a Flax msgpack file"),
    "gguf": (b"GGUF\x03\0\0\0", "a GGUF file"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    "pdf": (b"%PDF-1.4\n", "a PDF document"),
    "torchscript": (script(), "a TorchScript program; load it with torch.jit.load"),
    "exported": (
        archive_of({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}),
        "a program that torch.export saved",
    ),
    "pickle": (pickle.dumps({"a": [1.0]}, protocol=2), "a Python pickle that neither torch.save nor safetensors"),
    "new pickle": (pickle.dumps({"a": np.zeros(3)}), "a Python pickle"),
    "noise": (b"\x13\x07\xfe" * 99, "a file that neither torch.save nor safetensors wrote"),
}


@pytest.mark.parametrize("name", ELSE)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_named_for_what_it_is(tmp_path: Path, name: str, suffix: str) -> None:
    content, found = ELSE[name]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    text = refusal(path)
    assert re.search(f"found {found}", text), text
    assert "code" not in text or "NoSuch" in text or "Access" in text


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pth")  # reading it would wait for ever
    assert "found a pipe, a socket or a device" in refusal(tmp_path / "fifo.pth")
    (tmp_path / "folder").mkdir()
    assert "found a folder; pass the file itself" in refusal(tmp_path / "folder")
    (tmp_path / "folder" / "model.safetensors").write_bytes(safetensors.torch.save(STATE))
    assert f"pass the file in it, such as {tmp_path}/folder/model.safetensors" in refusal(tmp_path / "folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "symbolic links" in refusal(tmp_path / "loop")
    assert "too long" in refusal(tmp_path / ("x" * 300))
    for path in (tmp_path / "none.pth", tmp_path / "folder" / "model.safetensors" / "x"):
        with pytest.raises(MissingError, match="found no such file; check the path"):
            read_tensors(path)
    with pytest.raises(GfnetBenchError, match="null"):
        read_tensors(Path("a\0b"))


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(zipped(STATE))

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)  # root, who may run this test, may read everything
    assert "found what cannot be read (Permission denied)" in refusal(path)


# Shards


@pytest.fixture
def index(tmp_path: Path) -> Path:
    files = {"model-00001-of-00002.safetensors": ["stem.weight"], "model-00002-of-00002.safetensors": ["head.bias"]}
    for file, names in files.items():
        (tmp_path / file).write_bytes(safetensors.torch.save({name: STATE[name] for name in names}))
    weight_map = {name: file for file, names in files.items() for name in names}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 72}, "weight_map": weight_map}))
    return path


def rewrite(index: Path, change: Callable[[dict[str, str]], Any]) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


def test_shards_are_read_through_their_index(index: Path) -> None:
    assert same(read_tensors(index))


def test_shards_that_torch_saved_are_read_as_well(index: Path) -> None:
    for file in index.parent.glob("*.safetensors"):
        file.write_bytes(zipped(safetensors.torch.load(file.read_bytes())))
    assert same(read_tensors(index))


def test_the_hash_of_an_index_is_that_of_its_shards_too(index: Path) -> None:
    before = sha256_of_weights(index)
    shard = sorted(index.parent.glob("*.safetensors"))[1]
    shard.write_bytes(safetensors.torch.save({"head.bias": STATE["head.bias"] + 1}))
    assert sha256_of_weights(index) != before


def test_a_missing_shard_is_named(index: Path) -> None:
    (index.parent / "model-00002-of-00002.safetensors").unlink()
    assert "expected its 2 shards beside it, found no model-00002-of-00002.safetensors" in refusal(index)


def test_a_tensor_that_its_shard_lacks_is_named(index: Path) -> None:
    rewrite(index, lambda names: names.update({"extra": "model-00001-of-00002.safetensors"}))
    assert "expected the tensor 'extra' in model-00001-of-00002.safetensors" in refusal(index)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b", "..", "", "a\\b", 3, None, ["x"]])
def test_shards_lie_beside_their_index(index: Path, name: object) -> None:
    rewrite(index, lambda names: names.update({"extra": name}))
    assert "expected the names of shards beside this index" in refusal(index)


@pytest.mark.parametrize("weight_map", [[], "x", 3, None, {}, [["a"]]])
def test_an_index_of_something_else_is_json(index: Path, weight_map: object) -> None:
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert "found JSON that begins" in refusal(index)


def test_deeply_nested_json_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.index.json").write_text('{"weight_map": ' + "[" * 100_000)
    assert "found JSON that begins" in refusal(tmp_path / "a.index.json")


# Interrupts and memory


@pytest.fixture
def interrupted_at() -> Iterator[Callable[[int], None]]:
    """Sends the signal of Ctrl-C when Python code, of ours or called back by a library, makes its nth call."""

    def arm(n: int) -> None:
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_return")
            if calls == n:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

        sys.setprofile(count)

    yield arm
    sys.setprofile(None)


@EVERY_FORMAT
def test_an_interrupt_is_never_taken_for_a_bad_file(
    tmp_path: Path, form: str, interrupted_at: Callable[[int], None]
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(FORMATS[form]({f"{i}.weight": torch.zeros(2, 2) for i in range(5)}))
    read_tensors(path)
    usual, interrupts = signal.getsignal(signal.SIGINT), 0
    for n in range(1, 100_000):
        try:
            interrupted_at(n)
            read_tensors(path)
            break  # it has no nth call: all were tried
        except KeyboardInterrupt:
            interrupts += 1
        finally:
            sys.setprofile(None)
        assert signal.getsignal(signal.SIGINT) is usual
    assert interrupts > 100


OUT_OF_MEMORY = [
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError("std::bad_alloc"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["open", "zip", "legacy", "safetensors"])
def test_memory_that_runs_out_is_not_taken_for_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(FORMATS.get(where, zipped)(STATE))

    def full(*arguments: object, **options: object) -> None:
        raise error

    of, name = {"open": (Path, "read_bytes"), "safetensors": (torch, "frombuffer")}.get(where, (torch, "load"))
    monkeypatch.setattr(of, name, full)
    text = refusal(path)
    assert "memory ran out" in text and "free some memory" in text
    assert "delete" not in text and "cut short" not in text


READS_IN_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.models.tensorfiles import read_tensors
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
for room in (64 << 20, 200 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, limits[1]))
    try:
        print(read_tensors(Path(sys.argv[1])).keys())
    except GfnetBenchError as error:
        print(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
print(*read_tensors(Path(sys.argv[1]))["a"].shape)
"""


@EVERY_FORMAT
def test_a_real_lack_of_memory_says_so(tmp_path: Path, form: str) -> None:
    """In a process of its own: this one may have memory to give back, which is room that nobody reckoned with."""
    pytest.importorskip("resource")
    path = tmp_path / "weights.pth"
    path.write_bytes(FORMATS[form]({"a": torch.zeros(1 << 25)}))  # 128 MB
    command = [sys.executable, "-c", READS_IN_LITTLE_ROOM, path]
    *told, whole = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 2 and whole == str(1 << 25)
    assert all(str(path) in text and "memory ran out" in text and "delete" not in text for text in told)


def test_bugs_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").write_bytes(zipped(STATE))
    monkeypatch.setattr(tensorfiles, "check_file", None)
    with pytest.raises(TypeError):
        read_tensors(tmp_path / "weights.pth")
