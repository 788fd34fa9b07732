import gzip
import sys
from hashlib import sha256
from math import sqrt

import numpy as np
import pytest

from heavytail.errors import RequestError, SourceError
from heavytail.lab.data import Examples, load_data
from heavytail.lab.data.catalogue import FASHION_MNIST
from heavytail.lab.data.preprocessing import halve, standardise

DEBIAN = pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")

# of Debian's package, as published by its authors
PACKED = {
    "train-images-idx3-ubyte": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


def rows(examples):
    """Each input as bytes."""
    return [x.tobytes() for x in examples.inputs]


def by_hand(image, white):
    """Standardise one image as TensorFlow's manual says."""
    x = image.astype(np.longdouble) / white
    return (x - x.mean()) / max(x.std(), 1 / np.sqrt(np.longdouble(x.size)))


@pytest.mark.parametrize(("channels", "white"), [(1, 255), (3, 255), (1, 16)])
def test_each_image_has_mean_zero_and_variance_one_over_all_its_numbers(channels, white):
    images = np.random.default_rng(1).integers(white + 1, size=(1100, channels, 6, 4)).astype(np.uint8)
    result = standardise(images, white)
    assert result.dtype == np.float32
    expected = np.array([by_hand(image, white) for image in images], dtype=float)
    assert result == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_deviation_of_an_image_of_almost_one_colour_is_bounded_below():
    images = np.full((2, 1, 4, 4), 77, dtype=np.uint8)
    images[1, 0, 0, 0] = 87
    flat, almost = standardise(images, 255)
    assert not flat.any()
    # sd is 10/255 * sqrt(15)/16 = .0095, below 1/4
    assert almost[0, 0, 0] == pytest.approx(4 * 10 / 255 * 15 / 16)
    assert almost[0, 3, 3] == pytest.approx(-4 * 10 / 255 / 16)


def test_a_halved_image_is_the_mean_of_its_squares():
    images = np.random.default_rng(2).integers(256, size=(5, 3, 8, 6)).astype(np.uint8)
    halved = halve(images)
    assert halved.shape == (5, 3, 4, 3)
    for (n, c, i, j), found in np.ndenumerate(halved):
        assert found / 4 == images[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
    assert halve(np.full((1, 1, 2, 2), 255, dtype=np.uint8)).item() == 4 * 255


def test_no_images_stay_none():
    assert standardise(np.zeros((0, 1, 4, 4), dtype=np.uint8), 255).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_sets_share_no_digit_and_hold_all_of_them(seed):
    from_sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    data = load_data("digits", validation=200, seed=seed)
    assert (len(data.train), len(data.validation), len(data.test)) == (1000, 200, 597)
    assert (data.classes, data.shape) == (10, (1, 8, 8))
    assert data.published
    found = sorted(
        (x.astype(np.float32).tobytes(), y)
        for part in (data.train, data.validation, data.test)
        for x, y in zip(part.inputs, part.labels, strict=True)
    )
    whole = standardise(from_sklearn.images.astype(np.uint8)[:, None], 16)
    assert found == sorted(zip((x.tobytes() for x in whole), from_sklearn.target, strict=True))
    image = from_sklearn.images[0]
    assert whole[0, 0] == pytest.approx(by_hand(image, 16).astype(float), abs=1e-6)


def test_digits_say_how_to_install_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RequestError, match=r"pip install 'heavytail\[lab\]'"):
        load_data("digits")


def test_halved_digits_are_means_of_the_published_ones():
    images = pytest.importorskip("sklearn.datasets").load_digits().images
    data = load_data("digits", halved=True)
    assert data.shape == (1, 4, 4)
    means = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    expected = sorted(tuple(by_hand(m, 16).astype(float).ravel().round(4)) for m in means)
    found = sorted(tuple(x.astype(float).ravel().round(4)) for part in (data.train, data.test) for x in part.inputs)
    assert np.asarray(found) == pytest.approx(np.asarray(expected), abs=2e-4)


@pytest.mark.parametrize("p", [2, 7, 12])
def test_modular_addition_is_every_sum_once(p):
    data = load_data(f"modular-addition-{p}")
    assert (len(data.train), len(data.validation), len(data.test)) == (p * p // 2, 0, p * p - p * p // 2)
    assert (data.classes, data.shape, data.train.inputs.dtype) == (p, (3,), np.int64)
    found = [(*x, y) for part in (data.train, data.test) for x, y in zip(part.inputs, part.labels, strict=True)]
    assert sorted(found) == [(a, b, p, (a + b) % p) for a in range(p) for b in range(p)]
    assert data.published is None


def test_the_rest_of_the_sums_is_the_test():
    data = load_data("modular-addition-11", train=30, validation=10)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 81)
    assert len({x for part in (data.train, data.validation, data.test) for x in rows(part)}) == 121
    assert len(load_data("modular-addition-11", train=121).test) == 0


def test_one_seed_takes_the_same_and_another_others():
    one, same, other = (load_data("modular-addition-13", seed=s) for s in (5, 5, 6))
    assert rows(one.train) == rows(same.train)
    assert rows(one.test) == rows(same.test)
    assert set(rows(one.train)) != set(rows(other.train))
    assert one.checksum == other.checksum != load_data("modular-addition-17").checksum


def test_more_training_examples_are_the_fewer_and_more_and_leave_the_others():
    few, many = (load_data("modular-addition-13", train=t, validation=20, test=30) for t in (40, 119))
    assert rows(many.train)[:40] == rows(few.train)
    assert rows(many.validation) == rows(few.validation)
    assert rows(many.test) == rows(few.test)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("modular-addition-5", {"train": 26}, r"modular-addition-5 has 25 examples; 26 \(train\) asked for"),
        ("modular-addition-5", {"train": 20, "validation": 3, "test": 3}, r"20 \(train\) \+ 3 \(validation\) \+ 3"),
        ("modular-addition-5", {"validation": 25}, "has 25 examples; "),
        ("modular-addition-5", {"train": 0}, "train is 0; it must be a whole number of at least 1"),
        ("modular-addition-5", {"validation": -1}, "validation is -1; it must be a whole number of at least 0"),
        ("modular-addition-5", {"test": 2.5}, "test is 2.5; it must be a whole number"),
        ("modular-addition-5", {"train": True}, "train is True; it must be a whole number"),
        ("modular-addition-5", {"seed": -1}, "seed is -1; it must be a whole number of at least 0"),
        ("modular-addition-5", {"halved": True}, "halved is for images; modular-addition-5 has none"),
        ("modular-addition-5", {"folder": "x"}, "folder is 'x'; the data 'modular-addition-5' are in no folder"),
        ("modular-addition-1", {}, "'modular-addition-1' are not known; .* modular-addition-P, P from 2 to 1000"),
        ("modular-addition-1001", {}, "are not known"),
        ("modular-addition-", {}, "are not known"),
        ("imagenet", {}, "'imagenet' are not known; there are fashion-mnist, mnist, cifar10, digits and modular"),
        ("mnist", {}, r"'mnist' need a folder: the root that torchvision.datasets.MNIST\(root, download=True\) fills"),
        ("cifar10", {}, r"'cifar10' need a folder: the root that torchvision.datasets.CIFAR10\("),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(name, sizes, message):
    with pytest.raises(RequestError, match=message) as refusal:
        load_data(name, **sizes)
    assert "\n" not in str(refusal.value)


def test_too_many_digits_are_refused():
    pytest.importorskip("sklearn")
    with pytest.raises(RequestError, match=r"digits has 1797 examples; 1500 \(train\) \+ 597 \(test\) asked for"):
        load_data("digits", train=1500)
    with pytest.raises(RequestError, match=r"digits has 1797 examples; 1 \(train\) \+ 1300 \(validation\) \+ 597"):
        load_data("digits", validation=1300)


def test_fashion_mnist_that_is_missing_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("heavytail.lab.data.catalogue.FASHION_MNIST", tmp_path / "none")
    with pytest.raises(SourceError, match="none: is not there; apt install dataset-fashion-mnist, or give an IDX"):
        load_data("fashion-mnist")


@DEBIAN
def test_fashion_mnist_is_what_was_published():
    content = b""
    for name, expected in PACKED.items():
        packed = (FASHION_MNIST / f"{name}.gz").read_bytes()
        assert sha256(packed).hexdigest() == expected
        content += gzip.decompress(packed)
    data = load_data("fashion-mnist", train=2000, validation=500, test=1000, seed=4)
    assert data.checksum == sha256(content).hexdigest()
    assert data.published
    assert (len(data.train), len(data.validation), len(data.test)) == (2000, 500, 1000)
    assert (data.classes, data.shape, data.train.inputs.dtype) == (10, (1, 28, 28), np.float32)
    for part in (data.train, data.validation, data.test):
        # a tenth of each class, within five standard deviations
        counts = np.bincount(part.labels, minlength=10)
        assert counts == pytest.approx(np.full(10, len(part) / 10), abs=5 * sqrt(len(part) * 0.09))
        assert part.inputs.mean(axis=(1, 2, 3), dtype=float) == pytest.approx(np.zeros(len(part)), abs=1e-6)
        assert part.inputs.std(axis=(1, 2, 3), dtype=float) == pytest.approx(np.ones(len(part)), abs=1e-6)


def ranks(image):
    """Which pixel is darker than which: what no standardisation alters."""
    return np.unique(image, return_inverse=True)[1].astype(np.uint8).tobytes()


@DEBIAN
def test_every_image_of_fashion_mnist_keeps_its_label():
    raw = gzip.decompress((FASHION_MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((FASHION_MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    images = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 28, 28)
    data = load_data("fashion-mnist", train=1, seed=8)
    found = sorted((ranks(x), y) for x, y in zip(data.test.inputs, data.test.labels, strict=True))
    assert found == sorted((ranks(x), y) for x, y in zip(images, labels, strict=True))


def test_examples_are_taken_by_number_or_by_index():
    some = Examples(np.arange(12).reshape(4, 3), np.array([3, 2, 1, 0]))
    assert len(some) == 4
    assert some.take(2).inputs.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert some.take([3, 0, 0]).inputs.tolist() == [[9, 10, 11], [0, 1, 2], [0, 1, 2]]
    assert some.take(np.array([3, 0])).labels.tolist() == [0, 3]
    assert len(some.take(0)) == len(some.take([])) == 0
    assert some.take(np.int64(4)).labels.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (5, "which is 5; there are 4 examples"),
        (-1, "which is -1; it must be a whole number of at least 0"),
        (1.5, "which is 1.5; it must be a whole number"),
        ([0, 4], "which goes from 0 to 4; there are 4 examples, from 0"),
        ([-1], "which goes from -1 to -1"),
        ([True, False, True, False], "which is bool of shape"),
        ([[0, 1]], r"which is int64 of shape \(1, 2\)"),
    ],
)
def test_examples_that_are_not_there_are_refused(which, message):
    with pytest.raises(RequestError, match=message):
        Examples(np.zeros((4, 3)), np.zeros(4, dtype=np.int64)).take(which)


def test_inputs_without_labels_are_refused():
    with pytest.raises(RequestError, match=r"labels have shape \(3,\); \(4,\) fits the inputs"):
        Examples(np.zeros((4, 3)), np.zeros(3, dtype=np.int64))
