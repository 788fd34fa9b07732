from math import pi, sqrt

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._storage import widest
from heavytail.learning._teacher import draw_examples
from heavytail.learning.rules import Hebb, PseudoInverse
from heavytail.learning.stability import MaximumStability

LOADS = np.array([0.5, 1.0, 2.0, 5.0, 10.0])


def test_errors_and_margins_are_the_reference_values():
    state = MaximumStability().solve(LOADS)
    assert state.error == pytest.approx([0.328850, 0.265712, 0.188479, 0.093827, 0.049183], abs=1e-6)
    assert state.margin == pytest.approx([1.25638, 0.786550, 0.454578, 0.196710, 0.099889], abs=6e-6)


@pytest.mark.parametrize(
    ("lam", "load"), [(0.0, 1e-3), (0.0, 0.3), (0.0, 30.0), (0.0, 1e4), (0.01, 5.0), (0.2, 2.0), (0.5, 1.0)]
)
def test_margin_and_overlap_satisfy_the_two_equations(lam, load):
    state = MaximumStability(lam).solve(load)
    with mpmath.workdps(30):
        d = mpmath.sin(mpmath.pi * mpmath.mpf(float(state.error)))
        r, kappa = mpmath.sqrt(1 - d**2), mpmath.mpf(float(state.margin))
        points = [-12, -12 * d, -3 * d, 0, kappa] if kappa > 3 * d else [-12, -12 * d, -3 * d, kappa]
        points = sorted({p for p in (mpmath.mpf(p) for p in points) if p <= kappa})

        def law(t):
            return lam + (1 - 2 * lam) * mpmath.ncdf(r * t / d)

        square = mpmath.quad(lambda t: mpmath.npdf(t) * (kappa - t) ** 2 * law(t), points)
        slope = mpmath.quad(lambda t: (kappa - t) * mpmath.exp(-((t / d) ** 2) / 2), points)
        assert float(2 * load * square / d**2) == pytest.approx(1, abs=1e-10)
        # what error and margin in doubles let one say
        assert float(load / pi * (1 - 2 * lam) * slope / d - r) == pytest.approx(0, abs=1e-12)


def test_a_curve_from_few_examples_to_many_has_residuals_of_rounding():
    state = MaximumStability().solve(np.geomspace(1e-3, 1e4, 200))
    assert np.max(state.residual) < 1e-13
    assert np.all(np.diff(state.error) < 0)
    assert np.all(np.diff(state.margin) < 0)


def test_the_error_times_the_load_ends_at_its_limit():
    # R = 1 leaves one equation for x = kappa / sqrt(1 - R^2)
    def first(x):
        return x * norm.cdf(x) + norm.pdf(x)

    x = brentq(lambda x: quad(lambda s: (x - s) ** 2 * norm.cdf(s), -40, x, epsabs=1e-14)[0] - first(x), 0, 3)
    limit = 1 / (sqrt(2 * pi) * first(x))
    assert limit == pytest.approx(0.50049, abs=5e-6)
    assert 1e6 * MaximumStability().solve(1e6).error == pytest.approx(limit, rel=1e-9)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.4])
def test_few_examples_have_the_margin_of_orthogonal_ones(lam):
    a = 1e-6
    state = MaximumStability(lam).solve(a)
    assert state.margin * sqrt(a) == pytest.approx(1, rel=1e-5)
    assert state.overlap == pytest.approx(Hebb(lam).solve(a).overlap, rel=1e-5)
    assert state.overlap == pytest.approx(PseudoInverse(lam).solve(a).overlap, rel=1e-5)


@pytest.mark.parametrize(
    ("lam", "load"),
    [(0.5, 2), (0.4, 2.0333), (0.3, 2.1457), (0.2, 2.3913), (0.1, 2.9923), (0.05, 3.8097), (0.01, 6.7103)],
)
def test_labels_with_noise_are_separable_up_to_the_reference_loads(lam, load):
    model = MaximumStability(lam)
    assert model.separable_load == pytest.approx(load, abs=6e-5)
    at = model.solve(model.separable_load)
    assert at.margin == pytest.approx(0, abs=1e-12)
    # the two equations at margin 0
    d = sqrt(1 - at.overlap**2)
    assert at.overlap == pytest.approx(at.load / pi * (1 - 2 * lam) * d, abs=1e-12)


