"""TorchScript archives, against torch.jit.load: the same names, the same bytes, and no code of the archive run."""

import pickle
import pickletools
import random
import re
import time
import warnings
import zipfile

import numpy as np
import pytest
import torch
from models import model
from torch import nn
from weights.attacks import ATTACKS, BOMBS, FORBIDDEN, TENSOR, call, named, text, whole
from weights.cases import DTYPES, bytes_of, check_equal, opened, sample

from heavytail.errors import SourceError
from heavytail.weights import layout
from heavytail.weights.formats.archive import members
from heavytail.weights.formats.torch.script import read_torchscript
from heavytail.weights.places.files import LocalFile
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Hint

WAYS = pytest.mark.parametrize("way", ["script", "trace"])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Linear(4, 4)  # by its name a wrapper of a checkpoint
        self.optimizer = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.optimizer(self.model(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Block6())
        self.conv = nn.Conv2d(4, 8, 3, groups=2, stride=(2, 1))
        self.up = nn.ConvTranspose1d(4, 6, 2, groups=2)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True)
        self.table = nn.Embedding(7, 3)
        self.pair = nn.Bilinear(2, 3, 4)
        self.norm = nn.BatchNorm1d(6)
        self.again = self.module[0]
        self.tied = nn.Linear(4, 6)
        self.tied.weight = self.again.weight
        self.turned = nn.Parameter(torch.arange(12.0).reshape(3, 4).t())
        self.part = nn.Parameter(torch.arange(40.0).reshape(5, 8)[1:4, 2:7])
        self.register_buffer("steps", torch.arange(3))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.several = nn.ParameterList([nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.zeros(1))])

    def forward(self, x):
        y = self.norm(self.module(x))
        return self.lstm(y)[0].sum() + self.turned.sum() + self.part.sum() + self.again(x).sum() + self.tied(x).sum()


class Block6(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.into, self.out = nn.Linear(6, 4), nn.Linear(4, 6)

    def forward(self, x):
        return self.out(self.block(self.into(x)))


class Extras(nn.Module):
    """Tensors that are neither parameters nor buffers, in all the containers that TorchScript knows."""

    numbers: list[int]
    byname: dict[str, torch.Tensor]
    both: tuple[torch.Tensor, int]

    def __init__(self):
        super().__init__()
        self.lone = torch.arange(6.0).reshape(2, 3)
        self.listed = [torch.ones(2), torch.zeros(3, 1)]
        self.byname = {"a": torch.full((2, 2), 2.0), "b": torch.ones(1)}
        self.both = (torch.full((1, 2), 7.0), 3)
        self.numbers, self.flags, self.reals = [1, 2], [True, False], [0.5]
        self.word, self.none = "x", None

    def forward(self, x):
        return (
            x + self.lone.sum() + self.listed[0].sum() + self.byname["a"].sum() + self.both[0].sum() + self.numbers[0]
        )


def made(way, net, path, x=None):
    """Save a module in one of the ways; give the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.script(net) if way == "script" else torch.jit.trace(net, x)
        program.save(str(path))
    return path


def loaded(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(path)


def check_state(source, state):
    """Every tensor of the state dict is there, by its name, with its bytes."""
    tensors = {t.name: t for t in source.tensors}
    assert len(tensors) == len(source.tensors)
    assert set(state) <= set(tensors)
    for name, value in state.items():
        check_equal(tensors[name], value)
    return tensors


def edited(path, out, edits, **options):
    """Copy an archive; `edits` maps the end of a member's name to its new bytes, None to leave it out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", **options) as new:
        for name in old.namelist():
            data = edits.get(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    return made("script", Net().eval(), tmp_path_factory.mktemp("jit") / "net.pt")


@WAYS
def test_names_and_bytes_are_those_of_the_loaded_module(way, tmp_path):
    path = made(way, Net().eval(), tmp_path / "net.pt", torch.ones(2, 4))
    source = open_source(path)
    assert source.format == "torchscript"
    check_state(source, loaded(path).state_dict())


def test_the_order_of_a_module_is_kept(scripted):
    names = [t.name for t in open_source(scripted).tensors]
    kept = [name for name in loaded(scripted).state_dict()]
    assert [name for name in names if name in kept] == kept


@WAYS
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_byte_for_byte(way, dtype, tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("a", sample(dtype, (5, 4)))
            self.register_buffer("b", sample(dtype, (3, 2, 2), 1).permute(2, 0, 1))
            self.register_buffer("empty", sample(dtype, (0, 3)))
            self.register_buffer("scalar", sample(dtype, ()))

        def forward(self, x):
            return x

    path = made(way, Holder(), tmp_path / "m.pt", torch.ones(1))
    check_state(open_source(path), loaded(path).state_dict())


def test_a_shared_module_and_a_shared_parameter_have_all_their_names_and_one_storage(scripted):
    tensors = {t.name: t for t in open_source(scripted).tensors}
    first, again, tied = (tensors[f"{name}.weight"].storage for name in ("module.0", "again", "tied"))
    assert first == again == tied is not None
    others = [t.storage for t in tensors.values() if t.size and not t.name.startswith(("again", "tied", "lstm._flat"))]
    assert len(set(others)) == len(others)


def test_tensors_that_are_neither_parameters_nor_buffers_are_there(tmp_path):
    net = Extras()
    tensors = {t.name: t for t in open_source(made("script", net, tmp_path / "m.pt")).tensors}
    expected = {"lone": net.lone, "listed.0": net.listed[0], "listed.1": net.listed[1], "both.0": net.both[0]}
    expected |= {f"byname.{key}": value for key, value in net.byname.items()}
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        check_equal(tensors[name], value)


def test_the_weights_of_a_frozen_module_are_its_constants(tmp_path):
    net = nn.Sequential(nn.Linear(4, 6), nn.Conv1d(3, 6, 5), nn.Linear(6, 2, bias=False)).eval()

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net[0](x).sum() + self.net[1](x.reshape(1, 3, -1)).sum() + self.net[2](x[0, :6]).sum()

    path = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(Both().eval())).save(str(path))
    tensors = {t.name: t for t in open_source(path).tensors}
    constants = loaded(path).code_with_constants[1].const_mapping
    assert set(tensors) == {f"constants.{name}" for name in constants}
    for name, value in constants.items():
        check_equal(tensors[f"constants.{name}"], value)
    held = sorted(bytes_of(value) for value in net.state_dict().values())
    assert [b for b in sorted(t.read().tobytes() for t in tensors.values()) if b in held] == held


def test_constants_and_attributes_of_equal_number_are_no_tied_tensors(tmp_path):
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2, 2))
            self.c = torch.full((2, 2), 3.0)

        def forward(self, x):
            return x @ self.w + self.c

    w, c = open_source(made("trace", Adds(), tmp_path / "m.pt", torch.ones(2, 2))).tensors
    assert (w.name, c.name) == ("w", "constants.c0")
    assert w.storage != c.storage
    assert c.read().tolist() == [[3, 3], [3, 3]]


