import copy

import numpy as np
import pytest

from heavytail.errors import ConvergenceError, RequestError

torch = pytest.importorskip("torch")
nn = torch.nn

from heavytail.lab import hessian  # noqa: E402
from heavytail.lab.hessian import top_eigenvalues  # noqa: E402
from heavytail.lab.losses import loss_of  # noqa: E402
from heavytail.lab.networks import build  # noqa: E402


def mlp():
    """Make a small smooth network in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 4)
        return nn.Sequential(*layers).double()


def examples(n=30, shape=(3,), classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)), rng.integers(0, classes, n)


def whole_hessian(module, inputs, labels, loss):
    """Compute the Hessian entry by entry in all weights, by differentiating twice."""
    names, weights = zip(*module.named_parameters(), strict=True)
    inputs, labels = torch.as_tensor(inputs), torch.as_tensor(labels)

    def of_weights(*parts):
        logits = torch.func.functional_call(module, dict(zip(names, parts, strict=True)), (inputs,))
        return loss_of(loss)(logits, labels)

    blocks = torch.autograd.functional.hessian(of_weights, tuple(weight.detach() for weight in weights))
    sizes = [weight.numel() for weight in weights]
    rows = [
        [block.reshape(n, m) for block, m in zip(row, sizes, strict=True)] for row, n in zip(blocks, sizes, strict=True)
    ]
    return torch.cat([torch.cat(row, 1) for row in rows]).numpy()


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("n", [30, 1203])
def test_they_are_the_largest_eigenvalues_of_the_whole_hessian(loss, n):
    network, data = mlp(), examples(n)
    exact = np.linalg.eigvalsh(whole_hessian(copy.deepcopy(network).eval(), *data, loss))[::-1]
    found = top_eigenvalues(network, *data, count=5, loss=loss, tolerance=1e-12)
    np.testing.assert_allclose(found.values, exact[:5], rtol=1e-9)
    assert found.residuals.shape == (5,)
    assert found.residuals.max() < 1e-9 * exact[0]


def test_residuals_bound_the_distance_to_an_eigenvalue_and_fall_with_the_tolerance():
    network, data = mlp(), examples()
    exact = np.linalg.eigvalsh(whole_hessian(copy.deepcopy(network).eval(), *data, "cross-entropy"))
    loose, tight = (top_eigenvalues(network, *data, count=3, tolerance=t) for t in (0.3, 1e-10))
    for found in (loose, tight):
        distances = np.abs(exact[:, None] - found.values).min(axis=0)
        assert (distances <= found.residuals + 1e-12).all()
    assert tight.residuals.max() < loose.residuals.max()
    assert tight.products > loose.products


def test_the_negative_eigenvalues_of_a_saddle_are_not_the_largest():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    data = np.ones((1, 1)), np.array([0])
    exact = np.linalg.eigvalsh(whole_hessian(network, *data, "cross-entropy"))
    assert exact[0] < 0 < exact[-1]
    np.testing.assert_allclose(top_eigenvalues(network, *data).values, exact[-1:], rtol=1e-6)


def test_softmax_regression_has_the_hessian_of_the_textbooks():
    network = nn.Linear(3, 4, bias=False).double()
    inputs, labels = examples()
    with torch.no_grad():
        p = network(torch.from_numpy(inputs)).softmax(1).numpy()
    H = np.mean([np.kron(np.diag(q) - np.outer(q, q), np.outer(x, x)) for q, x in zip(p, inputs, strict=True)], axis=0)
    found = top_eigenvalues(network, inputs, labels, count=2, tolerance=1e-10)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(H)[:-3:-1], rtol=1e-9)


def test_frozen_weights_have_no_part_in_it():
    network, data = mlp().eval(), examples()
    for weight in network[:2].parameters():
        weight.requires_grad_(False)
    with torch.no_grad():
        hidden = network[:4](torch.from_numpy(data[0]))
    exact = np.linalg.eigvalsh(whole_hessian(network[4], hidden, data[1], "cross-entropy"))
    np.testing.assert_allclose(top_eigenvalues(network, *data).values, exact[-1:], rtol=1e-6)


def test_a_loss_without_curvature_has_eigenvalues_of_zero():
    network = nn.Linear(3, 4).double()
    with torch.no_grad():
        network.bias.copy_(torch.tensor([1e5, -1e5, -1e5, -1e5]))
    flat = top_eigenvalues(network, np.zeros((2, 3)), np.array([0, 0]), count=2)
    assert flat.values.tolist() == flat.residuals.tolist() == [0, 0]


def test_the_same_seed_gives_the_same_bytes():
    network, data = mlp(), examples()
    first, second = (top_eigenvalues(network, *data, count=2, seed=3) for _ in range(2))
    assert first.values.tobytes() == second.values.tobytes()
    assert first.residuals.tobytes() == second.residuals.tobytes()


def test_the_network_and_the_generators_are_left_as_they_were():
    network, data = mlp(), examples()
    network[3].eval()
    modes = [part.training for part in network.modules()]
    state, drawn = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    top_eigenvalues(network, *data)
    assert [part.training for part in network.modules()] == modes
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert torch.get_rng_state().equal(drawn)


@pytest.mark.parametrize("name", ["lenet5", "resnet", "transformer"])
def test_single_precision_networks_of_the_laboratory_have_the_eigenvalue_of_double_precision(name):
    shape = (3,) if name == "transformer" else (1, 4, 4)
    network = build(name, shape, 3)
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (12, 3)) if name == "transformer" else rng.standard_normal((12, *shape))
    labels = rng.integers(0, 3, 12)
    single = top_eigenvalues(network, inputs, labels)
    double = top_eigenvalues(network.double(), inputs, labels)
    np.testing.assert_allclose(single.values, double.values, rtol=1e-3)
    assert single.residuals[0] < 1e-3 * single.values[0]


def test_eigenvalues_that_are_not_found_are_not_given(monkeypatch):
    monkeypatch.setattr(hessian, "_RESTARTS", 1)
    with pytest.raises(
        ConvergenceError, match=r"of the 8 largest eigenvalues of the Hessian were found to a relative 1e-14"
    ):
        top_eigenvalues(mlp(), *examples(), count=8, tolerance=1e-14)


def test_a_network_that_has_diverged_has_no_eigenvalues():
    network = mlp()
    with torch.no_grad():
        network[0].weight[0, 0] = torch.nan
    with pytest.raises(ConvergenceError, match="the Hessian of the loss is not finite"):
        top_eigenvalues(network, *examples())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0; it must be at least 1 and less than the 16 weights"),
        ({"count": 16}, "count is 16"),
        ({"tolerance": 0.0}, "tolerance is 0.0; it must be positive"),
        ({"loss": "hinge"}, "no loss 'hinge'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        top_eigenvalues(nn.Linear(3, 4), *examples(), **arguments)
