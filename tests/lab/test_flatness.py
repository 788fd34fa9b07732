import copy
import itertools
from math import exp, isnan, log1p, nan

import numpy as np
import pytest
from scipy.special import logsumexp

from heavytail.errors import RequestError

torch = pytest.importorskip("torch")
nn = torch.nn

from heavytail.lab.flatness import Landscape, interpolate, sharpness  # noqa: E402
from heavytail.lab.losses import loss_of  # noqa: E402
from heavytail.lab.networks import build  # noqa: E402


def drawn(module, seed=0):
    """Give every parameter and statistic of a network a value of its own, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        for part in module.modules():
            if getattr(part, "running_var", None) is not None:
                part.running_var.abs_().add_(0.1)
    return module


def examples(n=40, width=2, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)), rng.integers(0, classes, n)


def cross_entropy(matrix, inputs, labels):
    """Cross-entropy of a linear classifier, with numpy."""
    logits = inputs @ matrix.T
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))


def at_corners(matrix, half, inputs, labels):
    """Give the loss at every corner of a box around a linear classifier: the loss is convex, its maximum is there."""
    signs = itertools.product((-1, 1), repeat=matrix.size)
    return [cross_entropy(matrix + np.reshape(s, matrix.shape) * half, inputs, labels) for s in signs]


def small_network():
    return drawn(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("eps", [1e-3, 0.05])
def test_the_highest_loss_of_a_convex_problem_is_that_of_the_best_corner(seed, eps):
    network = drawn(nn.Linear(2, 3, bias=False), seed)
    matrix, (inputs, labels) = network.weight.detach().numpy(), examples(seed=seed)
    corners = at_corners(matrix, eps * (np.abs(matrix) + 1), inputs, labels)
    found = sharpness(network, inputs, labels, eps)
    loss = cross_entropy(matrix, inputs, labels)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.highest == pytest.approx(max(corners), rel=1e-12)
    assert found.value == pytest.approx(100 * (max(corners) - loss) / (1 + loss), rel=1e-9)
    assert (found.eps, found.dimension) == (eps, 6)


@pytest.mark.parametrize("seed", range(8))
def test_it_never_leaves_the_box_however_wide(seed):
    network = drawn(nn.Linear(2, 3, bias=False), seed)
    matrix, (inputs, labels) = network.weight.detach().numpy(), examples(seed=seed)
    corners = at_corners(matrix, 2.0 * (np.abs(matrix) + 1), inputs, labels)
    found = sharpness(network, inputs, labels, 2.0, iterations=50)
    assert found.loss < found.highest <= max(corners) * (1 + 1e-12)
    assert found.highest == pytest.approx(min(corners, key=lambda loss: abs(loss - found.highest)), rel=1e-12)


def test_it_grows_with_the_box_as_the_formula_says_where_every_weight_works_alone():
    network = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0], [-3.0, 0.5]]))
    inputs, labels = np.array([[1.0, 2.0]]), np.array([0])
    # The loss is log(1 + e^-m) of the margin m = w_0 x - w_1 x = 7, of which the box takes 2 + 2 * 3 + 4 + 2 * 1.5.
    values = []
    for eps in (1e-3, 1e-2, 0.1, 1.0):
        here, highest = log1p(exp(-7)), log1p(exp(-7 + 15 * eps))
        values.append(100 * (highest - here) / (1 + here))
        assert sharpness(network, inputs, labels, eps).value == pytest.approx(values[-1], rel=1e-10)
    assert values == sorted(values)


def test_a_loss_whose_slope_is_minute_is_climbed_to_the_top_of_the_box():
    network = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[7.0], [-7.0]]))
    here, highest = log1p(exp(-14)), log1p(exp(-14 + 2 * 0.01 * 8))
    found = sharpness(network, np.ones((1, 1)), np.array([0]), 0.01)
    assert found.value == pytest.approx(100 * (highest - here) / (1 + here), rel=1e-8, abs=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_line_of_a_subspace_of_one_dimension_has_its_highest_loss_at_an_end(seed):
    network = drawn(nn.Linear(2, 3, bias=False), seed)
    matrix, (inputs, labels) = network.weight.detach().numpy(), examples(seed=seed)
    A = np.random.default_rng(seed).standard_normal((6, 1), dtype=np.float32).astype(float)
    half = 0.01 * (abs(np.linalg.pinv(A) @ matrix.ravel()) + 1)
    ends = [cross_entropy(matrix + sign * (A @ half).reshape(3, 2), inputs, labels) for sign in (-1, 1)]
    found = sharpness(network, inputs, labels, 0.01, dimension=1, seed=seed)
    assert found.highest == pytest.approx(max(ends), rel=1e-6)
    assert found.dimension == 1


@pytest.mark.parametrize("dimension", [3, 6])
def test_the_highest_loss_in_a_subspace_is_that_of_the_best_corner_of_its_box(dimension):
    network = drawn(nn.Linear(2, 3, bias=False))
    matrix, (inputs, labels) = network.weight.detach().numpy(), examples()
    A = np.random.default_rng(5).standard_normal((6, dimension), dtype=np.float32).astype(float)
    half = 1e-3 * (np.abs(np.linalg.pinv(A) @ matrix.ravel()) + 1)
    corners = [matrix + (A @ (half * signs)).reshape(3, 2) for signs in itertools.product((-1, 1), repeat=dimension)]
    highest = max(cross_entropy(corner, inputs, labels) for corner in corners)
    loss = cross_entropy(matrix, inputs, labels)
    found = sharpness(network, inputs, labels, dimension=dimension, seed=5)
    assert found.highest - found.loss == pytest.approx(highest - loss, rel=1e-5)


def test_the_same_seed_gives_the_same_number_and_another_another():
    network, data = small_network(), examples()
    first = sharpness(network, *data, dimension=4, seed=1)
    assert sharpness(network, *data, dimension=4, seed=1) == first
    assert sharpness(network, *data, dimension=4, seed=2).value != first.value


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
def test_no_point_of_the_box_that_chance_finds_is_higher(loss):
    network, (inputs, labels) = small_network(), examples()
    found = sharpness(network, inputs, labels, 0.01, loss=loss, iterations=30)
    box, rng, losses = copy.deepcopy(network).eval(), np.random.default_rng(0), []
    for _ in range(200):
        with torch.no_grad():
            for old, new in zip(network.parameters(), box.parameters(), strict=True):
                new.copy_(old + 0.01 * (old.abs() + 1) * torch.from_numpy(rng.choice((-1.0, 1.0), old.shape)))
            losses.append(float(loss_of(loss)(box(torch.from_numpy(inputs)), torch.from_numpy(labels))))
    assert found.loss < max(losses) < found.highest


def test_it_takes_no_more_steps_than_asked_for():
    network, data = small_network(), examples()
    one, ten = (sharpness(network, *data, 0.1, iterations=k) for k in (1, 10))
    assert one.iterations == 1
    assert 1 < ten.iterations <= 10
    assert one.highest < ten.highest


def test_gradients_are_those_of_differences_over_several_batches():
    network, (inputs, labels) = small_network().eval(), examples(n=1203)
    landscape = Landscape(network, torch.from_numpy(inputs), torch.from_numpy(labels), loss_of("cross-entropy"))
    x = landscape.here()
    value, gradient = landscape.value_and_gradient(x)
    with torch.no_grad():
        whole = loss_of("cross-entropy")(network(landscape.inputs), landscape.labels)
    assert value == pytest.approx(float(whole), rel=1e-12)
    steps = 1e-5 * np.eye(x.size)
    rises = [landscape.value_and_gradient(x + s)[0] - landscape.value_and_gradient(x - s)[0] for s in steps]
    np.testing.assert_allclose(gradient, np.array(rises) / 2e-5, rtol=1e-6, atol=1e-9)


def test_the_layout_of_the_weights_in_memory_is_kept_and_changes_nothing():
    one = build("lenet5", (1, 8, 8), 3).double()
    two = copy.deepcopy(one).to(memory_format=torch.channels_last)
    rng = np.random.default_rng(0)
    inputs, labels = torch.from_numpy(rng.standard_normal((9, 1, 8, 8))), torch.from_numpy(rng.integers(0, 3, 9))
    first, second = (Landscape(network, inputs, labels, loss_of("mse")) for network in (one, two))
    x = first.here()
    assert second.here().tolist() == x.tolist()
    assert {name: part.stride() for name, part in second.split(x).items()} == {
        name: weight.stride() for name, weight in two.named_parameters()
    }
    gradients = [landscape.value_and_gradient(x)[1] for landscape in (first, second)]
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-15)


def test_frozen_weights_stay_where_they_are():
    network, (inputs, labels) = drawn(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3, bias=False))), examples()
    for weight in network[0].parameters():
        weight.requires_grad_(False)
    with torch.no_grad():
        hidden = network[0](torch.from_numpy(inputs)).numpy()
    matrix = network[1].weight.detach().numpy()
    found = sharpness(network, inputs, labels)
    corners = at_corners(matrix, 1e-3 * (np.abs(matrix) + 1), hidden, labels)
    assert (found.dimension, found.highest) == (6, pytest.approx(max(corners), rel=1e-12))


def test_the_network_is_left_as_it_was():
    network, other, data = small_network(), small_network(), examples()
    network[1].eval()
    modes = [part.training for part in network.modules()]
    state = copy.deepcopy(network.state_dict())
    places = [weight.data_ptr() for weight in network.parameters()]
    drawn_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    sharpness(network, *data, dimension=3)
    interpolate(network, other, *data, [0.5])
    assert [part.training for part in network.modules()] == modes
    assert [weight.data_ptr() for weight in network.parameters()] == places
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert torch.get_rng_state().equal(drawn_before)
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002


@pytest.mark.parametrize("name", ["minialexnet", "resnet", "transformer"])
def test_the_networks_of_the_laboratory_are_climbed(name):
    shape = (3,) if name == "transformer" else (1, 8, 8)
    network = build(name, shape, 3)
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (20, 3)) if name == "transformer" else rng.standard_normal((20, *shape), np.float32)
    found = sharpness(network, inputs, rng.integers(0, 3, 20), dimension=5)
    assert found.highest > found.loss
    assert found.dimension == 5


def test_a_network_that_has_diverged_has_no_sharpness():
    network = drawn(nn.Linear(2, 3))
    with torch.no_grad():
        network.bias[0] = nan
    found = sharpness(network, *examples())
    assert isnan(found.value)
    assert isnan(found.loss)
    assert found.iterations == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": 0.0}, r"eps is 0.0; it must be positive"),
        ({"eps": nan}, r"eps is nan"),
        ({"dimension": 10}, r"dimension is 10; it must be from 1 to the 9 weights"),
        ({"dimension": 0}, r"dimension is 0"),
        ({"iterations": 0}, r"iterations is 0; it must be at least 1"),
        ({"loss": "hinge"}, r"no loss 'hinge'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        sharpness(nn.Linear(2, 3), *examples(), **arguments)


def test_a_network_without_trainable_weights_is_refused():
    with pytest.raises(RequestError, match="the Identity has no trainable weight"):
        sharpness(nn.Identity(), *examples())


def test_the_line_goes_through_both_networks_and_through_the_mean_of_their_weights():
    one, two = drawn(nn.Linear(2, 3, bias=False), 1), drawn(nn.Linear(2, 3, bias=False), 2)
    a, b = (network.weight.detach().numpy() for network in (one, two))
    (inputs, labels), alphas = examples(), np.linspace(-1, 2, 7)
    losses = [cross_entropy((1 - alpha) * a + alpha * b, inputs, labels) for alpha in alphas]
    right = [np.mean((inputs @ ((1 - alpha) * a + alpha * b).T).argmax(1) == labels) for alpha in alphas]
    line = interpolate(one, two, inputs, labels, alphas)
    assert line.shape == (7, 2)
    np.testing.assert_allclose(line, np.transpose([losses, right]), rtol=1e-12)


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
def test_statistics_of_batch_normalisation_lie_on_the_line_too(loss):
    one, two, between = (drawn(small_network(), seed) for seed in (1, 2, 3))
    states = one.state_dict(), two.state_dict()
    between.load_state_dict({k: 0.25 * v + 0.75 * states[1][k] for k, v in states[0].items()})
    inputs, labels = examples(n=1203)
    expected = []
    for network in (one, between, two):
        network.eval()
        with torch.no_grad():
            logits = network(torch.from_numpy(inputs))
        right = (logits.argmax(1).numpy() == labels).mean()
        expected.append([float(loss_of(loss)(logits, torch.from_numpy(labels))), right])
    np.testing.assert_allclose(interpolate(one, two, inputs, labels, [0, 0.75, 1], loss), expected, rtol=1e-12)


def test_where_a_variance_would_be_negative_there_is_no_loss_and_no_accuracy():
    one, two = drawn(small_network(), 1), drawn(small_network(), 2)
    with torch.no_grad():
        one[1].running_var.fill_(5.0)
        two[1].running_var.fill_(1.0)
    line = interpolate(one, two, *examples(), [-1, 0, 1, 2])
    assert np.isnan(line).tolist() == [[False, False]] * 3 + [[True, True]]


def test_networks_of_two_kinds_have_no_line_between_them():
    with pytest.raises(RequestError, match=r"differ in the shapes of bias, weight; expected one architecture"):
        interpolate(nn.Linear(2, 3), nn.Linear(2, 4), *examples(), [0.5])
    with pytest.raises(RequestError, match="differ in the shapes of bias;"):
        interpolate(nn.Linear(2, 3), nn.Linear(2, 3, bias=False), *examples(), [0.5])