def test_what_a_scripted_class_tells_of_its_weight_is_passed_on(scripted):
    hints = {t.name: t.hint for t in open_source(scripted).tensors if t.hint}
    net = Net()
    assert hints["conv.weight"] == Hint("conv2d", net.conv.groups, net.conv.transposed, net.conv.stride)
    assert hints["up.weight"] == Hint("conv1d", net.up.groups, net.up.transposed, net.up.stride)
    assert hints["table.weight"] == Hint("embedding")
    assert hints["pair.weight"] == Hint("bilinear")
    assert hints["module.2.block.model.weight"] == hints["tied.weight"] == Hint("linear")
    assert hints["lstm.weight_hh_l1_reverse"] == Hint("lstm")
    assert not {"conv.bias", "turned", "norm.weight", "lstm.bias_ih_l0"} & set(hints)


class Zoo(nn.Module):
    """What shapes do not tell: groups, transposition, gates, in one to three dimensions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 12, (3, 5), stride=(2, 1))  # by its shape depthwise
        self.grouped = nn.Conv2d(12, 24, 3, groups=4)
        self.parts = nn.Sequential(
            nn.ConvTranspose2d(24, 16, 4, groups=2, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, groups=16, padding="same"),
            nn.ConvTranspose2d(16, 16, 2, groups=16),
            nn.Conv2d(16, 10, 2, stride=2, padding_mode="circular"),
        )
        self.signal = nn.Conv1d(10, 20, 3, groups=5)
        self.up = nn.ConvTranspose1d(20, 6, 2)
        self.single = nn.ConvTranspose1d(6, 1, 3)
        self.volume = nn.Conv3d(1, 8, (2, 3, 5))
        self.volumes = nn.Conv3d(8, 12, 2, groups=2)
        self.swollen = nn.ConvTranspose3d(12, 9, 2, groups=3, stride=2)
        self.patches = nn.Conv2d(1, 7, 8, stride=8)
        self.table = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.narrow = nn.LSTM(10, 7, proj_size=3, bias=False)
        self.gru = nn.GRU(3, 4, bidirectional=True)
        self.rnn = nn.RNN(8, 5)
        self.pair = nn.Bilinear(5, 5, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, image, words):
        y = self.parts(self.grouped(self.first(image)))
        z = self.single(self.up(self.signal(y.flatten(2))))
        v = self.swollen(self.volumes(self.volume(torch.stack([image] * 5, 2))))
        r = self.rnn(self.gru(self.narrow(self.lstm(self.table(words))[0])[0])[0])[0]
        return self.head(self.pair(r, r)), z, v, self.patches(image)


IMAGE, WORDS = torch.ones(1, 1, 16, 16), torch.arange(4).reshape(1, 4)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(5, 3), nn.GRUCell(3, 2, bias=False), nn.RNNCell(2, 4)

    def forward(self, x):
        return self.rnn(self.gru(self.lstm(x)[0]))


def zoo(how, path, kind=Zoo, inputs=(IMAGE, WORDS)):
    """Save the same module in one of the ways that TorchScript has; give it as it lives."""
    torch.manual_seed(5)
    net = kind().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.trace(net, inputs) if "traced" in how else torch.jit.script(net)
        if "frozen" in how:
            program = torch.jit.freeze(program, optimize_numerics="optimised" in how)
        program.save(str(path))
    return net


def rows(source):
    """Give the rows without their names: kind, sizes and eigenvalues."""
    found = []
    for plan in layout.plan(source.tensors):
        array = plan.tensor.read()
        for part in plan.parts:
            block = array if plan.rows is None else array[part.block * plan.rows : (part.block + 1) * plan.rows]
            values = np.linalg.svd(part.stack(block), compute_uv=False) ** 2
            assert values.shape == (part.count, part.M)
            found.append((part.kind, part.N, part.M, part.count, tuple(np.sort(values, axis=None))))
    return sorted(found)


@pytest.mark.parametrize(
    "how", ["scripted", "traced", "frozen", "frozen optimised", "traced and frozen", "traced and frozen, optimised"]
)
def test_the_rows_of_an_archive_are_those_of_the_live_module(how, tmp_path):
    net = zoo(how, tmp_path / "m.pt")
    source = open_source(tmp_path / "m.pt")
    ours, live = rows(source), rows(open_source(net))
    assert [row[:4] for row in ours] == [row[:4] for row in live]
    for one, other in zip(ours, live, strict=True):
        assert one == other or np.allclose(one[4], other[4], rtol=1e-5, atol=0)  # rows of one shape, in another order
    assert not source.notes
    kernels = {t.shape: t.hint for t in source.tensors if t.hint and t.hint.kind.startswith("conv")}
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            hint = kernels[tuple(module.weight.shape)]
            assert (hint.groups, hint.transposed, hint.stride) == (module.groups, module.transposed, module.stride)


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen", "traced and frozen"])
def test_the_gates_of_cells_are_those_of_the_live_module(how, tmp_path):
    net = zoo(how, tmp_path / "m.pt", Cells, torch.ones(2, 5))
    ours, live = rows(open_source(tmp_path / "m.pt")), rows(open_source(net))
    if how == "traced and frozen":  # torch turns the cells into linear maps, and nothing says what they were
        ours = [row for row in ours if row[1:4] in [(4, 2, 1), (4, 4, 1)]]
        assert {row[0] for row in ours} == {"linear"}
        live = [("linear", *row[1:]) for row in live if row[0] == "rnn"]
    assert ours == live


def test_what_an_optimisation_takes_out_of_an_archive_is_told(tmp_path):
    """It makes weights oneDNN's own, which torch does not save: it cannot load such a file itself."""
    net = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 8, 3, groups=2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.optimize_for_inference(torch.jit.script(net)).save(str(tmp_path / "m.pt"))
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    lost = code.count(b"ConstantMKLDNNTensor()")
    source = open_source(tmp_path / "m.pt")
    left, live = ([row[:4] for row in rows(s)] for s in (source, open_source(net)))
    assert all(left.count(row) <= live.count(row) for row in left)
    if not lost:
        pytest.skip("this build of torch has no oneDNN")
    assert any(note.startswith(f"{lost} tensors are not in the archive") for note in source.notes)
    with pytest.raises(RuntimeError):
        loaded(tmp_path / "m.pt")


