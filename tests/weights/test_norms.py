"""Weights that are stored in parts: a checkpoint gives what the live module computes."""

import numpy as np
import pytest
import torch
from torch import nn

import heavytail as ht
from heavytail.weights.source import open_source


def parametrised():
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    torch.manual_seed(0)
    return nn.Sequential(
        weight_norm(nn.Linear(40, 30)),
        weight_norm(nn.Conv2d(6, 25, 3)),
        weight_norm(nn.Linear(40, 30), dim=None),
        spectral_norm(nn.Linear(40, 30)),
        spectral_norm(nn.Conv2d(6, 25, 3)),
        nn.Linear(40, 30),
    ).eval()


def hooked():
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(40, 30)), nn.utils.weight_norm(nn.Conv1d(6, 25, 3))).eval()


@pytest.mark.parametrize("make", [parametrised, hooked])
@pytest.mark.parametrize("rows", [7, 1000])
def test_a_state_dict_gives_the_weights_that_the_module_computes_with(make, rows):
    model = make()
    source = open_source(model.state_dict())
    read = {t.name: np.concatenate(list(t.blocks(rows))) for t in source.tensors}
    for i, layer in enumerate(model):
        np.testing.assert_allclose(read[f"{i}.weight"], layer.weight.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert not [name for name in read if name.endswith(("_g", "_v", "_u", "original", "original0", "original1"))]
    assert any("weight_norm" in note for note in source.notes)


def test_a_file_gives_what_the_module_gives(tmp_path):
    model = parametrised()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    live, stored = ht.analyze(model), ht.analyze(tmp_path / "m.pt")
    theirs = {row.name: row for row in live.rows}
    for row in stored.rows:
        if row.status == "ok":
            assert row.stable_rank == pytest.approx(theirs[row.name].stable_rank, rel=1e-5)
            assert row.norm == pytest.approx(theirs[row.name].norm, rel=1e-5)


def test_parts_that_do_not_fit_are_left_as_they_are():
    v = np.ones((4, 3), np.float32)
    for state in (
        {"a.weight_v": v},
        {"a.weight_v": v, "a.weight_g": np.ones(3)},
        {"a.weight_orig": v, "a.weight_u": v},
    ):
        assert {t.name for t in open_source(state).tensors} == set(state)
