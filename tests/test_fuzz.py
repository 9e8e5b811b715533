"""What comes from outside, almost right: every reader gives a value or one sentence, and writes nothing elsewhere.

By hypothesis, from valid files with bytes flipped, cut, doubled and swapped, JSON with values of other kinds, and names
that lead elsewhere: `CASES` of each of 21, more than ten thousand in all; `make fuzz` makes a hundred times as many.

A reader that is new gets a line in `READERS`.
"""

import io
import json
import os
import tarfile
import unicodedata
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from gfnet_bench import leases, runs
from gfnet_bench.attacks.make import make_attack
from gfnet_bench.commands import optionfile
from gfnet_bench.datasets import own_images
from gfnet_bench.datasets.decode import decode
from gfnet_bench.datasets.image_files import BadFile
from gfnet_bench.downloads.archives import unpack
from gfnet_bench.engines import read_engine
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.models.checkpoints import read_checkpoint
from gfnet_bench.packing import pack
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.store import Store
from gfnet_bench.terminal import one_line, visible

hypothesis = pytest.importorskip("hypothesis", reason='needs pip install "gfnet-bench[dev]"')
st = pytest.importorskip("hypothesis.strategies")

CASES = int(os.environ.get("GFNET_BENCH_FUZZ_CASES", "500"))
FUZZ = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=CASES,
    suppress_health_check=list(hypothesis.HealthCheck),
)
tried = Counter()