class Indirect(nn.Module):
    """Weights that reach their operator through attributes, arguments, casts and functions."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3))
        self.inner = nn.Conv1d(4, 8, 3, groups=2)
        self.groups = 4
        self.wide = nn.Parameter(torch.randn(8, 1, 2))
        self.turned = nn.Parameter(torch.randn(4, 5, 2))
        self.either = nn.Parameter(torch.randn(4, 2, 3))

    def forward(self, x, n: int):
        y = scaled(x, self.kernel.to(torch.float32), 1)
        y = torch.conv1d(y, self.inner.weight, None, groups=2) + scaled(y, self.wide, self.groups)[:, :, 1:]
        y = torch.conv_transpose1d(y[:, :4], self.turned.detach(), stride=2)[:, :4]
        groups = 1
        if n > 2:
            groups = 2
        return torch.conv1d(y, self.either, None, [1], [0], [1], groups)


def scaled(x, weight: torch.Tensor, groups: int):
    return torch.conv1d(2 * x, weight, None, groups=groups)


@WAYS
def test_a_weight_is_followed_to_its_operator(way, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = made(way, Indirect(), tmp_path / "m.pt", (torch.ones(1, 3, 12), torch.tensor(3)))
    source = open_source(path)
    hints = {t.name: t.hint for t in source.tensors}
    assert hints["kernel"] == Hint("conv1d", 1, False, (1,))
    assert hints["wide"] == Hint("conv1d", 4, False, (1,))
    assert hints["inner.weight"] == Hint("conv1d", 2, False, (1,))
    assert hints["turned"] == Hint("conv1d", 1, True, (2,))
    # A trace has taken one branch; a script has both.
    assert hints["either"] == (Hint("conv1d", 2, False, (1,)) if way == "trace" else None)
    assert [note.split(",")[0] for note in source.notes] == (
        [] if way == "trace" else ["1 convolutions have no stated groups"]
    )


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_the_direction_of_a_normalised_kernel_is_laid_out_as_the_kernel(norm, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(norm(nn.ConvTranspose1d(4, 6, 3, groups=2)))
    file = LocalFile(made("trace", net, tmp_path / "m.pt", torch.ones(1, 4, 8)))
    tensors, _ = read_torchscript(file, members(file))
    assert [t.hint for t in tensors if t.shape == (4, 3, 3)] == [Hint("conv1d", 2, True, (1,))]


HEAD = b"class Conv2d(Module):\n  def forward(self: T,\n    g: int) -> Tensor:\n    "
HOSTILE = {
    "nothing": b"",
    "zeros": bytes(1000),
    "no text": bytes(range(256)) * 50,
    "no Python": b"class Conv2d(Module):\n  def forward(self: T,\n    x: Tensor) -> Tensor:\n    return (((\n",
    "only the class": b"class Conv2d(Module):\n  weight : Tensor\n",
    "no such names": HEAD + b"return nowhere.f(self.no.such, a[3], CONSTANTS.c99)\n",
    "no known groups": HEAD + b"return torch.conv2d(g, self.weight, None, 1, 0, 1, g)\n",
    **{
        f"groups {groups.decode()}": HEAD
        + b"return torch.conv2d(0, self.weight, None, [1, 1], [0, 0], [1, 1], "
        + groups
        + b")\n"
        for groups in (b"0", b"-1", b"4", b"True", b"[2]", b'"2"', b"2.0", b"9" * 30, b"10 ** 10 ** 10", b"(" * 300)
    },
    **{
        f"deep {name}": HEAD + b"return " + text + b"\n"
        for name, text in {
            "brackets": b"(" * 5000,
            "calls": b"f(" * 90 + b"1" + b")" * 90,
            "signs": b"-" * 16000 + b"1",
            "attributes": b"self" + b".a" * 900,
            "more attributes": b"self" + b".a" * 8000,
            "sums": b"1" + b"+1" * 500,
        }.items()
    },
    "10 MB": HEAD + b"    a = [b, b, b, b]\n" * 500_000,
    "many statements": HEAD + b"    a;a;a;a;a;a\n" * 65_000,
    "strings of braces": b"class Conv2d(Module):\n  def forward(self: T) -> Tensor:\n    f'"
    + b"{a}" * 300_000
    + b"'\n",
    "calls itself": HEAD + b"    a = (self).forward(self.weight, )\n" * 9,
    "many blocks": b"class Conv2d(Module):\n" * 40_000,
}


@pytest.fixture(scope="module")
def traced_conv(tmp_path_factory):
    path = tmp_path_factory.mktemp("jit") / "net.pt"
    return made("trace", nn.Conv2d(4, 6, 3, groups=2), path, torch.ones(1, 4, 5, 5))


def conv_code(path):
    with zipfile.ZipFile(path) as archive:
        return next(n for n in archive.namelist() if n.endswith(".py")).partition("/")[2]


@pytest.mark.parametrize("name", HOSTILE)
def test_code_that_cannot_be_read_does_no_harm(name, traced_conv, tmp_path):
    out = edited(traced_conv, tmp_path / "m.pt", {conv_code(traced_conv): HOSTILE[name]}, compression=8)
    began = time.process_time()
    source = open_source(out)
    assert time.process_time() - began < 5
    check_state(source, loaded(traced_conv).state_dict())
    assert next(t for t in source.tensors if t.name == "weight").hint is None
    assert source.notes == ("1 convolutions have no stated groups, which are guessed from shapes",)


def test_code_that_is_not_there_leaves_what_the_class_tells(tmp_path):
    for net, x, hint in (
        (nn.ConvTranspose1d(4, 6, 3), torch.ones(1, 4, 5), Hint("conv1d", transposed=True)),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), torch.ones(1, 4, 5, 5), None),  # one input, or depthwise
        (nn.Conv2d(4, 6, 3), torch.ones(1, 4, 5, 5), None),
    ):
        path = made("trace", net, tmp_path / "m.pt", x)
        source = open_source(edited(path, tmp_path / "n.pt", {conv_code(path): None}))
        assert next(t.hint for t in source.tensors if t.name == "weight") == hint
        assert source.notes == ("1 convolutions have no stated groups, which are guessed from shapes",)


def test_the_code_of_a_frozen_module_may_be_damaged_anywhere(tmp_path):
    zoo("frozen", tmp_path / "m.pt")
    member = conv_code(tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        code = archive.read(f"m/{member}")
    names = [t.name for t in open_source(tmp_path / "m.pt").tensors]
    rng = random.Random(3)
    for _ in range(60):
        broken = bytearray(code[: rng.randrange(1, len(code)) if rng.random() < 0.3 else None])
        for _ in range(rng.randrange(1, 40)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randrange(3)] = rng.choice(
                [b"(", b"\n", b":\n", b"0", b",", bytes([rng.randrange(256)])]
            )
        source = open_source(edited(tmp_path / "m.pt", tmp_path / "n.pt", {member: bytes(broken)}))
        assert [t.name for t in source.tensors] == names
        layout.plan(source.tensors)


def test_hints_are_those_of_the_live_module(scripted):
    net = Net().eval()
    live = {t.name: t.hint for t in open_source(net).tensors}
    for tensor in open_source(scripted).tensors:
        if tensor.name in live:
            assert tensor.hint == live[tensor.name], tensor.name


def test_quantised_weights_are_named_with_the_reason(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)).eval(), {nn.Linear})
        path = made("script", net, tmp_path / "m.pt")
    weight, bias = open_source(path).tensors
    assert weight.name.startswith("0._packed_params")
    assert (weight.shape, weight.dtype) == ((3, 4), "qint8")
    assert "quantised (qint8)" in weight.problem
    check_equal(bias, net[0].bias())


def test_weights_of_a_statically_quantised_model_are_named_with_the_reason(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = torch.ao.quantization.QuantWrapper(net)
        wrapped.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
        torch.ao.quantization.prepare(wrapped, inplace=True)
        wrapped(torch.ones(1, 3, 3, 3))
        torch.backends.quantized.engine, engine = "qnnpack", torch.backends.quantized.engine
        try:
            torch.ao.quantization.convert(wrapped, inplace=True)
            path = made("script", wrapped, tmp_path / "m.pt")
            frozen = tmp_path / "f.pt"
            torch.jit.freeze(torch.jit.script(wrapped)).save(str(frozen))
        finally:
            torch.backends.quantized.engine = engine
    for file in (path, frozen):
        problems = {t.shape: t.problem for t in open_source(file).tensors if t.problem}
        assert set(problems) == {(4, 3, 3, 3), (2, 4)}
        assert all("quantised (qint8)" in problem for problem in problems.values())


def test_a_sparse_tensor_has_a_problem_and_the_others_are_read(tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("coo", torch.eye(3, 4).to_sparse())
            self.register_buffer("csr", torch.eye(4, 3).to_sparse_csr())
            self.register_buffer("expanded", torch.arange(3.0).expand(4, 3))
            self.w = nn.Parameter(torch.ones(2, 3))

        def forward(self, x):
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Holder()
    tensors = {t.name: t for t in open_source(made("script", net, tmp_path / "m.pt")).tensors}
    assert set(tensors) == {"coo", "csr", "expanded", "w"}
    assert [tensors[n].shape for n in ("coo", "csr")] == [(3, 4), (4, 3)]
    assert all("sparse" in tensors[n].problem for n in ("coo", "csr"))
    for name in ("expanded", "w"):
        check_equal(tensors[name], getattr(net, name))


def test_blocks_of_an_archive_can_be_pickled(scripted):
    for tensor in open_source(scripted).tensors:
        assert np.array_equal(next(pickle.loads(pickle.dumps(tensor)).blocks(2)), next(tensor.blocks(2)))


def test_an_archive_of_older_layout_is_read(tmp_path, scripted):
    """Storages stood in tensors/ once."""
    out = tmp_path / "old.pt"
    with zipfile.ZipFile(scripted) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("net/data/", "net/tensors/"), old.read(name))
    check_state(open_source(out), loaded(scripted).state_dict())


def test_a_big_endian_archive_is_swapped(tmp_path):
    path = made("script", nn.Linear(3, 2), tmp_path / "m.pt")
    state = loaded(path).state_dict()
    edits = {f"data/{i}": v.detach().numpy().astype(">f4").tobytes() for i, v in enumerate(state.values())}
    check_state(open_source(edited(path, tmp_path / "big.pt", {"byteorder": b"big", **edits})), state)


def test_the_content_decides_and_not_the_extension(tmp_path):
    path = made("script", nn.Linear(3, 2), tmp_path / "m.safetensors")
    check_state(open_source(path), loaded(path).state_dict())


# Damage.


@pytest.mark.parametrize("protect", [True, False])
def test_a_bit_that_flipped_in_a_storage_is_noticed(protect, tmp_path):
    """Everything is as torch wrote it, but for one bit; a file that was told to have no checksums is believed."""
    state = {"w": torch.arange(600.0).reshape(20, 30), "t": torch.arange(1000.0).reshape(25, 40).t()}
    path = tmp_path / "m.pt"
    torch.serialization.set_crc32_options(protect)
    try:
        torch.save(state, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert not isinstance(opened(path), SourceError)
    for name, value in state.items():
        data = bytearray(path.read_bytes())
        at = data.index(bytes_of(value.t() if name == "t" else value)) + 123
        data[at] ^= 8
        (tmp_path / "flipped.pt").write_bytes(data)
        tensors = {t.name: t for t in open_source(tmp_path / "flipped.pt").tensors}
        if protect:
            with pytest.raises(SourceError, match=r"has checksum [0-9a-f]{8}, not the stated one"):
                list(tensors[name].blocks(7))
        else:
            assert sum(b.size for b in tensors[name].blocks(7)) == value.numel()
        other = "w" if name == "t" else "t"
        check_equal(tensors[other], state[other])


def test_a_flipped_bit_in_a_scripted_weight_is_noticed(tmp_path):
    path = made("script", nn.Linear(30, 20), tmp_path / "m.pt")
    data = bytearray(path.read_bytes())
    data[data.index(bytes_of(loaded(path).weight)) + 99] ^= 1
    path.write_bytes(data)
    weight, bias = open_source(path).tensors
    with pytest.raises(SourceError, match="checksum"):
        weight.read()
    assert bias.read().shape == (20,)


def test_a_file_whose_numbers_were_filled_in_later_is_read(tmp_path):
    """torch.serialization.skip_data leaves room for the numbers, which others write there."""
    path = tmp_path / "m.pt"
    with torch.serialization.skip_data():
        torch.save({"w": torch.ones(3, 4)}, path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("m/data/0")
    data = bytearray(path.read_bytes())
    start = (
        info.header_offset
        + 30
        + sum(data[info.header_offset + i] + 256 * data[info.header_offset + i + 1] for i in (26, 28))
    )
    numbers = np.arange(12, dtype="<f4").reshape(3, 4)
    data[start : start + 48] = numbers.tobytes()
    path.write_bytes(data)
    assert np.array_equal(open_source(path).tensors[0].read(), numbers)


def test_a_view_of_a_large_storage_reads_no_more_than_itself(tmp_path, monkeypatch):
    """The sum of a storage needs all its bytes; a row of it must not."""
    from heavytail.weights import ranges

    torch.save({"row": torch.zeros(1000, 1000)[999:]}, tmp_path / "m.pt")
    assert zipfile.ZipFile(tmp_path / "m.pt").getinfo("m/data/0").file_size == 4_000_000
    (row,) = open_source(tmp_path / "m.pt").tensors
    read = []
    fill = ranges.Plain._fill
    monkeypatch.setattr(ranges.Plain, "_fill", lambda s, f, o, b: (read.append(len(b)), fill(s, f, o, b))[1])
    row.read()
    assert sum(read) == 4000


def pickled(scripted, data, out, member="data.pkl"):
    return opened(edited(scripted, out, {member: data}))


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("attack", [*ATTACKS, *BOMBS])
def test_an_attack_in_either_pickle_is_refused(attack, member, scripted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = pickled(scripted, {**ATTACKS, **BOMBS}[attack], tmp_path / "m.pt", member)
    # A container without tensors is no attack on the constants, of which there may be none.
    assert isinstance(error, SourceError) or member == "constants.pkl"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_name_is_told(name, scripted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"asks for the Python object '{name}'" in str(pickled(scripted, FORBIDDEN[name], tmp_path / "m.pt"))
    assert not (tmp_path / "canary").exists()


def test_a_class_of_the_archive_that_is_called_is_refused(scripted, tmp_path):
    tensor = TENSOR + b"(N)))NtR"
    for arguments in ((text("a"), text("b")), (b"]",), (b")",), (b"}",), (b"N",), (tensor,)):
        error = pickled(scripted, whole(call("__torch__.os", "system", *arguments)), tmp_path / "m.pt")
        assert isinstance(error, SourceError), arguments


def test_a_member_of_an_enumeration_is_no_attack(scripted, tmp_path):
    with zipfile.ZipFile(scripted) as archive:
        good = archive.read("net/data.pkl")
    colour = call("__torch__", "Colour", b"K\x01")
    # The new root holds the old one and the member.
    out = edited(scripted, tmp_path / "m.pt", {"data.pkl": good[:-1] + b"\x8c\x01x" + colour + b"s."})
    assert "adds items to what is no container" in str(opened(out))
    assert good[:2] == b"\x80\x02"
    root = b"\x80\x02}\x8c\x03net" + good[2:-1] + b"s\x8c\x06colour" + colour + b"s."
    tensors = open_source(edited(scripted, tmp_path / "n.pt", {"data.pkl": root})).tensors
    assert {t.name for t in tensors} == {f"net.{t.name}" for t in open_source(scripted).tensors}


def test_the_classes_of_an_archive_mean_nothing_in_an_ordinary_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", whole(named("__torch__", "Net") + b")\x81}b"))
    assert "asks for the Python object '__torch__.Net'" in str(opened(tmp_path / "m.pt"))


def test_objects_that_hold_themselves_or_multiply_are_refused(scripted, tmp_path):
    obj = named("__torch__", "N") + b")\x81"
    itself = whole(obj + b"q\x00}" + text("me") + b"h\x00sb")
    assert "nested more than" in str(pickled(scripted, itself, tmp_path / "m.pt"))
    doubled = obj + b"}b"
    for _ in range(60):
        doubled += b"q\x00" + obj + b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00ub"
    assert "far more attributes" in str(pickled(scripted, whole(doubled), tmp_path / "m.pt"))


def test_missing_and_short_storages_are_told(scripted, tmp_path):
    with zipfile.ZipFile(scripted) as archive:
        size = archive.getinfo("net/data/0").file_size
    assert "the storage 'data/0' of tensor 'turned' is missing" in str(
        opened(edited(scripted, tmp_path / "m.pt", {"data/0": None}))
    )
    text = str(opened(edited(scripted, tmp_path / "m.pt", {"data/0": bytes(size - 1)})))
    assert f"has {size - 1} bytes; {size} are stated" in text


def test_a_missing_pickle_is_told(scripted, tmp_path):
    assert "one data.pkl; this one has 0" in str(opened(edited(scripted, tmp_path / "m.pt", {"data.pkl": None})))
    check_state(
        open_source(edited(scripted, tmp_path / "n.pt", {"constants.pkl": None})), loaded(scripted).state_dict()
    )


@pytest.mark.parametrize(
    ("groups", "hint"), [(b"0", 2), (b"3", 2), (b"((((((((", 2), (b"2, 2", 2), (b"2", 2), (b"8", 8)]
)
def test_code_is_text_and_its_constants_are_checked(groups, hint, scripted, tmp_path):
    """A constant that cannot be gives way to the call."""
    with zipfile.ZipFile(scripted) as archive:
        # a class that the process has scripted before, with other constants, has a name of its own
        pattern = r"net/code/__torch__/torch/nn/modules/conv(/___torch_mangle_\d+)?\.py"
        path = next(name for name in archive.namelist() if re.fullmatch(pattern, name))
        member, code = path.removeprefix("net/"), archive.read(path)
    assert b"groups : Final[int] = 2\n" in code
    code = code.replace(b"groups : Final[int] = 2\n", b"groups : Final[int] = " + groups + b"\n", 1)
    out = edited(scripted, tmp_path / "m.pt", {member: code})
    conv = next(t for t in open_source(out).tensors if t.name == "conv.weight")
    assert conv.hint.groups == hint


def test_a_module_of_odd_shapes_gets_no_hint(scripted, tmp_path):
    """The class is the archive's word; a reading of the wrong number of axes would fail later."""
    with zipfile.ZipFile(scripted) as archive:
        data = archive.read("net/data.pkl")
    for kind in ("linear Linear", "sparse Embedding", "linear Bilinear"):
        home, name = kind.split()
        pattern = rf"c__torch__\.torch\.nn\.modules\.{home}(\.___torch_mangle_\d+)?\n{name}\n".encode()
        swapped, count = re.subn(pattern, b"c__torch__.torch.nn.modules.conv\nConv2d\n", data)
        assert count
        hints = {
            t.name: t.hint for t in open_source(edited(scripted, tmp_path / "m.pt", {"data.pkl": swapped})).tensors
        }
        assert hints["conv.weight"].kind == "conv2d"
        assert hints[{"L": "again", "E": "table", "B": "pair"}[name[0]] + ".weight"] is None or name == "Linear"


