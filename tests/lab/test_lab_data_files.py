import gzip
import os
import pickle
import struct
from hashlib import sha256

import numpy as np
import pytest

from heavytail.errors import RequestError, SourceError
from heavytail.lab.data import load_data
from heavytail.lab.data.idx import read_idx

TRAIN, LABELS, TEST, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def idx(array):
    """The bytes of an IDX file."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def content():
    """The four files of a small set: every image has pixels of its own, and its label is in its first one."""
    rng = np.random.default_rng(3)
    files = {}
    for images, labels, n in ((TRAIN, LABELS, 30), (TEST, TEST_LABELS, 12)):
        classes = rng.integers(10, size=n)
        pixels = rng.integers(256, size=(n, 6, 4))
        files |= {images: idx(pixels), labels: idx(classes)}
    return files


def write(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def pairs(images, labels):
    """Each image, standardised by hand, with its label."""
    pixels = np.frombuffer(images[16:], dtype=np.uint8).reshape(-1, 24) / 255
    sd = np.maximum(pixels.std(axis=1, keepdims=True), 24**-0.5)
    pixels = (pixels - pixels.mean(axis=1, keepdims=True)) / sd
    return np.column_stack([pixels, np.frombuffer(labels[8:], dtype=np.uint8)])


def in_order(table):
    return table[np.lexsort(table.T)]


def table(examples):
    return np.column_stack([examples.inputs.reshape(len(examples), -1), examples.labels]).astype(float)


def test_a_folder_of_idx_files_is_read_to_the_last_number(tmp_path, content):
    data = load_data("mnist", write(tmp_path, content))
    assert data.shape == (1, 6, 4)
    assert in_order(table(data.train)) == pytest.approx(in_order(pairs(content[TRAIN], content[LABELS])), abs=1e-6)
    assert in_order(table(data.test)) == pytest.approx(in_order(pairs(content[TEST], content[TEST_LABELS])), abs=1e-6)
    assert load_data("mnist", tmp_path, test=0, train=30).test.inputs.shape == (0, 1, 6, 4)
    assert data.checksum == sha256(b"".join(content[n] for n in (TRAIN, LABELS, TEST, TEST_LABELS))).hexdigest()


def test_validation_examples_come_from_the_training_file_and_leave_it(tmp_path, content):
    data = load_data("mnist", write(tmp_path, content), validation=9, test=5, seed=2)
    assert (len(data.train), len(data.validation), len(data.test)) == (21, 9, 5)
    both = np.concatenate([table(data.train), table(data.validation)])
    assert in_order(both) == pytest.approx(in_order(pairs(content[TRAIN], content[LABELS])), abs=1e-6)
    fewer = load_data("mnist", tmp_path, train=4, validation=9, test=5, seed=2)
    assert np.array_equal(table(fewer.train), table(data.train)[:4])
    assert np.array_equal(table(fewer.validation), table(data.validation))
    assert np.array_equal(table(fewer.test), table(data.test))


def test_packed_or_not_in_the_root_of_torchvision_or_below_the_data_are_the_same(tmp_path, content):
    plain = load_data("mnist", write(tmp_path / "root" / "MNIST" / "raw", content))
    packed = {f"{name}.gz": gzip.compress(data) for name, data in content.items()}
    others = [
        load_data("mnist", tmp_path / "root"),
        load_data("mnist", str(write(tmp_path / "packed", packed))),
        load_data("fashion-mnist", write(tmp_path / "two" / "FashionMNIST" / "raw", packed).parents[1]),
    ]
    for other in others:
        assert other.checksum == plain.checksum
        assert other.train.inputs.tobytes() == plain.train.inputs.tobytes()
        assert np.array_equal(other.test.labels, plain.test.labels)
    assert plain.published is None
    assert others[2].published is False


@pytest.mark.parametrize("name", [TRAIN, LABELS, TEST, TEST_LABELS])
def test_the_checksum_changes_with_any_byte(tmp_path, content, name):
    before = load_data("mnist", write(tmp_path / "a", content), train=1, test=1).checksum
    content[name] = content[name][:-1] + bytes([content[name][-1] ^ 1])
    assert load_data("mnist", write(tmp_path / "b", content), train=1, test=1).checksum != before


def test_more_than_the_files_hold_is_refused(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(
        RequestError, match=r"the training part of mnist has 30 examples; 25 \(train\) \+ 6 \(validation\)"
    ):
        load_data("mnist", tmp_path, train=25, validation=6)
    with pytest.raises(RequestError, match=r"mnist has 12 test examples; 13 \(test\) asked for"):
        load_data("mnist", tmp_path, test=13)


def test_halves_of_sides_that_are_odd_are_refused(tmp_path, content):
    load_data("mnist", write(tmp_path, content), halved=True)
    odd = np.zeros((3, 6, 5))
    write(tmp_path, {TRAIN: idx(odd), LABELS: idx(np.zeros(3)), TEST: idx(odd), TEST_LABELS: idx(np.zeros(3))})
    with pytest.raises(RequestError, match="halved needs images of even sides; mnist has 6 x 5"):
        load_data("mnist", tmp_path, halved=True)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (TRAIN, lambda b: b[:-1], r"train-images-idx3-ubyte: is for 30 x 6 x 4 = 720 numbers and holds 719"),
        (TRAIN, lambda b: b + b"x", r"is for 30 x 6 x 4 = 720 numbers and holds more"),
        (TRAIN, lambda b: b[:10], "ends after 10 bytes, within the header of 16"),
        (TRAIN, lambda b: b"", "begins with nothing; an IDX file of its kind with 00000803"),
        (LABELS, lambda b: b"\0\0\x08\x03" + b[4:], "begins with 00000803; an IDX file of its kind with 00000801"),
        (LABELS, lambda b: b"\0\0\x0d\x01" + b[4:], "begins with 00000d01"),
        (LABELS, lambda b: b[:-1] + b"\x0a", "has the label 10; labels go from 0 to 9"),
        (LABELS, lambda b: idx(np.zeros(29)), "has 29 labels; train-images-idx3-ubyte has 30 images"),
        (TEST, lambda b: idx(np.zeros((12, 6, 5))), "has images of 6 x 5 pixels; those of train-images.* have 6 x 4"),
        (TEST, lambda b: idx(np.zeros((0, 6, 4))), "holds no pixels: 0 x 6 x 4"),
        (TRAIN, lambda b: b[:4] + b"\xff" * 12 + b[16:], "numbers; 2147483648 are the most that are read"),
    ],
)
def test_a_damaged_idx_file_is_one_line_that_names_it(tmp_path, content, name, damage, message):
    content[name] = damage(content[name])
    with pytest.raises(SourceError, match=message) as refusal:
        load_data("mnist", write(tmp_path, content))
    assert str(refusal.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("keep", [5, 20, -9, -1])
def test_a_packed_file_that_was_cut_is_one_line(tmp_path, content, keep):
    packed = gzip.compress(content.pop(TRAIN))
    write(tmp_path, {**content, f"{TRAIN}.gz": packed[:keep]})
    with pytest.raises(SourceError, match=r"ubyte\.gz: damaged, its bytes cannot be read") as refusal:
        load_data("mnist", tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_packed_file_that_is_none_is_one_line(tmp_path, content):
    plain = content.pop(TRAIN)
    write(tmp_path, {**content, f"{TRAIN}.gz": plain})
    with pytest.raises(SourceError, match=r"ubyte\.gz: not a gzipped file"):
        load_data("mnist", tmp_path)


def test_a_small_file_that_unpacks_without_end_is_left_early(tmp_path):
    path = tmp_path / "bomb.gz"
    zeros = bytes(1 << 24)
    path.write_bytes(gzip.compress(idx(np.zeros(3)) + zeros) + gzip.compress(zeros) * 2000)
    with pytest.raises(SourceError, match="is for 3 = 3 numbers and holds more"):
        read_idx(path, 1)


def test_missing_files_and_folders_are_named(tmp_path, content):
    del content[TEST_LABELS]
    with pytest.raises(SourceError, match=f"holds no {TEST_LABELS}, nor {TEST_LABELS}.gz; expected are {TRAIN}, "):
        load_data("mnist", write(tmp_path, content))
    with pytest.raises(SourceError, match="nowhere: is no folder; that of the files of mnist is expected"):
        load_data("mnist", tmp_path / "nowhere")
    with pytest.raises(
        SourceError, match="holds no data_batch_1; the files of cifar-10-batches-py are data_batch_1 to"
    ):
        load_data("cifar10", tmp_path)


def batch(n, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(256, size=(n, 3072)).astype(np.uint8)
    return {
        "batch_label": "batch",
        "labels": rng.integers(10, size=n).tolist(),
        "data": pixels,
        "filenames": ["a.png"] * n,
    }


def by_python_2(content):
    """The bytes that Python 2 wrote: its strings are of bytes, and numpy puts the pixels into one."""
    n, pixels = len(content["labels"]), content["data"].tobytes()
    return b"".join(
        [
            b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b",
            b"\x87Rq\x04(K\x01K" + bytes([n]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(pixels)) + pixels,
            b"tbU\x06labelsq\x07](" + b"".join(b"K" + bytes([label]) for label in content["labels"]) + b"eu.",
        ]
    )


def write_batches(folder, dump):
    batches = [batch(4 + i, i) for i in range(6)]
    return batches, write(folder, {name: dump(b) for name, b in zip(BATCHES, batches, strict=True)})


def cropped(batches):
    """Each image of 28 x 28, standardised by hand in a loop, with its label."""
    result = []
    for content in batches:
        for pixels, label in zip(content["data"], content["labels"], strict=True):
            planes = pixels.reshape(3, 32, 32).astype(float)
            cut = np.stack([plane[2:30, 2:30] for plane in planes]) / 255
            result.append([*((cut - cut.mean()) / cut.std()).ravel(), label])
    return np.array(result)


DUMPS = {
    "python 2": by_python_2,
    "bytes as keys": lambda b: pickle.dumps({k.encode(): v for k, v in b.items()}, protocol=2),
    **{
        f"fortran, protocol {p}": lambda b, p=p: pickle.dumps({**b, "data": np.asfortranarray(b["data"])}, protocol=p)
        for p in (2, 5)
    },
    **{f"protocol {p}": lambda b, p=p: pickle.dumps(b, protocol=p) for p in range(6)},
}


def test_the_pickle_by_hand_is_one():
    content = batch(3, 1)
    found = pickle.loads(by_python_2(content), encoding="latin1")
    assert np.array_equal(found["data"], content["data"])
    assert found["labels"] == content["labels"]


@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_cifar_is_read_whoever_pickled_it(tmp_path, dump):
    batches, folder = write_batches(tmp_path / "cifar-10-batches-py", dump)
    data = load_data("cifar10", folder)
    assert (data.classes, data.shape, data.train.inputs.dtype) == (10, (3, 28, 28), np.float32)
    assert in_order(table(data.train)) == pytest.approx(in_order(cropped(batches[:5])), abs=1e-6)
    assert in_order(table(data.test)) == pytest.approx(in_order(cropped(batches[5:])), abs=1e-6)
    assert data.checksum == sha256(b"".join((folder / name).read_bytes() for name in BATCHES)).hexdigest()
    assert load_data("cifar10", tmp_path).checksum == data.checksum
    assert load_data("cifar10", tmp_path, halved=True).shape == (3, 14, 14)


class Runs:
    """Runs a call when it is unpickled."""

    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "call", [(os.mkdir,), (eval, "__import__('os').mkdir('{}')"), (exec, "import os; os.mkdir('{}')")], ids=str
)
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path, protocol, call):
    trace = tmp_path / "trace"
    run, *text = call
    evil = Runs(run, *(t.format(trace) for t in text or ["{}"]))
    _, folder = write_batches(tmp_path / "c", lambda b: pickle.dumps({**b, "labels": evil}, protocol=protocol))
    with pytest.raises(
        SourceError, match=r"data_batch_1: damaged, .*the pickle asks for '.*', which no batch"
    ) as refusal:
        load_data("cifar10", folder)
    assert "\n" not in str(refusal.value)
    assert not trace.exists()
    # the attack is one
    pickle.loads((folder / BATCHES[0]).read_bytes())
    assert trace.exists()


def nested():
    """A list that would be written out in 2^60 words."""
    inner = []
    for _ in range(60):
        inner = [inner, inner]
    return inner


def objects(content):
    return {**content, "data": content["data"].astype(object)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: [1, 2], "is no batch of CIFAR-10, a dict with the array 'data' and the list 'labels'"),
        (lambda b: {"data": b["data"]}, "is no batch of CIFAR-10"),
        (lambda b: {**b, "data": [1]}, "is no batch of CIFAR-10"),
        (lambda b: {**b, "labels": b["data"]}, "is no batch of CIFAR-10"),
        (lambda b: {**b, "labels": b["labels"][1:]}, r"has data of shape \(4, 3072\); \(3, 3072\) is expected"),
        (lambda b: {**b, "data": b["data"][:, 1:]}, r"has data of shape \(4, 3071\); \(4, 3072\) is expected"),
        (lambda b: {**b, "labels": [0, 1, 2, 10]}, "has a label 10; labels go from 0 to 9"),
        (lambda b: {**b, "labels": [0, 1, 2, -1]}, "has a label -1; labels go from 0 to 9"),
        (lambda b: {**b, "labels": [0, 1, 2, "3"]}, "has a label of type str; labels go from 0 to 9"),
        (lambda b: {**b, "labels": [0, 1, 2, True]}, "has a label of type bool; labels go from 0 to 9"),
        (lambda b: {**b, "labels": [0, 1, 2, nested()]}, "has a label of type list; labels go from 0 to 9"),
        (lambda b: {**b, "data": b["data"].ravel()}, "an array whose shape is no pair of whole numbers"),
        (lambda b: {**b, "data": Runs(np.dtype, nested())}, "an array of what has no name, not of bytes"),
        (lambda b: {**b, "data": b["data"].astype(float)}, "an array of 'f8', not of bytes"),
        (objects, "an array of 'O8', not of bytes"),
        (lambda b: {**b, "data": np.ndarray}, "is no batch of CIFAR-10"),
        (lambda b: {**b, "data": Runs(np.ndarray, 3)}, "the pickle calls 'numpy.ndarray'"),
    ],
)
def test_a_batch_that_is_none_is_one_line_that_names_it(tmp_path, damage, message):
    _, folder = write_batches(tmp_path, lambda b: pickle.dumps(damage(b), protocol=2))
    with pytest.raises(SourceError, match=message) as refusal:
        load_data("cifar10", folder)
    assert str(refusal.value).startswith(f"{folder / BATCHES[0]}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("keep", [0, 1, 50, 5000, -1])
def test_a_batch_that_was_cut_is_one_line(tmp_path, keep):
    _, folder = write_batches(tmp_path, by_python_2)
    path = folder / BATCHES[2]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match="data_batch_3: damaged, its pickle cannot be read") as refusal:
        load_data("cifar10", folder)
    assert "\n" not in str(refusal.value)
