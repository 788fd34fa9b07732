from itertools import product
from math import acos, asin, comb, log, pi

import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.learning._enumeration import StudentCounts, count_students
from heavytail.learning.sampling import enumerate_students, expected_students, expected_version_space


def every_student(n):
    return np.array(list(product([-1.0, 1.0], repeat=n)))


@pytest.mark.parametrize(("n", "count"), [(1, 3), (2, 1), (5, 0), (6, 9), (9, 13)])
def test_students_are_counted_as_one_by_one(n, count):
    patterns = np.random.default_rng(n).standard_normal((n, count))
    expected = np.zeros((n + 1, count + 1), dtype=int)
    for student in every_student(n):
        expected[np.sum(student < 0), np.sum(student @ patterns < 0)] += 1
    assert (count_students(patterns) == expected).all()


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 7.0, np.inf])
def test_gibbs_averages_are_those_of_a_sum_over_all_students(temperature):
    # so many patterns of arbitrary labels that even the best student has errors
    n, count = 8, 25
    patterns = np.random.default_rng(3).standard_normal((n, count))
    found = StudentCounts(n, count, count_students(patterns)[None]).gibbs(temperature)
    students = every_student(n)
    energy = np.sum(students @ patterns < 0, axis=1)
    assert energy.min() > 0
    if temperature == 0:
        chance = (energy == energy.min()) / np.sum(energy == energy.min())
    else:
        chance = np.exp(-energy / temperature) / np.sum(np.exp(-energy / temperature))
    overlap = students.mean(axis=1)
    entropy = -sum(p * log(p) for p in chance if p > 0) / n
    assert found.mean("overlap") == pytest.approx(chance @ overlap, abs=1e-12)
    assert found.mean("error") == pytest.approx(chance @ np.arccos(overlap) / pi, abs=1e-12)
    assert found.mean("training_error") == pytest.approx(chance @ energy / count, abs=1e-12)
    assert found.mean("entropy") == pytest.approx(entropy, abs=1e-12)
    if np.isfinite(temperature):
        free_energy = chance @ energy / n - temperature * entropy
        assert found.mean("free_energy") == pytest.approx(free_energy, abs=1e-12)


def test_entropy_is_minus_the_slope_of_the_free_energy():
    students, h = enumerate_students(11, 20, label_noise=0.2, runs=3), 1e-4
    for temperature in (0.3, 0.8, 2.0):
        slope = (
            students.gibbs(temperature + h).samples["free_energy"]
            - students.gibbs(temperature - h).samples["free_energy"]
        )
        assert -slope / (2 * h) == pytest.approx(students.gibbs(temperature).samples["entropy"], abs=1e-7)


@pytest.mark.parametrize(("n", "patterns", "label_noise"), [(13, 10, 0.0), (9, 12, 0.1), (11, 16, 0.25)])
def test_counts_agree_with_the_exact_average_over_all_data(n, patterns, label_noise):
    counts = enumerate_students(n, patterns, label_noise=label_noise, runs=2000).counts
    expected = expected_students(n, patterns, label_noise=label_noise)
    assert expected.sum() == pytest.approx(2**n, rel=1e-12)
    mean, spread = counts.mean(axis=0), counts.std(axis=0, ddof=1)
    often, certain = expected * len(counts) > 50, spread == 0
    assert mean[often & certain] == pytest.approx(expected[often & certain], rel=1e-12)
    z = (mean - expected)[often & ~certain] / (spread[often & ~certain] / np.sqrt(len(counts)))
    assert len(z) > 80
    assert np.abs(z).max() < 4
    assert 0.7 < z.std() < 1.3


def _bin(n, patterns, k):
    return comb(n, k) * (1 - acos(1 - 2 * k / n) / pi) ** patterns


def test_expected_version_space_has_the_published_bins():
    expected = expected_version_space(13, 10)
    assert expected[0] == pytest.approx(1)  # the teacher
    assert expected[-1] == pytest.approx(0)
    assert expected[[4, 5]] == pytest.approx([6.57, 5.01], abs=0.005)
    assert expected == pytest.approx([_bin(13, 10, k) for k in range(14)], rel=1e-12)


def test_partition_function_averages_to_its_closed_form():
    # E Z over students k flips away: each pattern gives 1 - (1 - e^-b) p_k, independently of the others
    n, patterns, noise, beta = 12, 30, 0.15, 0.7
    expected = expected_students(n, patterns, label_noise=noise) @ np.exp(-beta * np.arange(patterns + 1))
    for k in range(n + 1):
        wrong = noise + (1 - 2 * noise) * np.arccos(1 - 2 * k / n) / pi
        assert expected[k] == pytest.approx(_bin(n, 0, k) * (1 - (1 - np.exp(-beta)) * wrong) ** patterns, rel=1e-11)


def expected_pairs(n, patterns):
    """Expected ordered pairs of two solutions other than the teacher, by their distances from it and each other."""

    def agree(*distances):  # three vectors have the same sign on a Gaussian input
        return 1 / 4 + sum(asin(1 - 2 * d / n) for d in distances) / (2 * pi)

    return sum(
        comb(n, k) * comb(k, both) * comb(n - k, m - both) * agree(k, m, k + m - 2 * both) ** patterns
        for k, m in product(range(1, n + 1), repeat=2)
        for both in range(max(0, k + m - n), min(k, m) + 1)
        if k + m > 2 * both
    )


def test_solutions_and_their_pairs_are_as_many_as_expected_and_the_teacher_is_alone_as_often():
    n, patterns, runs = 9, 18, 2000
    others = enumerate_students(n, patterns, runs=runs).counts[:, :, 0].sum(axis=1) - 1
    single, pairs = expected_version_space(n, patterns).sum() - 1, expected_pairs(n, patterns)
    for seen, expected in ((others, single), (others * (others - 1), pairs)):
        assert abs(seen.mean() - expected) < 4 * seen.std() / np.sqrt(runs) < 0.8 * expected
    # Bonferroni: the chance that there is no other lies between 1 - E n and 1 - E n + E n (n - 1) / 2
    alone, error = np.mean(others == 0), np.sqrt(0.15 * 0.85 / runs)
    assert 1 - single - 4 * error < alone < 1 - single + pairs / 2 + 4 * error
    assert pairs / 2 < 0.05


def test_the_teacher_is_the_only_solution_as_often_as_published():
    # 0.92 to 1 at 19 weights and 38 patterns, from 12 draws: 11 or 12 of them
    least = 2 - expected_version_space(19, 38).sum()
    most = least + expected_pairs(19, 38) / 2
    assert 0.917 < least < most < 0.946


def test_size_and_counts_are_checked():
    for bad, message in [
        ({"n": 25}, "n is 25; it must be at least 1 and at most 24"),
        ({"n": 4.5}, "n is 4.5; it must be a whole number"),
        ({"patterns": -1}, "patterns is -1; it must be at least 0"),
        ({"patterns": np.inf}, "patterns is inf; it must be a whole number"),
        ({"label_noise": 0.6}, "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        ({"runs": 0}, "runs is 0; it must be at least 1"),
    ]:
        with pytest.raises(RequestError) as raised:
            enumerate_students(**{"n": 5, "patterns": 5} | bad)
        assert str(raised.value) == message
    with pytest.raises(RequestError, match="temperature is -1; it must be at least 0"):
        enumerate_students(5, 5).gibbs(-1)
