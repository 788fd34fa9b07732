import itertools
import subprocess
import sys
from math import prod

import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.trends.capacity import path_norm

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


def random(module, seed=0):
    """Give every parameter and statistic of a network a value of its own; none is left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        for part in module.modules():
            if getattr(part, "running_var", None) is not None:
                part.running_var.abs_().add_(0.1)
    return module


class Net(nn.Module):
    """A network whose forward pass is a function of its parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.step = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.step(self, x)


def unrolled(step, shape):
    """Give the matrix of a linear step, a column an input: its answers to each unit input, less that to none."""
    step = step.double().eval()
    with torch.no_grad():
        none = step(torch.zeros(1, *shape, dtype=torch.float64))
        units = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
        return (step(units) - none).flatten(1).T.numpy()


def total(*matrices):
    """Sum over all paths through linear steps, the first of which is the first argument."""
    paths = np.ones(matrices[0].shape[1])
    for matrix in matrices:
        paths = matrix**2 @ paths
    return paths.sum()


def test_it_is_the_root_of_the_sum_over_every_path_of_a_small_network():
    network = random(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3)))
    first, second, third = (network[k].weight.detach().double().numpy() for k in (0, 2, 4))
    paths = sum(
        (first[j, i] * second[k, j] * third[m, k]) ** 2
        for i, j, k, m in itertools.product(range(3), range(4), range(2), range(3))
    )
    assert path_norm(network, (3,)) == pytest.approx(paths**0.5, rel=1e-12)


def test_it_is_no_more_than_the_product_of_frobenius_norms_and_no_rescaling_changes_it():
    network = random(nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 5)))
    weights = [network[k].weight for k in (0, 2, 4)]
    before = path_norm(network, (20,))
    assert before < prod(float(weight.detach().norm()) for weight in weights)
    scale = torch.rand(30) + 0.5
    with torch.no_grad():
        weights[0] *= scale[:, None]
        weights[1] /= scale
    assert path_norm(network, (20,)) == pytest.approx(before, rel=1e-6)