def test_a_cut_archive_is_refused_wherever_it_is_cut(scripted, tmp_path):
    data = scripted.read_bytes()
    with zipfile.ZipFile(scripted) as archive:
        places = {info.header_offset + d for info in archive.infolist() for d in (0, 4, 30, 64)}
    for at in sorted(places | {1, 100, len(data) - 1, len(data) - 22}):
        if 0 < at < len(data):
            (tmp_path / "m.pt").write_bytes(data[:at])
            assert isinstance(opened(tmp_path / "m.pt"), SourceError), at


def test_every_opcode_of_a_pickle_may_be_damaged(scripted, tmp_path):
    with zipfile.ZipFile(scripted) as archive:
        data = archive.read("net/data.pkl")
    rng = random.Random(7)
    places = [at for _, _, at in pickletools.genops(data)]
    refused = 0
    for at in rng.sample(places, 150):
        broken = data[:at] + rng.choice([bytes([rng.randrange(256)]), b"", b"0", b"N", b"}"]) + data[at + 1 :]
        refused += isinstance(pickled(scripted, broken, tmp_path / "m.pt"), SourceError)
    assert refused > 75


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_random_bytes_of_an_archive_may_be_damaged(count, scripted, tmp_path):
    data, rng = scripted.read_bytes(), random.Random(11)
    outcomes = {True: 0, False: 0}
    for _ in range(count):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.choice([rng.randrange(len(data)), len(data) - 1 - rng.randrange(4096)])
            broken[at] = rng.randrange(256)
        (tmp_path / "m.pt").write_bytes(broken)
        outcomes[isinstance(opened(tmp_path / "m.pt"), SourceError)] += 1
    assert all(outcomes.values()), outcomes