@pytest.mark.parametrize(("lam", "error"), [(0.2, 0.3636), (0.1, 0.2927)])
def test_the_error_where_labels_cease_to_be_separable_is_the_reference_value(lam, error):
    model = MaximumStability(lam)
    assert model.solve(model.separable_load).error == pytest.approx(error, abs=6e-5)


def test_without_a_teacher_the_margin_is_that_of_gardner():
    for load in (0.1, 0.519572, 0.961205, 1.9):
        kappa = MaximumStability(0.5).solve(load).margin
        capacity = 1 / quad(lambda t, k=kappa: norm.pdf(t) * (t + k) ** 2, -kappa, np.inf)[0]
        assert capacity == pytest.approx(load, rel=1e-9)
    assert MaximumStability(0.5).solve([0.961205, 0.519572]).margin == pytest.approx([0.5, 1], abs=1e-5)


def test_no_noise_is_the_limit_of_little_noise():
    few, none = MaximumStability(1e-9).solve(LOADS), MaximumStability().solve(LOADS)
    assert few.error == pytest.approx(none.error, rel=1e-5)
    assert MaximumStability().separable_load == np.inf


def test_loads_that_cannot_be_separated_are_refused():
    message = "maximum stability: load is 3.5, label_noise 0.1; the labels are separable up to load 2.99229 only"
    with pytest.raises(ConvergenceError, match=f"^{message}$"):
        MaximumStability(0.1).solve([1.0, 3.5])
    with pytest.raises(RequestError, match=r"^load is 0; it must be above 0 and finite$"):
        MaximumStability().solve(0.0)


def test_the_widest_student_is_that_of_a_general_minimiser():
    examples = draw_examples(6, 3.0, 0.0, 1, np.random.default_rng(1))
    rows = examples.inputs[0] * examples.labels[0][:, None]
    constraint = {"type": "ineq", "fun": lambda w: rows @ w - 1, "jac": lambda w: rows}
    start = 10 * examples.teachers[0]
    other = minimize(lambda w: w @ w, start, jac=lambda w: 2 * w, constraints=constraint, tol=1e-14)
    assert widest(rows) == pytest.approx(other.x, rel=1e-6)
    assert np.min(rows @ widest(rows)) == pytest.approx(1, abs=1e-9)


def test_runs_whose_labels_are_not_separable_have_no_student():
    runs = MaximumStability(0.3).simulate(20, 5.0, runs=3)
    assert all(np.isnan(values).all() for values in runs.samples.values())


@pytest.mark.parametrize(("lam", "load"), [(0.0, 0.5), (0.0, 2.0), (0.0, 5.0), (0.1, 1.5)])
def test_simulations_agree_with_theory(lam, load):
    model = MaximumStability(lam)
    state, runs = model.solve(load), model.simulate(100, load, seed=1, runs=20)
    for quantity in ("overlap", "error", "margin"):
        assert abs(runs.mean(quantity) - getattr(state, quantity)) < 3 * runs.standard_error(quantity)
    assert np.all(runs.samples["training_error"] == 0)


def test_curves_carry_the_name_of_the_legend():
    curve = MaximumStability().learning_curve(LOADS)
    assert curve.name == "maximum stability"
    assert np.array_equal(curve.error, MaximumStability().solve(LOADS).error)
    assert curve.residual < 1e-13


def test_curves_say_where_labels_are_not_separable():
    curve = MaximumStability(0.1).learning_curve([1.0, 2.9, 3.1, 10.0])
    assert list(curve.phase) == ["smooth", "smooth", "none", "none"]
    assert np.array_equal(curve.error[:2], MaximumStability(0.1).solve([1.0, 2.9]).error)
    assert np.isnan(curve.error[2:]).all()
    assert np.isnan(curve.overlap[2:]).all()


def test_loads_keep_their_shape():
    assert np.ndim(MaximumStability().solve(1.0).margin) == 0
    assert MaximumStability(0.1).solve(np.ones((2, 3))).margin.shape == (2, 3)