LINEAR = {
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 5, 6)),
    "grouped convolution": (nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding="same"), (4, 5, 6)),
    "depthwise convolution": (nn.Conv2d(4, 4, (3, 1), groups=4, bias=False), (4, 5, 6)),
    "circular convolution": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    "convolution of sequences": (nn.Conv1d(3, 4, 3), (3, 7)),
    "convolution of volumes": (nn.Conv3d(2, 2, 2), (2, 3, 3, 3)),
    "transposed convolution": (nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1), (3, 3, 4)),
    "transposed grouped": (nn.ConvTranspose2d(4, 2, 3, groups=2), (4, 3, 3)),
    "linear on the last axis": (nn.Linear(5, 3), (2, 5)),
    "batch normalisation": (nn.BatchNorm2d(3), (3, 2, 2)),
    "batch normalisation of vectors": (nn.BatchNorm1d(6), (6,)),
    "batch normalisation without scale": (nn.BatchNorm2d(3, affine=False), (3, 2, 2)),
    "mean over windows": (nn.AvgPool2d(3, 2, 1), (2, 5, 6)),
    "mean over windows, to the border": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 5, 6)),
    "mean over windows, beyond": (nn.AvgPool2d(3, 2, ceil_mode=True), (2, 6, 6)),
    "mean over windows, own divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 4, 6)),
    "mean over windows of sequences": (nn.AvgPool1d(3, 2), (2, 7)),
    "mean over windows of volumes": (nn.AvgPool3d(2), (2, 4, 4, 2)),
    "mean over all": (nn.AdaptiveAvgPool2d(1), (2, 4, 5)),
    "adaptive mean": (nn.AdaptiveAvgPool2d((3, 2)), (2, 4, 5)),
    "adaptive mean of sequences": (nn.AdaptiveAvgPool1d(3), (2, 7)),
    "adaptive mean of volumes": (nn.AdaptiveAvgPool3d(2), (1, 3, 4, 5)),
    "maximum over windows": (nn.MaxPool2d(3, 2, 1), (2, 5, 6)),
    "maximum over windows, beyond": (nn.MaxPool2d(2, ceil_mode=True), (2, 5, 5)),
    "maximum over windows of sequences": (nn.MaxPool1d(2), (2, 6)),
    "maximum over windows of volumes": (nn.MaxPool3d(2, 1), (1, 3, 3, 3)),
    "maximum over all": (nn.AdaptiveMaxPool2d(1), (2, 4, 5)),
    "adaptive maximum": (nn.AdaptiveMaxPool2d((3, 2)), (2, 4, 5)),
    "flattening": (nn.Flatten(), (2, 3, 2)),
    "dropout": (nn.Dropout(0.9), (7,)),
    "rectifier": (nn.ReLU(), (7,)),
    "rectifier in place": (nn.ReLU(inplace=True), (7,)),
    "nothing": (nn.Identity(), (7,)),
    "zeros around": (nn.ZeroPad2d(1), (2, 3, 3)),
    "constants around": (nn.ConstantPad2d(1, 5.0), (2, 3, 3)),
    "enlargement": (nn.Upsample(scale_factor=2), (2, 3, 3)),
    "shuffle of pixels": (nn.PixelShuffle(2), (4, 2, 2)),
    "shuffle of channels": (nn.ChannelShuffle(2), (4, 2, 2)),
    "mean of axes": (Net(lambda _, x: x.mean((2, 3))), (2, 3, 4)),
    "mean of everything": (Net(lambda _, x: x.mean((1, 2), keepdim=True)), (3, 4)),
    "largest of axes": (Net(lambda _, x: x.amax((1, 2), keepdim=True)), (3, 4)),
    "sum of an axis": (Net(lambda _, x: x.sum(1)), (3, 4)),
    "matrix from the left": (Net(lambda _, x: torch.arange(6.0, dtype=x.dtype).reshape(2, 3) @ x), (3, 4)),
    "einsum": (Net(lambda net, x: torch.einsum("bij,kj->bik", x, net.part.weight), part=nn.Linear(4, 5)), (3, 4)),
    "factors": (Net(lambda _, x: -x * 3 / 2 * torch.tensor([0.5, 2.0]).to(x)), (3, 2)),
    "scale that was learnt": (Net(lambda net, x: net.part.bias * x, part=nn.Linear(1, 4)), (3, 4)),
    "slices put together": (Net(lambda _, x: torch.cat([x[:, ::2], x.flip(1)[:, :1], 2 * x], 1)), (4, 3)),
    "constants added": (Net(lambda net, x: 3 - (x + 1 - net.part.weight), part=nn.Linear(4, 3)), (3, 4)),
    "written in place": (Net(lambda _, x: x.clone().view(-1, 6).mul_(3).add_(1).view(-1, 2, 3)), (2, 3)),
    "axes exchanged": (Net(lambda _, x: torch.stack(x.unbind(1), 2).transpose(1, 2).permute(0, 2, 1)), (2, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_step_counts_with_the_square_of_every_coefficient(name):
    step, shape = LINEAR[name]
    random(step)
    assert path_norm(step, shape) ** 2 == pytest.approx(total(unrolled(step, shape)), rel=1e-12)


def test_a_convolutional_network_is_the_product_of_its_unrolled_matrices():
    parts = [
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
    ]
    parts += [nn.AvgPool2d(2, 1), nn.Flatten(), nn.Dropout(), nn.Linear(3, 5)]
    network = random(nn.Sequential(*parts))
    shape, matrices = (2, 8, 8), []
    for part in parts:
        matrices.append(unrolled(part, shape))
        with torch.no_grad():
            shape = part(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
    assert path_norm(network, (2, 8, 8)) ** 2 == pytest.approx(total(*matrices), rel=1e-12)


def test_the_ways_round_and_through_a_residual_branch_are_paths_of_their_own():
    def block(net, x):
        y = torch.relu(net.first(x))
        y = net.second(y)
        y += net.short(x)
        return net.last(F.relu(y - 0.5 * x))

    parts = {name: nn.Linear(4, 4) for name in ("first", "second", "short")} | {"last": nn.Linear(4, 2)}
    network = random(Net(block, **parts))
    first, second, short, last = (parts[name].weight.detach().double().numpy() for name in parts)
    ways = second**2 @ first**2 + short**2 + 0.25 * np.eye(4)
    assert path_norm(network, (4,)) ** 2 == pytest.approx((last**2 @ ways).sum(), rel=1e-12)


def test_adding_to_a_view_reaches_what_it_is_a_view_of():
    def forward(net, x):
        y = net.part(x)
        y[:, :2] += 3 * x[:, :2]
        y.view(-1)[0:1].mul_(2)
        return y

    network = random(Net(forward, part=nn.Linear(3, 3)))
    sums = (network.part.weight.detach().double() ** 2).sum(1).numpy() + np.array([9, 9, 0])
    assert path_norm(network, (3,)) ** 2 == pytest.approx((sums * [4, 1, 1]).sum(), rel=1e-12)


def test_each_copy_of_a_number_has_a_path_of_its_own():
    """The border that a convolution reflects has a way through each of its pictures."""
    network = random(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"))
    border, inner = nn.ReflectionPad2d(1), nn.Conv2d(2, 3, 3)
    inner.load_state_dict(network.state_dict())
    paths = total(unrolled(border, (2, 4, 4)), unrolled(inner, (2, 6, 6)))
    assert path_norm(network, (2, 4, 4)) ** 2 == pytest.approx(paths, rel=1e-12)


@pytest.mark.parametrize(
    ("rectifier", "factor"),
    [(nn.LeakyReLU(0.1), 1), (nn.LeakyReLU(-3.0), 9), (nn.LeakyReLU(0.1, inplace=True), 1), (nn.PReLU(init=0.5), 1)],
)
def test_a_leaky_rectifier_has_the_largest_of_its_slopes(rectifier, factor):
    assert path_norm(rectifier, (5,)) ** 2 == pytest.approx(5 * factor)


def test_each_channel_has_its_own_leak():
    rectifier = nn.PReLU(3)
    with torch.no_grad():
        rectifier.weight.copy_(torch.tensor([0.5, 2.0, -3.0]))
    assert path_norm(rectifier, (3, 4)) ** 2 == pytest.approx(4 * (1 + 4 + 9))


def test_a_network_without_pooling_is_a_pass_of_ones_through_its_squared_parameters():
    """The published recipe: square every parameter, no biases, a forward pass."""
    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(), nn.Flatten()]
    network = random(nn.Sequential(*parts, nn.Linear(8 * 4 * 4, 10)))
    found = path_norm(network, (3, 6, 6))
    squared = network.double()
    with torch.no_grad():
        for name, parameter in squared.named_parameters():
            parameter.mul_(0 if name.endswith("bias") else parameter)
        assert found**2 == pytest.approx(float(squared(torch.ones(1, 3, 6, 6).double()).sum()), rel=1e-12)


def test_a_weight_that_is_computed_counts_as_what_it_is():
    plain = random(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))
    normed = nn.Sequential(*(part for part in plain))
    before = path_norm(plain, (4,))
    nn.utils.parametrizations.weight_norm(normed[0])
    assert path_norm(normed, (4,)) == pytest.approx(before, rel=1e-6)


def test_a_weight_that_is_used_twice_counts_twice():
    part = random(nn.Linear(3, 3))
    squares = part.weight.detach().double().numpy() ** 2
    assert path_norm(nn.Sequential(part, nn.ReLU(), part), (3,)) ** 2 == pytest.approx((squares @ squares).sum())


def test_nothing_of_the_module_is_changed_or_called_back():
    network = random(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten()))
    network.add_module("last", nn.Linear(4 * 4 * 4, 2))
    network[1].eval()
    called = []
    network.register_forward_hook(lambda *_: called.append("forward"))
    network[0].register_forward_pre_hook(lambda *_: called.append("before"))
    network[0].register_full_backward_hook(lambda *_: called.append("backward"))
    network(torch.randn(2, 3, 6, 6, requires_grad=True)).sum().backward()
    called.clear()

    def state():
        tensors = {**network.state_dict(), **{f"grad {n}": p.grad for n, p in network.named_parameters()}}
        modes = [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks)) for part in network.modules()]
        kinds = [(p.dtype, p.requires_grad, id(p), p._version) for p in network.parameters()]
        values = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        return values, modes, kinds, torch.get_rng_state().numpy().tobytes(), torch.is_grad_enabled()

    before = state()
    path_norm(network, (3, 6, 6))
    with pytest.raises(RequestError):
        path_norm(nn.Sequential(network, nn.Softmax(1)), (3, 6, 6))
    assert state() == before
    assert called == []