CELL = Cell("robustness", PROTOCOLS["robustness"], "gfnet_mini", {"dataset": "mini", "limit": 10, "seed": 0})
RECORD = Record(CELL, {"top1": 0.5, "images": 10}, provenance={"device": "cpu", "seconds": 1.5})
ARRAYS = {"top5": np.arange(50, dtype=np.int16).reshape(10, 5), "nll": np.linspace(0, 1, 10, dtype=np.float32)}
RUN = runs.Run(["robustness"], "/", [{"sha256": CELL.sha256, "name": "a"}], {}, {"torch": "2"}, 1)

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["../../x", "/etc/passwd", "a\0b", "a\nb", "\ud800", "NUL", "x" * 5000, "\x1b[2J", "1e999", "4/0"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


@st.composite
def almost(draw, valid):
    """Bytes of a valid file, hurt in a few places."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "cut", "double", "insert", "swap"]))
        if how == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, len(data) + 1))]
        elif how == "double":
            data[at:at] = data[at : at + 64]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        else:
            data[at : at + 8] = data[at : at + 8][::-1]
    return bytes(data)


@st.composite
def another(draw, valid):
    """JSON of a valid file with a value somewhere that is of another kind, missing, or nested without end."""
    content = json.loads(valid)
    place, parent, key = content, None, None
    while isinstance(place, (dict, list)) and place and draw(st.booleans() if parent is not None else st.just(True)):
        parent, key = place, draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = parent[key]
    if draw(st.booleans()):
        parent[key] = draw(odd)
    elif draw(st.booleans()):
        del parent[key]
    else:
        for _ in range(draw(st.sampled_from([1, 20, 3000]))):
            place = [place]
        parent[key] = 0
        return json.dumps(content).replace(": 0", ": " + "[" * 3000 + "]" * 3000, 1).encode()
    return json.dumps(content).encode("utf-8", "surrogatepass")


def valid_files(folder):
    """Name of a reader to the bytes of a file that it takes."""
    store = Store(folder)
    store.save(RECORD, ARRAYS)
    record = folder / CELL.path
    files = {"record": record.read_bytes(), "arrays": record.with_suffix(".npz").read_bytes()}
    pack(store)
    files["packed"] = (folder / "records.jsonl").read_bytes()
    runs.write(folder / "run.json", RUN)
    files["run"] = (folder / "run.json").read_bytes()
    files |= {"json": b'{"limit": 10, "model": ["a", "b"]}', "toml": b'limit = 10\nmodel = ["a"]\n'}
    files |= {"yaml": b"limit: 10\nmodel: [a, b]\nname: &x y\n", "csv": b"path,label\na.png,cat\nb.png,dog\n"}
    files["lease"] = b'{"worker": "worker-a", "at": "x", "host": "h", "pid": 1, "boot": "b"}'
    with zipfile.ZipFile(zipped := io.BytesIO(), "w") as of_zip:
        of_zip.writestr("a/b.txt", "text")
    with tarfile.open(fileobj=(tarred := io.BytesIO()), mode="w") as of_tar:
        of_tar.addfile(tarfile.TarInfo("a/b.txt"))
        of_tar.addfile(tarfile.TarInfo("c/d.txt"))
    files |= {"zip": zipped.getvalue(), "tar": tarred.getvalue()}
    for name in ("png", "jpeg"):
        Image.new("RGB", (9, 7), "teal").save(file := io.BytesIO(), name)
        files[name] = file.getvalue()
    import torch
    from safetensors.torch import save

    torch.save({"model": {"a.weight": torch.ones(2, 3)}}, file := io.BytesIO())
    return {**files, "pth": file.getvalue(), "safetensors": save({"a.weight": torch.ones(2, 3)})}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return valid_files(tmp_path_factory.mktemp("valid"))


def of_store(name):
    def read(folder, data):
        store, place = Store(folder), folder / CELL.path
        if not place.parent.exists():
            store.save(RECORD, ARRAYS)
        if name == "packed":
            place.unlink(missing_ok=True)
            place = folder / "records.jsonl"
        (place.with_suffix(".npz") if name == "arrays" else place).write_bytes(data)
        found = store.find(CELL)
        assert found is None or found.cell == CELL
        list(store.stream())
        for record in store.load().records:
            store.arrays(record)

    return read


def of_file(name, reader):
    def read(folder, data):
        (folder / name).write_bytes(data)
        reader(folder / name)

    return read


def image(path):
    decode(path.read_bytes())


def archive(path):
    unpack(path, path.parent / "inside", progress=False)


READERS = {
    "record": of_store("record"),
    "arrays": of_store("arrays"),
    "packed": of_store("packed"),
    "run": of_file("run.json", runs.read),
    "json": of_file("options.json", optionfile.read),
    "toml": of_file("options.toml", optionfile.read),
    "yaml": of_file("options.yaml", optionfile.read),
    "csv": of_file("labels.csv", lambda path: own_images.read(path)),
    "lease": of_file("key.0", leases.read),
    "zip": of_file("a.zip", archive),
    "tar": of_file("a.tar", archive),
    "png": of_file("a.png", image),
    "jpeg": of_file("a.jpg", image),
    "pth": of_file("a.pth", read_checkpoint),
    "safetensors": of_file("a.safetensors", read_checkpoint),
}


def sentence_or_value(call, *arguments):
    """One case: what is raised is ours, and one line that a terminal can show."""
    try:
        call(*arguments)
    except (GfnetBenchError, BadFile) as error:
        shown = visible(one_line(str(error)))
        assert shown and not any(unicodedata.category(c) in ("Cc", "Cs") for c in shown)


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_almost_right(name, valid, tmp_path):
    around = sorted(tmp_path.iterdir())
    inside = tmp_path / "inside"
    inside.mkdir()
    READERS[name](inside, valid[name])  # the file itself is right

    @FUZZ
    @hypothesis.given(almost(valid[name]))
    def case(data):
        tried[name] += 1
        sentence_or_value(READERS[name], inside, data)
        assert sorted(tmp_path.iterdir()) == [*around, inside]

    case()
    assert tried[name] >= CASES


@pytest.mark.parametrize("name", ["record", "run", "json", "lease"])
def test_json_of_other_kinds(name, valid, tmp_path):
    @FUZZ
    @hypothesis.given(another(valid[name]))
    def case(data):
        tried[f"{name} of other kinds"] += 1
        sentence_or_value(READERS[name], tmp_path, data)

    case()


@pytest.mark.parametrize("reader", [make_attack, read_engine])
def test_words_of_a_command_line(reader):
    pieces = st.sampled_from([*"pgd local slurm ray worst fgsm :,=+/.-0123456789".split(" "), "pgd:steps=", "epsilon="])
    words = st.lists(st.one_of(pieces, st.text(max_size=3), st.sampled_from([":", ",", "="])), max_size=8).map("".join)

    @FUZZ
    @hypothesis.given(words)
    def case(text):
        tried[reader.__name__] += 1
        sentence_or_value(reader, text)

    case()
