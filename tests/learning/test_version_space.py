import numpy as np
import pytest

from heavytail.learning._gauss import overlap_error
from heavytail.learning._version_space import hit_and_run
from heavytail.learning.sampling import sample_version_space


def sphere(points=900):
    """Points spread evenly over the sphere of squared radius 3, shape (points^2, 3)."""
    z = (np.arange(points) + 0.5) / points * 2 - 1
    angle = (np.arange(points) + 0.5) / points * 2 * np.pi
    ring = np.sqrt(1 - z**2)[:, None]
    return np.sqrt(3) * np.stack(
        [ring * np.cos(angle), ring * np.sin(angle), np.broadcast_to(z[:, None], (points, points))], axis=-1
    ).reshape(-1, 3)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_walk_is_uniform_on_the_version_space_of_three_weights(count):
    rng = np.random.default_rng(count)
    inputs = rng.standard_normal((3, count))
    patterns = inputs * np.sign(inputs.sum(axis=0))
    grid = sphere()
    inside = grid[(grid @ patterns > 0).all(axis=1)]
    walks = [hit_and_run(np.ones((2, 3)), patterns, 2000, rng) for _ in range(20)]
    overlap = np.array([walk.overlap.mean() for walk in walks])
    error = np.array([overlap_error(walk.overlap).mean() for walk in walks])
    centre = np.array([walk.centre for walk in walks])
    mutual = np.array([walk.mutual.mean() for walk in walks])

    def agrees(sample, exact):
        error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
        assert (error < 0.02).all()
        assert (np.abs(sample.mean(axis=0) - exact) < 4 * error + 1e-3).all()

    agrees(overlap, inside.mean())
    agrees(error, overlap_error(inside.mean(axis=1)).mean())
    agrees(centre, inside.mean(axis=0))
    agrees(mutual, np.mean(inside.mean(axis=0) ** 2))


def test_students_stay_on_the_sphere_and_make_no_errors():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 200))
    patterns, students = inputs * np.sign(inputs.sum(axis=0)), np.ones((2, 50))
    walk = hit_and_run(students, patterns, 200, rng)
    assert np.sum(students**2, axis=1) == pytest.approx([50, 50], rel=1e-12)
    assert (students @ patterns > 0).all()
    assert (walk.energy == 0).all()
    assert walk.overlap[-1] == pytest.approx(students.mean(axis=1))
    assert walk.mutual[-1] == pytest.approx(students[0] @ students[1] / 50)


@pytest.mark.parametrize(("load", "gibbs"), [(1, 0.338359), (2, 0.240312), (4, 0.1434)])
def test_errors_are_those_of_theory(load, gibbs):
    found = sample_version_space(50, load, runs=60)
    assert found.mean("error") == pytest.approx(gibbs, abs=0.01)
    bayes = overlap_error(np.sqrt(np.cos(np.pi * gibbs)))  # of the centre of mass, of overlap sqrt(R)
    assert found.mean("vote_error") == pytest.approx(bayes, abs=0.01)


@pytest.mark.parametrize("load", [0.5, 1, 3])
def test_students_are_to_each_other_as_to_the_teacher(load):
    # exact at any size: the teacher is distributed as a student is
    found = sample_version_space(20, load, runs=200)
    gap = found.samples["overlap"] - found.samples["self_overlap"]
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))


def test_without_examples_students_know_nothing():
    rng = np.random.default_rng(0)
    walks = [hit_and_run(rng.standard_normal((2, 30)), np.zeros((30, 0)), 200, rng) for _ in range(20)]
    assert np.mean([overlap_error(walk.overlap) for walk in walks]) == pytest.approx(0.5, abs=0.005)
    assert np.mean([walk.mutual for walk in walks]) == pytest.approx(0, abs=0.02)


def test_same_seed_gives_the_same_numbers_on_any_number_of_threads():
    one = sample_version_space(20, 1.5, sweeps=40, runs=6, seed=5, jobs=1)
    three = sample_version_space(20, 1.5, sweeps=40, runs=6, seed=5, jobs=3)
    other = sample_version_space(20, 1.5, sweeps=40, runs=6, seed=6)
    for quantity in one.samples:
        assert one.samples[quantity].tobytes() == three.samples[quantity].tobytes()
    assert (one.samples["error"] != other.samples["error"]).all()
