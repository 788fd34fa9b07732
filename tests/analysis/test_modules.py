import numpy as np
import pytest
import torch
from torch import nn

import heavytail as ht


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 24)
        self.attention = nn.MultiheadAttention(24, 4)
        self.lstm = nn.LSTM(24, 22, bidirectional=True)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4)
        self.depthwise = nn.Conv1d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(6, 10, 3)
        self.patches = nn.Conv2d(3, 40, 4, stride=4)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 60, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.tensor(3))
        self.frozen = nn.Linear(20, 30)
        self.frozen.weight.requires_grad_(False)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def rows_of(module, **options):
    return {row.name: row for row in ht.analyze(module, **options).rows}


def test_every_layer_of_a_module_has_its_matrices(net):
    rows = rows_of(net)
    seen = {n: (r.kind, r.num_matrices, r.N, r.M) for n, r in rows.items() if r.status == "ok"}
    expected = {"embed": ("embedding", 1, 60, 24)}
    expected |= {f"attention.in_proj_weight:{p}": ("qkv", 1, 24, 24) for p in "qkv"}
    expected |= {"attention.out_proj": ("linear", 1, 24, 24)}
    for end in ("", "_reverse"):
        expected |= {f"lstm.weight_ih_l0{end}:{g}": ("lstm", 1, 24, 22) for g in "ifgo"}
        expected |= {f"lstm.weight_hh_l0{end}:{g}": ("lstm", 1, 22, 22) for g in "ifgo"}
    expected |= {
        "grouped": ("conv2d", 4 * 9, 3, 2),
        "depthwise": ("depthwise", 8, 3, 1),
        "up": ("conv_transpose2d", 9, 10, 6),
        "patches": ("patch_embedding", 1, 48, 40),
        "frozen": ("linear", 1, 30, 20),
    }
    assert seen == expected
    assert rows["head"].status == "skipped"
    assert rows["head"].reason == "tied to 'embed', which has a row of its own"
    assert rows["norm"].status == rows["steps"].status == "skipped"


def test_the_numbers_are_those_of_the_weights(net):
    rows = rows_of(net)
    pieces = {
        "embed": net.embed.weight,
        "attention.in_proj_weight:k": net.attention.in_proj_weight[24:48],
        "lstm.weight_ih_l0:g": net.lstm.weight_ih_l0[44:66],
        "patches": net.patches.weight.reshape(40, -1),
        "grouped": net.grouped.weight,
        "up": net.up.weight,
    }
    for name, weight in pieces.items():
        W = weight.detach().double().numpy()
        assert rows[name].norm == pytest.approx(np.square(W).sum(), rel=1e-12)
        if W.ndim == 2:
            assert rows[name].lambda_max == pytest.approx(np.linalg.norm(W, 2) ** 2, rel=1e-12)


def test_grouped_convolutions_have_the_singular_values_of_their_block_diagonal_matrix(net):
    W = net.grouped.weight.detach().double()
    evals = []
    for i in range(3):
        for j in range(3):
            dense = torch.block_diag(*W[:, :, i, j].split(3))  # 4 groups of 3 outputs and 2 inputs
            assert dense.shape == (12, 8)
            evals += (torch.linalg.svdvals(dense) ** 2).tolist()
    report = ht.analyze(net)
    np.testing.assert_allclose(report.spectra["grouped"].evals, np.sort(evals), atol=1e-12)


def test_a_module_and_its_state_dict_agree(net):
    from_module, from_state = rows_of(net), rows_of(net.state_dict())
    ambiguous = {"grouped", "depthwise", "up", "patches"}  # a checkpoint does not know of groups or strides
    assert set(from_module) == set(from_state)
    for name in set(from_module) - ambiguous:
        a, b = from_module[name], from_state[name]
        assert (a.status, a.N, a.M, a.norm, a.reason) == (b.status, b.N, b.M, b.norm, b.reason) or a.status != "ok"


def test_the_module_is_left_as_it_was(net):
    net.train()
    net.patches.eval()
    net.lstm.weight_ih_l0.grad = torch.ones_like(net.lstm.weight_ih_l0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flags = {name: p.requires_grad for name, p in net.named_parameters()}
    modes = {name: m.training for name, m in net.named_modules()}
    places = {name: (p.data_ptr(), p.device, p.dtype) for name, p in net.named_parameters()}
    attributes = {name: sorted(vars(m)) for name, m in net.named_modules()}
    threads, seed = torch.get_num_threads(), torch.random.get_rng_state()
    for conv in ("slices", "operator"):
        ht.analyze(net, conv=conv, jobs=2)
    ht.analyze(net, convention="weightwatcher")
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert {name: p.requires_grad for name, p in net.named_parameters()} == flags
    assert {name: m.training for name, m in net.named_modules()} == modes
    assert {name: (p.data_ptr(), p.device, p.dtype) for name, p in net.named_parameters()} == places
    assert {name: sorted(vars(m)) for name, m in net.named_modules()} == attributes
    assert torch.equal(net.lstm.weight_ih_l0.grad, torch.ones_like(net.lstm.weight_ih_l0))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), seed)
    assert net.embed.weight is net.head.weight


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_module_keeps_its_type(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(40, 50).to(dtype)
    row = rows_of(layer)["weight"]
    assert row.dtype == str(dtype).removeprefix("torch.")
    assert layer.weight.dtype == dtype
    assert row.norm == pytest.approx(float(layer.weight.detach().double().square().sum()), rel=1e-12)


def test_a_bare_layer_is_a_model():
    # peers.md 2.5: the state dict of a bare Linear or LSTM is a KeyError there.
    for layer in (nn.Linear(30, 20), nn.LSTM(20, 20), nn.Conv3d(4, 4, 2)):
        assert any(row.status == "ok" for row in rows_of(layer).values())
        assert any(row.status == "ok" for row in rows_of(layer.state_dict()).values())


def test_an_operator_of_a_module_s_grouped_convolution_is_that_of_the_dense_kernel():
    torch.manual_seed(0)
    layer = nn.Conv1d(4, 6, 3, groups=2, bias=False)
    dense = nn.Conv1d(4, 6, 3, bias=False)
    with torch.no_grad():
        dense.weight.zero_()
        dense.weight[:3, :2] = layer.weight[:3]
        dense.weight[3:, 2:] = layer.weight[3:]
    ours, theirs = (ht.analyze(m, conv="operator").spectra["weight"].evals for m in (layer, dense))
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