# What is no TorchScript archive, or an older one.


def test_relatives_are_told_with_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt", "w") as archive:
        for name in ("model.json", "attributes.pkl", "tensors/0", "code/m.py", "version"):
            archive.writestr(f"old/{name}", b"")
    assert "is a TorchScript archive of PyTorch 1.2 or older" in str(opened(tmp_path / "old.pt"))

    from torch.package import PackageExporter

    with warnings.catch_warnings(), PackageExporter(tmp_path / "package.pt") as exporter:
        warnings.simplefilter("ignore")
        exporter.extern("torch.**")
        exporter.save_pickle("model", "model.pkl", nn.Linear(2, 2))
    assert "is a torch.package archive" in str(opened(tmp_path / "package.pt"))

    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:  # before PyTorch 2.8
        for name in ("serialized_exported_program.json", "serialized_state_dict.pt", "version"):
            archive.writestr(name, b"")
    assert "is an exported program (torch.export, .pt2)" in str(opened(tmp_path / "old.pt2"))


def test_an_exported_program_is_told_with_what_to_do(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(nn.Linear(4, 3), (torch.ones(1, 4),)), tmp_path / "m.pt2")
    assert "is an exported program (torch.export, .pt2)" in str(opened(tmp_path / "m.pt2"))


def test_bare_pickles_of_every_protocol_are_told(tmp_path):
    for protocol in range(6):
        for obj in ({"w": np.ones((2, 2))}, [np.ones(2)], np.ones(3)):
            (tmp_path / "m.pkl").write_bytes(pickle.dumps(obj, protocol))
            assert "is a bare Python pickle, which can run code" in str(opened(tmp_path / "m.pkl")), (protocol, obj)


