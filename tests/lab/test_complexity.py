import itertools
from dataclasses import astuple
from math import inf, isnan, log, nan, prod

import numpy as np
import pytest

from heavytail.errors import RequestError

torch = pytest.importorskip("torch")
nn = torch.nn

from heavytail.lab.complexity import capacity, check_examples, weight_matrices  # noqa: E402


def drawn(module, seed=0, scale=1.0):
    """Give every parameter and statistic of a network a value of its own, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(scale * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        for part in module.modules():
            if getattr(part, "running_var", None) is not None:
                part.running_var.abs_().add_(0.1)
    return module


def mlp(bias=False, seed=0):
    layers = nn.Linear(4, 5, bias), nn.ReLU(), nn.Linear(5, 3, bias), nn.ReLU(), nn.Linear(3, 3, bias)
    return drawn(nn.Sequential(*layers), seed)


def examples(n=23, shape=(4,), classes=3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)), rng.integers(0, classes, n)


def weights(module):
    return [part.weight.detach().numpy() for part in module if isinstance(part, nn.Linear)]


def outputs(matrices, inputs):
    """Run a network of matrices and rectifiers with numpy."""
    x = inputs.T
    for matrix in matrices[:-1]:
        x = np.maximum(matrix @ x, 0)
    return (matrices[-1] @ x).T


def test_products_are_those_of_numpys_norms():
    network = mlp()
    measured = capacity(network, *examples())
    frobenius = sum(np.log10(np.linalg.norm(matrix)) for matrix in weights(network))
    spectral = sum(np.log10(np.linalg.svd(matrix, compute_uv=False)[0]) for matrix in weights(network))
    assert measured.log_frobenius_product == pytest.approx(frobenius, rel=1e-12)
    assert measured.log_spectral_product == pytest.approx(spectral, rel=1e-12)


def test_the_path_norm_is_the_root_of_the_sum_over_all_paths():
    network = mlp(bias=True)
    first, second, third = weights(network)
    paths = sum(
        (first[j, i] * second[k, j] * third[m, k]) ** 2
        for i, j, k, m in itertools.product(range(4), range(5), range(3), range(3))
    )
    assert capacity(network, *examples()).log_path_norm == pytest.approx(np.log10(paths) / 2, rel=1e-12)


def test_margins_are_the_own_logit_less_the_largest_of_the_others():
    network = mlp()
    inputs, labels = examples()
    margins = []
    for logits, label in zip(outputs(weights(network), inputs), labels, strict=True):
        margins.append(logits[label] - max(logit for k, logit in enumerate(logits) if k != label))
    frobenius = prod(np.linalg.norm(matrix) for matrix in weights(network))
    spectral = prod(np.linalg.norm(matrix, 2) for matrix in weights(network))
    measured = capacity(network, inputs, labels)
    assert min(margins) < 0 < max(margins)
    expected = [f(margins) / by for by in (1, frobenius, spectral) for f in (np.mean, lambda m: np.quantile(m, 0.1))]
    assert astuple(measured)[3:9] == pytest.approx(expected, rel=1e-12)


def test_the_normalised_loss_is_that_of_the_network_whose_matrices_have_norm_one():
    network = mlp()
    inputs, labels = examples()
    logits = outputs([matrix / np.linalg.norm(matrix) for matrix in weights(network)], inputs)
    loss = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)])
    assert capacity(network, inputs, labels).normalised_loss == pytest.approx(loss, rel=1e-12)


def test_with_biases_the_output_is_what_is_divided():
    network = mlp(bias=True)
    inputs, labels = examples()
    with torch.no_grad():
        logits = network(torch.from_numpy(inputs)).numpy() / prod(np.linalg.norm(matrix) for matrix in weights(network))
    loss = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)])
    assert capacity(network, inputs, labels).normalised_loss == pytest.approx(loss, rel=1e-12)


def test_moving_scale_from_one_layer_to_the_next_changes_nothing():
    network = mlp()
    before = capacity(network, *examples())
    with torch.no_grad():
        network[0].weight *= 7
        network[2].weight /= 7
    assert astuple(capacity(network, *examples())) == pytest.approx(astuple(before), rel=1e-12)


def test_scaling_a_layer_scales_the_raw_margins_and_leaves_the_normalised_ones():
    network = mlp()
    before = capacity(network, *examples()).as_dict()
    with torch.no_grad():
        network[2].weight *= 10
    after = capacity(network, *examples()).as_dict()
    for name, value in before.items():
        expected = (
            value + 1 if name.startswith("log_") else 10 * value if name in ("margin_mean", "margin_p10") else value
        )
        assert after[name] == pytest.approx(expected, rel=1e-12), name


def test_convolutions_count_as_matrices_of_their_filters_and_normalisations_do_not():
    network = drawn(
        nn.Sequential(
            nn.Conv2d(4, 6, 3, groups=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.LayerNorm(24),
            nn.Linear(24, 3),
        )
    )
    filters = network[0].weight.detach().numpy().reshape(6, 2 * 3 * 3)
    last = network[5].weight.detach().numpy()
    measured = capacity(network, *examples(shape=(4, 4, 4)))
    assert 10**measured.log_frobenius_product == pytest.approx(np.linalg.norm(filters) * np.linalg.norm(last))
    assert 10**measured.log_spectral_product == pytest.approx(np.linalg.norm(filters, 2) * np.linalg.norm(last, 2))
    assert isnan(measured.log_path_norm)  # a layer normalisation is no linear step


def test_attention_counts_its_four_matrices_however_they_are_stored():
    together, separate = nn.MultiheadAttention(6, 2), nn.MultiheadAttention(6, 2, kdim=4, vdim=5)
    assert [tuple(matrix.shape) for matrix in weight_matrices(together)] == [(6, 6)] * 4
    assert [tuple(matrix.shape) for matrix in weight_matrices(separate)] == [(6, 6), (6, 4), (6, 5), (6, 6)]


def test_a_shared_weight_counts_for_each_layer_and_a_normalised_one_as_the_layer_has_it():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)))
    network[1].weight = network[0].weight
    first, second, third = weight_matrices(network.eval())
    assert first.equal(second)
    assert third.equal(network[2].weight)


def test_a_network_of_tokens_has_no_path_norm_and_its_embedding_is_no_factor():
    network = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 3))
    tokens = torch.arange(40).reshape(8, 5) % 7
    measured = capacity(network, tokens, torch.arange(8) % 3)
    assert isnan(measured.log_path_norm)
    assert 10**measured.log_frobenius_product == pytest.approx(float(network[2].weight.detach().norm()), rel=1e-6)


def test_the_shape_of_the_path_norm_can_be_another_than_that_of_the_inputs():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return self.last(x.sum(1) if x.ndim == 3 else x)

    network, inputs, labels = Blocks(), torch.ones(3, 4, 2), torch.tensor([0, 1, 0])
    once, four = capacity(network, inputs, labels, shape=(2,)), capacity(network, inputs, labels)
    norm = float(network.last.weight.detach().norm())
    assert 10**once.log_path_norm == pytest.approx(norm, rel=1e-6)
    assert 10**four.log_path_norm == pytest.approx(2 * norm, rel=1e-6)


def test_the_batches_are_those_of_evaluation_and_every_example_counts_once():
    network = drawn(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)))
    inputs, labels = examples(n=1203)
    first = capacity(network, inputs, labels)
    order = np.random.default_rng(0).permutation(1203)
    assert astuple(capacity(network, inputs[order], labels[order])) == pytest.approx(astuple(first), rel=1e-12)


def test_the_network_is_left_as_it_was_even_by_an_error():
    network = drawn(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)))
    network[1].eval()
    modes = [part.training for part in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    capacity(network, *examples())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        capacity(network, *examples(shape=(5,)))
    assert [part.training for part in network.modules()] == modes
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.get_rng_state().equal(generator)


def test_a_layer_of_zeros_has_no_logarithm_and_ends_nothing():
    network = mlp()
    with torch.no_grad():
        network[2].weight.zero_()
    measured = capacity(network, *examples())
    assert astuple(measured)[:5] == (-inf, -inf, -inf, 0, 0)
    assert isnan(measured.frobenius_margin_mean)
    assert isnan(measured.normalised_loss)


@pytest.mark.parametrize("wrong", [nan, inf])
def test_a_network_that_has_diverged_has_no_measures_and_ends_nothing(wrong):
    network = mlp()
    with torch.no_grad():
        network[2].weight[0, 0] = wrong
    measured = capacity(network, *examples())
    assert isnan(measured.log_spectral_product)
    assert isnan(measured.log_path_norm)
    assert isnan(measured.margin_mean)


def test_products_below_the_least_number_still_have_logarithms():
    layers = [nn.Linear(2, 2, bias=False) for _ in range(40)]
    network = drawn(nn.Sequential(*layers), scale=1e-9)
    measured = capacity(network, *examples(shape=(2,), classes=2))
    logs = [np.log10(np.linalg.norm(matrix)) for matrix in weights(network)]
    assert sum(logs) < -330
    assert measured.log_frobenius_product == pytest.approx(sum(logs), rel=1e-12)


def test_a_network_that_knows_nothing_has_the_loss_of_guessing():
    network = nn.Linear(4, 3)
    with torch.no_grad():
        network.bias.zero_()
    measured = capacity(network, np.zeros((5, 4)), np.array([0, 1, 2, 0, 1]))
    assert measured.normalised_loss == pytest.approx(log(3), rel=1e-12)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.ones((3, 4)), np.zeros(2, int), r"got inputs \(3, 4\) and labels \(2,\)"),
        (np.ones((0, 4)), np.zeros(0, int), r"n > 0 examples"),
        (np.ones((3, 4)), np.zeros(3), r"whole numbers from 0; got torch.float64"),
        (np.ones((3, 4)), np.array([0, -1, 1]), r"whole numbers from 0; got torch.int64, the least -1"),
    ],
)
def test_examples_that_do_not_fit_are_refused(inputs, labels, message):
    with pytest.raises(RequestError, match=message):
        check_examples(nn.Linear(4, 3), inputs, labels)


def test_outputs_that_are_no_logits_are_refused():
    inputs, labels = np.ones((3, 4)), np.array([0, 1, 3])
    with pytest.raises(RequestError, match=r"the network gives \(3, 3\); expected logits .* more than 3 classes"):
        capacity(nn.Linear(4, 3), inputs, labels)
    with pytest.raises(RequestError, match=r"the network gives \(3, 1\)"):
        capacity(nn.Linear(4, 1), inputs, 0 * labels)
    with pytest.raises(RequestError, match=r"the network gives \(3, 4, 3\)"):
        capacity(nn.Linear(1, 3), inputs[..., None], 0 * labels)
    with pytest.raises(RequestError, match="the ReLU has no linear or convolutional layer"):
        capacity(nn.ReLU(), inputs, labels)
