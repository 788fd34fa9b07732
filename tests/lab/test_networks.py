import numpy as np
import pytest
import torch
from scipy import stats

from heavytail import analyze
from heavytail.errors import RequestError
from heavytail.lab import build
from heavytail.lab.networks import glorot_normal_
from heavytail.lab.recipe import NETWORKS

TOKENS = ("transformer", "mlp-tokens")
IMAGES = [name for name in NETWORKS if name not in TOKENS]


def shapes(network):
    return {name: tuple(p.shape) for name, p in network.named_parameters() if p.ndim > 1}


def test_mlp3_has_the_published_matrices_and_number_of_parameters():
    network = build("mlp3", (3, 28, 28), 10)
    assert sum(p.numel() for p in network.parameters()) == 1_735_178  # Martin and Mahoney 2018, notebook MLP3-Basline
    assert list(shapes(network).values()) == [(512, 2352), (512, 512), (512, 512), (10, 512)]


def test_minialexnet_has_the_published_matrices():
    found = shapes(build("minialexnet", (3, 28, 28), 10))
    assert found["fc1.weight"] == (384, 4096)
    assert found["fc2.weight"] == (192, 384)
    assert found["conv1.weight"] == (96, 3, 5, 5)
    assert found["conv2.weight"] == (256, 96, 5, 5)


def test_lenet5_has_the_published_matrix():
    assert shapes(build("lenet5", (1, 28, 28), 10))["fc1.weight"] == (500, 2450)


def test_the_initial_scale_is_that_of_the_published_fits():
    # Marchenko-Pastur sigma of FC1 and FC2 at epoch 0, X = W^T W: 1.1895 and 1.0157 for the clipped normal,
    # where torch's own xavier_normal_ gives 1.3522 and 1.1547.
    network = build("minialexnet", (3, 28, 28), 10, seed=1)
    for name, sigma in (("fc1", 1.1895), ("fc2", 1.0157)):
        weight = getattr(network, name).weight
        measured = float(weight.detach().std()) * max(weight.shape) ** 0.5
        assert measured == pytest.approx(sigma, rel=4 / np.sqrt(2 * weight.numel()))
        assert torch.all(getattr(network, name).bias == 0.1)


def test_initial_weights_are_a_normal_clipped_at_two_standard_deviations():
    weight = glorot_normal_(torch.empty(50, 20, 5, 5), torch.Generator().manual_seed(3))
    scale = np.sqrt(2 / (25 * 70))  # fans of a convolution count its window
    assert stats.kstest(weight.numpy().ravel() / scale, stats.truncnorm(-2, 2).cdf).pvalue > 0.001


def test_initial_matrices_look_random():
    network = build("minialexnet", (1, 28, 28), 10)
    report = analyze({"fc1": network.fc1.weight, "fc2": network.fc2.weight})
    assert [row.phase for row in report.rows] == ["random-like"] * 2


def test_maxima_see_every_pixel_once_as_padding_same_does():
    pool = build("minialexnet", (1, 28, 28), 10).pool1
    images = torch.randn(2, 3, 28, 8, generator=torch.Generator().manual_seed(0))
    found = pool(images)
    assert found.shape == (2, 3, 10, 3)
    # 28 -> 30: one row in front, one behind; 8 -> 9: none in front, one behind
    for i in range(10):
        for j in range(3):
            window = images[:, :, max(0, 3 * i - 1) : 3 * i + 2, 3 * j : 3 * j + 3]
            assert torch.equal(found[:, :, i, j], window.amax((2, 3)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_logits_and_depends_on_its_seed_alone(name):
    shape = (5,) if name in TOKENS else (1, 28, 28)
    before = torch.get_rng_state()
    one, same, other = (build(name, shape, 7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    x = torch.randint(0, 7, (3, 5)) if name in TOKENS else torch.zeros(3, 1, 28, 28)
    assert one(x).shape == (3, 7)
    for (key, p), (_, q), (_, r) in zip(
        one.named_parameters(), same.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(p, q), key
        assert p.ndim < 2 or not torch.equal(p, r) or key == "positions", key


@pytest.mark.parametrize("name", ["mlp3", "minialexnet", "lenet5", "transformer", "mlp-tokens"])
def test_dropout_acts_while_training_alone(name):
    shape = (5,) if name in TOKENS else (1, 28, 28)
    network = build(name, shape, 7, dropout=0.5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 7, (9, 5), generator=generator) if name in TOKENS else torch.randn(9, *shape)
    network.train()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_a_transformer_does_not_look_ahead():
    network = build("transformer", (5,), 7).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])
    hidden = network.blocks(network.tokens(tokens) + network.positions)
    assert torch.allclose(hidden[0, :3], hidden[1, :3], atol=1e-6)
    assert not torch.allclose(hidden[0, 3:], hidden[1, 3:], atol=1e-3)


def test_unknown_networks_and_shapes_are_refused():
    with pytest.raises(RequestError, match="no network 'vgg'"):
        build("vgg", (1, 28, 28), 10)
    with pytest.raises(RequestError, match="takes inputs of shape"):
        build("transformer", (1, 28, 28), 10)
    for name in IMAGES:
        with pytest.raises(RequestError, match="takes inputs of shape"):
            build(name, (5,), 10)