def test_a_list_of_words_is_no_pickle(tmp_path):
    """A global is two lines that begin with a c."""
    (tmp_path / "labels.txt").write_text("cat\ndog\npig\nquail\n")
    assert "looks like a text file" in str(opened(tmp_path / "labels.txt"))


# A real model.


def silero():
    return model("silero-vad", "silero_vad/data/silero_vad.jit")


def test_silero_is_what_torch_loads():
    path = silero()
    source = open_source(path)
    state = loaded(path).state_dict()
    tensors = check_state(source, state)
    assert len(state) == 30
    assert set(tensors) - set(state) == {"_state", "_context", "constants.c0"}
    strides = {t.name: t.hint.stride for t in source.tensors if t.hint and t.hint.kind == "conv1d"}
    # The short-time Fourier transform is a convolution too, whose basis is a buffer: 16 and 8 kHz.
    basis = {name: stride for name, stride in strides.items() if name.endswith("forward_basis_buffer")}
    assert list(basis.values()) == [(128,), (64,)]
    assert {strides[name] for name in strides if name not in basis} == {(1,), (2,)}


def test_silero_has_the_weights_of_its_onnx_file():
    """The module for 16 kHz was exported under the same names."""
    onnx = pytest.importorskip("onnx")
    exported = onnx.load(model("silero-vad", "silero_vad/data/silero_vad_16k_op15.onnx"))
    theirs = {f"_{part.name}": onnx.numpy_helper.to_array(part) for part in exported.graph.initializer}
    ours = {t.name: t.read() for t in open_source(silero()).tensors if t.name.startswith("_model.")}
    assert len(ours) == 15
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        assert array.tobytes() == theirs[name].tobytes(), name
