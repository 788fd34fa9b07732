from dataclasses import replace

import numpy as np
import pytest
import torch

from heavytail.errors import RequestError
from heavytail.lab import DataSet, Examples, Recipe, build, train
from heavytail.lab.looking import look_epochs, look_errors, look_spectra
from heavytail.lab.losses import loss_of
from heavytail.lab.training import examples_of, parts_of

RECIPE = Recipe(network="mlp3", data="made", batch=16, rate=0.05, epochs=4, train=120, validation=40, test=60, looks=5)


def made(classes=3, side=6):
    """Images whose class is a bright column, and noise."""
    rng = np.random.default_rng(0)

    def part(n):
        labels = rng.integers(0, classes, n)
        images = rng.standard_normal((n, 1, side, side)).astype(np.float32)
        images[np.arange(n), 0, :, labels] += 1.5
        return Examples(images, labels)

    return DataSet("made", classes, part(120), part(40), part(60), "0" * 64)


DATA = made()


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, dropout=0.3),
        replace(RECIPE, network="minialexnet", optimiser="adam", rate=1e-3, decay=0.9),
        replace(RECIPE, optimiser="adadelta", rate=1.0, loss="cross-entropy"),
        replace(RECIPE, optimiser="adamw", rate=1e-3, weight_decay=0.1, batch=50),
    ],
    ids=["sgd", "dropout", "batchnorm", "adadelta", "adamw"],
)
def test_an_interrupted_training_ends_with_the_same_weights_and_rows(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("heavytail.lab.training._SAVE_EVERY", -1.0)
    whole, rows = train(recipe, DATA)

    class Stopped(Exception):
        pass

    def stop_at_two(epoch, _):
        if epoch == 2:
            raise Stopped

    state = tmp_path / "state"
    with pytest.raises(Stopped):
        train(recipe, DATA, state, stop_at_two)
    resumed, more = train(recipe, DATA, state)
    assert same(weights(whole), weights(resumed))
    for row, other in zip(rows, more, strict=True):
        for column in row.keys() - {"seconds"}:
            np.testing.assert_equal(row[column], other[column], err_msg=column)


def test_a_state_is_plain_data_whatever_was_seen(tmp_path, monkeypatch):
    """It is read again without running any code that a file could hold, so it must hold no other types."""
    monkeypatch.setattr("heavytail.lab.training._SAVE_EVERY", -1.0)
    _, rows = train(replace(RECIPE, rate=1.0, batch=2, epochs=3), DATA, tmp_path / "state")
    assert any(row["layer"] and row["num_spikes"] > 0 for row in rows)
    assert {type(value) for row in rows for value in row.values()} <= {int, float, str, list}
    assert torch.load(tmp_path / "state", weights_only=True)["epoch"] == 3


def test_a_training_leaves_the_random_numbers_of_torch_alone():
    before = torch.get_rng_state()
    train(replace(RECIPE, dropout=0.5, epochs=1), DATA)
    assert torch.equal(before, torch.get_rng_state())


def test_steps_of_sgd_are_those_of_its_equations():
    """Momentum v <- m v + g + w W, W <- W - r v, biases without decay, and a rate that decays by the epoch."""
    recipe = replace(RECIPE, epochs=2, batch=120, weight_decay=0.01, decay=0.5, loss="cross-entropy")
    trained, _ = train(recipe, DATA)
    network = build("mlp3", DATA.shape, 3, seed=recipe.seed)
    inputs, labels = parts_of(DATA)["train"]
    velocity = {}
    for epoch in range(2):
        loss = torch.nn.functional.cross_entropy(network(inputs), labels)
        parameters = dict(network.named_parameters())
        for (name, p), g in zip(parameters.items(), torch.autograd.grad(loss, [*parameters.values()]), strict=True):
            g = g + (0.01 * p.detach() if p.ndim > 1 else 0)
            velocity[name] = recipe.momentum * velocity[name] + g if name in velocity else g
            with torch.no_grad():
                p -= recipe.rate * 0.5**epoch * velocity[name]
    for name, p in network.named_parameters():
        torch.testing.assert_close(dict(trained.named_parameters())[name], p, rtol=1e-4, atol=1e-6)


def test_a_network_learns_and_its_rows_say_so():
    _, rows = train(replace(RECIPE, epochs=10, looks=11), DATA)
    network = [row for row in rows if row["layer"] == ""]
    assert [row["epoch"] for row in network] == list(range(11))
    assert [row["step"] for row in network] == [8 * k for k in range(11)]  # 120 in batches of 16
    assert network[-1]["test_accuracy"] > 0.9 > 0.6 > network[0]["test_accuracy"]
    assert {row["layer"] for row in rows} == {"", "fc1", "fc2", "fc3"}


def test_the_last_row_is_what_the_network_does(tmp_path):
    network, rows = train(RECIPE, DATA)
    last = next(row for row in reversed(rows) if row["layer"] == "")
    network.eval()
    for part, examples in (("train", DATA.train), ("validation", DATA.validation), ("test", DATA.test)):
        with torch.no_grad():
            p = torch.softmax(network(torch.from_numpy(examples.inputs)), 1).numpy()
        onehot = np.eye(3)[examples.labels]
        assert last[f"{part}_accuracy"] == pytest.approx((p.argmax(1) == examples.labels).mean())
        assert last[f"{part}_loss"] == pytest.approx(((p - onehot) ** 2).mean(), rel=1e-5)
    evals = next(row for row in reversed(rows) if row["layer"] == "fc2")["evals"]
    values = np.linalg.svd(network.fc2.weight.detach().double().numpy(), compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(evals, values, rtol=1e-6, atol=1e-8)


def test_a_training_stops_at_its_target():
    _, rows = train(replace(RECIPE, epochs=50, target=0.2), DATA)
    last = [row for row in rows if row["layer"] == ""][-1]
    assert last["epoch"] < 50
    assert last["steps_to_target"] == last["step"]
    assert 1 - last["test_accuracy"] <= 0.2
    _, rows = train(replace(RECIPE, epochs=1, rate=0.0, target=0.01), DATA)
    assert np.isnan([row for row in rows if row["layer"] == ""][-1]["steps_to_target"])


def test_a_training_that_diverges_ends_and_says_so():
    _, rows = train(replace(RECIPE, network="lenet5", rate=1e6, loss="cross-entropy", epochs=9, looks=3), DATA)
    last = [row for row in rows if row["layer"] == ""][-1]
    assert last["epoch"] < 9
    assert not np.isfinite(last["train_loss"])
    layer = next(row for row in reversed(rows) if row["layer"] == "fc1")
    assert (layer["epoch"], layer["status"]) == (last["epoch"], "failed")
    assert layer["reason"]


def test_a_state_of_another_recipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("heavytail.lab.training._SAVE_EVERY", -1.0)
    train(RECIPE, DATA, tmp_path / "state")
    with pytest.raises(RequestError, match=r"is of another training, with {'rate': 0.05}"):
        train(replace(RECIPE, rate=0.1), DATA, tmp_path / "state")


def test_labels_and_pixels_are_randomised_in_training_as_the_recipe_says():
    pytest.importorskip("sklearn", reason="needs scikit-learn's digits")
    plain = replace(RECIPE, data="digits", train=500, validation=100, test=300)
    clean, noisy = examples_of(plain), examples_of(replace(plain, randomised=1.0))
    assert 0.02 < (clean.train.labels == noisy.train.labels).mean() < 0.2
    assert np.array_equal(clean.test.labels, noisy.test.labels)
    assert np.array_equal(clean.validation.labels, noisy.validation.labels)
    assert np.array_equal(clean.train.inputs, noisy.train.inputs)
    shuffled = examples_of(replace(plain, pixels="shuffled"))
    first, other = clean.train.inputs[0].ravel(), shuffled.train.inputs[0].ravel()
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(np.sort(first), np.sort(other), rtol=1e-6)


@pytest.mark.parametrize(("epochs", "looks"), [(1, 3), (5, 3), (20, 8), (100, 8), (1000, 40), (7, 12), (0, 4)])
def test_looks_begin_at_the_start_end_at_the_end_and_are_no_more_than_asked_for(epochs, looks):
    chosen = look_epochs(epochs, looks)
    assert chosen[0] == 0
    assert chosen[-1] == epochs
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) <= min(looks, epochs + 1)
    assert len(chosen) >= min(looks - 2, epochs + 1)


def test_looking_leaves_the_mode_of_the_network_alone():
    network = build("minialexnet", DATA.shape, 3)
    network.train()
    look_errors(network, parts_of(DATA)["test"], loss_of("mse"))
    assert network.training


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(RequestError, match=r"layers is 'fc9', which matches none of fc1.weight"):
        look_spectra(build("mlp3", DATA.shape, 3), "fc9")
