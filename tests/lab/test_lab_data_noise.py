from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from heavytail.errors import RequestError
from heavytail.lab.data import PIXELS, Examples, randomise_labels, randomise_pixels

FRACTIONS = [0.0, 0.1, 0.2, 0.4, 0.75, 1.0]


def labelled(n, classes, seed=0):
    labels = np.random.default_rng(seed).integers(classes, size=n)
    return Examples(np.zeros((n, 1, 2, 2), dtype=np.float32), labels)


def images(n, channels=1, height=5, width=6, seed=0):
    inputs = np.random.default_rng(seed).normal(0.3, 2.0, size=(n, channels, height, width)).astype(np.float32)
    return Examples(inputs, np.arange(n) % 10)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_exactly_the_fraction_is_drawn_anew(fraction, n):
    # labels outside the classes, so that every one that is drawn shows
    clean = Examples(np.zeros((n, 3), dtype=np.int64), np.full(n, 99))
    labels = randomise_labels(clean, fraction, 10, seed=3).labels
    assert np.sum(labels != 99) == round(fraction * n)
    assert labels.dtype == np.int64
    assert (clean.labels == 99).all()


@pytest.mark.parametrize(("fraction", "classes"), [(1.0, 10), (0.5, 10), (0.3, 2), (1.0, 97)])
def test_a_label_is_wrong_with_the_fraction_less_a_share_for_chance(fraction, classes):
    clean = labelled(40_000, classes)
    wrong = np.mean(randomise_labels(clean, fraction, classes, seed=1).labels != clean.labels)
    # of the labels drawn, each is wrong with probability 1 - 1/classes
    drawn, p = fraction * len(clean), 1 - 1 / classes
    assert wrong == pytest.approx(fraction * p, abs=4 * sqrt(drawn * p * (1 - p)) / len(clean))


def test_new_labels_are_of_all_classes_alike():
    labels = randomise_labels(Examples(np.zeros((50_000, 1)), np.zeros(50_000, dtype=np.int64)), 1.0, 10, seed=5).labels
    assert chisquare(np.bincount(labels, minlength=10)).pvalue > 1e-4
    assert labels.max() == 9


@pytest.mark.parametrize(("low", "high"), list(pairwise(FRACTIONS)))
def test_what_is_drawn_at_a_fraction_is_the_same_at_a_larger_one(low, high):
    clean = Examples(np.zeros((500, 1)), np.full(500, -1))
    few, many = (randomise_labels(clean, f, 10, seed=2).labels for f in (low, high))
    drawn = few != -1
    assert np.array_equal(few[drawn], many[drawn])
    assert np.sum(many != -1) > np.sum(drawn)


def test_labels_are_drawn_anywhere_and_by_the_seed():
    clean = Examples(np.zeros((4000, 1)), np.full(4000, -1))
    one, same, other = (randomise_labels(clean, 0.5, 10, seed=s).labels for s in (1, 1, 2))
    assert np.array_equal(one, same)
    # two independent halves agree in where they are on half of the examples, and among those in a tenth of the labels
    both = (one != -1) & (other != -1)
    assert np.mean(both) == pytest.approx(0.25, abs=4 * sqrt(0.25 * 0.75 / 4000))
    assert np.mean(one[both] == other[both]) == pytest.approx(0.1, abs=4 * sqrt(0.09 / both.sum()))
    assert kstest(np.flatnonzero(one != -1) / 4000, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(RequestError, match=f"fraction is {fraction}; it must be from 0 to 1"):
        randomise_labels(labelled(4, 2), fraction, 2, seed=0)


def test_other_arguments_out_of_range_are_refused():
    with pytest.raises(RequestError, match="classes is 0; it must be a whole number of at least 1"):
        randomise_labels(labelled(4, 2), 0.5, 0, seed=0)
    with pytest.raises(RequestError, match="seed is -1"):
        randomise_labels(labelled(4, 2), 0.5, 2, seed=-1)
    with pytest.raises(RequestError, match="pixels are 'noise'; they must be one of true, shuffled, random, gaussian"):
        randomise_pixels(images(3), "noise", 0)
    with pytest.raises(RequestError, match=r"the inputs have shape \(4, 3\); only images have pixels"):
        randomise_pixels(Examples(np.zeros((4, 3)), np.zeros(4, dtype=np.int64)), "random", 0)


def test_true_pixels_are_the_images():
    some = images(4)
    assert randomise_pixels(some, "true", 1) is some


def orders(clean, mixed):
    """Where each place of each image took its pixel from; the values of an image all differ."""
    n, channels = clean.inputs.shape[:2]
    found = []
    for before, after in zip(clean.inputs.reshape(n, channels, -1), mixed.inputs.reshape(n, channels, -1), strict=True):
        per_channel = [
            [int(np.flatnonzero(b == value).item()) for value in a] for b, a in zip(before, after, strict=True)
        ]
        assert all(o == per_channel[0] for o in per_channel)
        assert sorted(per_channel[0]) == list(range(before.shape[1]))
        found.append(tuple(per_channel[0]))
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_shuffled_pixels_have_one_order_in_training_and_test(channels):
    train, test = images(40, channels), images(15, channels, seed=1)
    found = {
        *orders(train, randomise_pixels(train, "shuffled", 4)),
        *orders(test, randomise_pixels(test, "shuffled", 4)),
    }
    assert len(found) == 1
    assert found != {tuple(range(30))}
    assert found != set(orders(train, randomise_pixels(train, "shuffled", 5)))


@pytest.mark.parametrize("channels", [1, 3])
def test_random_pixels_have_an_order_of_their_own_in_each_image(channels):
    train, test = images(40, channels), images(15, channels, seed=1)
    found = orders(train, randomise_pixels(train, "random", 4)) + orders(test, randomise_pixels(test, "random", 4))
    assert len(set(found)) == 55


def test_gaussian_pixels_have_the_mean_and_variance_of_the_images_and_nothing_else():
    clean = Examples(np.exp(images(600, 3).inputs / 4), np.arange(600) % 10)
    noise = randomise_pixels(clean, "gaussian", 0).inputs
    mean, sd = clean.inputs.mean(dtype=float), clean.inputs.std(dtype=float)
    assert kstest(noise.ravel(), "norm", args=(mean, sd)).pvalue > 1e-4
    assert abs(np.corrcoef(noise.ravel(), clean.inputs.ravel())[0, 1]) < 4 / sqrt(noise.size)


@pytest.mark.parametrize("how", PIXELS)
def test_pixels_keep_their_type_shape_and_labels_and_follow_the_seed(how):
    clean = images(20, 3)
    before = clean.inputs.copy()
    one, same, other = (randomise_pixels(clean, how, s) for s in (1, 1, 2))
    assert np.array_equal(clean.inputs, before)
    assert one.inputs.dtype == np.float32
    assert one.inputs.shape == before.shape
    assert np.array_equal(one.labels, clean.labels)
    assert np.array_equal(one.inputs, same.inputs)
    assert np.array_equal(one.inputs, other.inputs) == (how == "true")
    assert len(randomise_pixels(clean.take(0), how, 1)) == 0


def test_noise_of_the_test_is_not_that_of_the_training():
    train, test = (randomise_pixels(images(20, seed=s), "gaussian", 7) for s in (0, 1))
    assert abs(np.corrcoef(train.inputs.ravel(), test.inputs.ravel())[0, 1]) < 4 / sqrt(600)