REFUSED = {
    "softmax": (nn.Softmax(1), "Softmax"),
    "sigmoid": (nn.Sigmoid(), "Sigmoid"),
    "tanh": (nn.Tanh(), "Tanh"),
    "gelu": (nn.GELU(), "GELU"),
    "hardtanh": (nn.ReLU6(), "ReLU6"),
    "native_layer_norm": (nn.LayerNorm(6), "LayerNorm"),
    "native_group_norm": (nn.GroupNorm(2, 4), "GroupNorm"),
    "statistics of its input": (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d"),
    "into a tensor of its own": (nn.LSTM(6, 3), "LSTM"),
    "dilation": (nn.MaxPool1d(2, dilation=2), "MaxPool1d"),
    "upsample_linear1d": (nn.Upsample(scale_factor=2, mode="linear"), "Upsample"),
    "multiplies activations": (Net(lambda _, x: x * x), "Net"),
    "multiplies activations with": (Net(lambda _, x: x @ x.transpose(1, 2)), "Net"),
    "divides by an activation": (Net(lambda _, x: x / x.sum()), "Net"),
    "computes softmax": (Net(lambda _, x: F.softmax(x, -1)), "Net"),
    "computes gt": (Net(lambda _, x: torch.where(x > 0, x, 0 * x)), "Net"),
    "computes exp": (Net(lambda _, x: x.exp()), "Net"),
    "computes bernoulli": (Net(lambda _, x: F.dropout(x)), "Net"),
    "writes an activation": (Net(lambda _, x: torch.zeros(1, 4, 6).double().add_(x)), "Net"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_step_without_a_path_norm_is_refused_with_the_name_of_its_module(what):
    part, kind = REFUSED[what]
    network = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.ReLU(), part))
    with pytest.raises(RequestError) as caught:
        path_norm(network, (4, 6))
    text = str(caught.value)
    assert text.startswith(f"path_norm: 1.1 ({kind}) ")
    assert what in text
    assert "\n" not in text


def test_attention_is_refused():
    network = Net(lambda net, x: net.heads(x, x, x)[0], heads=nn.MultiheadAttention(6, 2, batch_first=True))
    with pytest.raises(RequestError, match=r"path_norm: heads \(MultiheadAttention\) computes native_multi_head_att"):
        path_norm(network, (4, 6))
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    with pytest.raises(RequestError, match=r"path_norm: 0.self_attn \(MultiheadAttention\) computes "):
        path_norm(nn.Sequential(layer, nn.ReLU()), (4, 6))


def test_what_is_no_network_or_does_not_run_is_refused_in_one_line():
    linear = nn.Linear(3, 2)
    with pytest.raises(RequestError, match=r"path_norm needs a torch.nn.Module; got dict"):
        path_norm({}, (3,))
    with pytest.raises(
        RequestError, match=r"path_norm: 1 \(Linear\) does not run on an input of shape \(4,\): [^\n]+$"
    ):
        path_norm(nn.Sequential(nn.ReLU(), linear), (4,))
    with pytest.raises(RequestError, match=r"path_norm: the network gives a tuple; expected a tensor of its input"):
        path_norm(Net(lambda _, x: (x, x)), (3,))
    with pytest.raises(RequestError, match=r"gives a Tensor; expected a tensor of its input"):
        path_norm(Net(lambda net, _: net.part.weight * 1, part=linear), (3,))
    with pytest.raises(RequestError, match=r"path_norm: the Net cannot be copied: cannot pickle 'generator' object"):
        path_norm(Net(lambda _, x: x, part=(k for k in range(3))), (3,))
    with torch.no_grad():
        linear.weight[0, 0] = torch.nan
    with pytest.raises(RequestError, match=r"path_norm: the sum over paths is nan; expected finite weights"):
        path_norm(linear, (3,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
def test_a_compiled_part_is_refused():
    script = torch.jit.script(nn.Linear(3, 3))
    with pytest.raises(RequestError, match=r"path_norm: a TorchScript program cannot be followed"):
        path_norm(nn.Sequential(nn.ReLU(), script), (3,))


def test_a_network_of_many_layers_does_not_overflow_single_precision():
    layers = [nn.Linear(50, 50, bias=False) for _ in range(40)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(1.0)
    assert path_norm(nn.Sequential(*layers), (50,)) == pytest.approx(50 ** (41 / 2), rel=1e-12)  # 50^41 paths


def test_it_is_there_before_torch_is():
    code = "import sys, heavytail.trends.capacity; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False"]
