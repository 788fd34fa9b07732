from math import prod

import numpy as np
import pytest
import torch
from cases import FLOATS, gaussian, numpy_type, tensor

from heavytail.weights.layout import plan
from heavytail.weights.tensor import Hint

conv_nd = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
transposed_nd = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}


def planned(arrays, conv="slices", hint=None):
    """Plan a mapping of arrays, or one array."""
    arrays = arrays if isinstance(arrays, dict) else {"layer.weight": arrays}
    return plan([tensor(name, a, hint) for name, a in arrays.items()], conv)


def only(array, conv="slices", hint=None):
    (p,) = planned(array, conv, hint)
    return p


def stack_of(p, part):
    """The part's matrices, from the block of rows that it asks for."""
    blocks = list(p.tensor.blocks(p.rows or p.tensor.shape[0]))
    stack = part.stack(blocks[part.block])
    if not part.operator:
        assert stack.shape[0] == part.count
        assert {*stack.shape[1:]} == {part.N, part.M}
    assert part.N >= part.M
    return stack


def stacks(p):
    return {part.name: stack_of(p, part) for part in p.parts}


def squared(matrices):
    return np.sort(np.concatenate([np.linalg.svd(W, compute_uv=False) ** 2 for W in matrices]))


def same_spectrum(stack, matrices):
    """The pooled eigenvalues agree; a reference may have more zeros, from its own block structure."""
    ours, theirs = squared(stack), squared(matrices)
    zeros = theirs.size - ours.size
    assert zeros >= 0
    np.testing.assert_allclose(ours, theirs[zeros:], atol=1e-10 * theirs[-1])
    assert (theirs[:zeros] < 1e-20 * theirs[-1]).all()


def left_out(array, **more):
    p = only(array, **more)
    assert p.parts == ()
    return p.status, p.reason


# ------------------------------------------------------------------------------------------------- plain matrices


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1), (1, 1)])
@pytest.mark.parametrize("hint", [None, Hint("linear")])
def test_two_axes_are_one_matrix_as_it_stands(shape, hint):
    W = gaussian(*shape)
    p = only(W, hint=hint)
    assert [(part.name, part.kind, part.N, part.M, part.count) for part in p.parts] == [
        ("layer", "linear", max(shape), min(shape), 1)
    ]
    np.testing.assert_array_equal(stacks(p)["layer"], W[None])


@pytest.mark.parametrize(
    "name", ["embed_tokens.weight", "word_embeddings.weight", "tok_embedding", "wte.weight", "h.wpe.weight"]
)
def test_an_embedding_is_labelled_by_the_last_part_of_its_name(name):
    (p,) = planned({name: gaussian(9, 4)})
    assert p.parts[0].kind == "embedding"
    (p,) = plan([tensor("x.weight", gaussian(9, 4), Hint("embedding"))])
    assert p.parts[0].kind == "embedding"


@pytest.mark.parametrize(
    "name",
    [
        "linear_attention.LayerNorm.weight",
        "conv_lstm.embed.weight",
        "Conv2d.weight",
        "gru.linear.weight",
        "embedding.batchnorm.proj.weight",
        "mask.int8.bias.weight",
    ],
)
@pytest.mark.parametrize("shape", [(40, 30), (12, 8, 3), (12, 8, 3, 3), (7,)])
def test_a_layer_that_is_named_like_a_type_is_read_by_its_shape(name, shape):
    # peers.md 2.5: WeightWatcher crashes on a LayerNorm in a module named 'linear_attention'.
    W = gaussian(*shape)
    (ours,) = planned({name: W})
    (plain,) = planned({"layer.weight": W})
    assert ours.status == plain.status
    assert ours.reason == plain.reason
    for a, b in zip(ours.parts, plain.parts, strict=True):
        assert (a.N, a.M, a.count, a.operator, a.block) == (b.N, b.M, b.count, b.operator, b.block)
        np.testing.assert_array_equal(stack_of(ours, a), stack_of(plain, b))
        assert a.name == name.removesuffix(".weight")


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_floating_point_type_is_planned(dtype):
    W = gaussian(6, 5).astype(numpy_type(dtype))
    p = only(W)
    assert stacks(p)["layer"].dtype == W.dtype


# -------------------------------------------------------------------------------------------------------- names


def test_a_row_is_named_after_its_tensor_without_the_trailing_weight():
    W = gaussian(4, 3)
    names = ["a.weight", "b", "weight", "c.weight.weight", "d_weight", "e.table"]
    plans = planned({name: W for name in names})
    assert [p.parts[0].name for p in plans] == ["a", "b", "weight", "c.weight", "d_weight", "e.table"]


def test_two_tensors_never_share_a_row_name():
    W = gaussian(4, 3)
    plans = planned({"a": W, "a.weight": W, "a.weight.weight": W, "b.weight": W[0], "b": W})
    names = [part.name for p in plans for part in p.parts] + [p.name for p in plans if not p.parts]
    assert len(set(names)) == len(names) == 5
    assert {"a", "a.weight", "a.weight.weight", "b", "b.weight"} == set(names)


def test_there_is_one_plan_a_tensor_in_the_order_of_the_source():
    arrays = {f"t{i}": gaussian(*shape) for i, shape in enumerate([(3,), (4, 3), (), (2, 2, 3), (0, 4), (9, 3)])}
    assert [p.tensor.name for p in planned(arrays)] == list(arrays)


# ------------------------------------------------------------------------------------------------ what is left out


@pytest.mark.parametrize(
    ("array", "status", "text"),
    [
        (np.ones(7), "skipped", "a vector of 7"),
        (np.ones(()), "skipped", "a scalar"),
        (np.ones((1, 1, 9)), "skipped", "a vector of 9"),
        (np.ones((0, 5)), "skipped", "empty, shape (0, 5)"),
        (np.ones((5, 0, 3)), "skipped", "empty, shape (5, 0, 3)"),
        (np.ones((4, 4), bool), "skipped", "mask"),
        (np.ones((4, 4), np.int64), "skipped", "indices"),
        (np.ones((4, 4), np.int8), "unsupported", "int8 without scales"),
        (np.ones((4, 4), np.uint8), "unsupported", "uint8 without scales"),
        (np.ones((4, 4), np.int32), "skipped", "16 integers: sizes or indices"),
        (np.ones((40, 4), np.int32), "unsupported", "int32 without scales"),
        (np.ones((4, 4), np.complex64), "unsupported", "complex"),
        (np.ones((4, 4), np.complex128), "unsupported", "complex"),
        (np.ones((2, 2, 2, 2, 2, 2)), "unsupported", "6 axes, shape (2, 2, 2, 2, 2, 2)"),
    ],
)
def test_what_is_no_weight_matrix_is_left_out_with_a_reason(array, status, text):
    seen, reason = left_out(array)
    assert seen == status
    assert text in reason


@pytest.mark.parametrize("shape", [(9, 1, 1), (1, 9, 1)])  # (channels, 1, 1) is the layer scale of ConvNeXt
def test_three_axes_of_which_one_is_longer_than_one_are_a_vector(shape):
    assert left_out(np.ones(shape)) == ("skipped", "a vector of 9")


def test_a_tensor_that_cannot_be_read_is_left_out_with_its_problem():
    (p,) = plan([tensor("a", gaussian(4, 3), problem="it is quantised")])
    assert (p.status, p.reason, p.parts) == ("unsupported", "it is quantised", ())


def test_tied_tensors_have_one_row_and_the_second_names_the_first():
    W = gaussian(9, 4)
    tensors = [
        tensor("embed.weight", W, storage="here"),
        tensor("other.weight", gaussian(9, 4), storage="there"),
        tensor("head.weight", W, storage="here"),
        tensor("again", W, storage="here"),
        tensor("reshaped", W.reshape(4, 9), storage="here"),
        tensor("untold", W),
        tensor("untold too", W),
    ]
    plans = plan(tensors)
    assert [bool(p.parts) for p in plans] == [True, True, False, False, True, True, True]
    for p in (plans[2], plans[3]):
        assert (p.status, p.kind) == ("skipped", "tied")
        assert p.reason == "tied to 'embed', which has a row of its own"


# ---------------------------------------------------------------------------------------------------- convolutions


def dense_of_convolution(kernel, groups):
    """The (out, in, k...) kernel of the ungrouped convolution, by torch: its answer to every unit image."""
    d = kernel.ndim - 2
    inputs, widths = kernel.shape[1] * groups, kernel.shape[2:]
    units = torch.eye(inputs * prod(widths), dtype=torch.float64).reshape(-1, inputs, *widths)
    answer = conv_nd[d](units, torch.as_tensor(kernel), groups=groups)  # (units, out, 1...)
    return answer.reshape(len(units), -1).T.reshape(-1, inputs, *widths).numpy()


def dense_of_transposed(kernel, groups):
    """The same of a transposed convolution, whose kernel is stored as (in, out / groups, k...)."""
    d = kernel.ndim - 2
    inputs = kernel.shape[0]
    units = torch.eye(inputs, dtype=torch.float64).reshape(inputs, inputs, *[1] * d)
    return transposed_nd[d](units, torch.as_tensor(kernel), groups=groups).transpose(0, 1).numpy()


def slices_of(dense):
    out, inputs, *widths = dense.shape
    return [dense.reshape(out, inputs, -1)[:, :, p] for p in range(prod(widths))]


def unfolded(dense):
    return [dense.reshape(len(dense), -1)]


WIDTHS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("first", "second"), [(8, 3), (4, 6), (4, 1)])
@pytest.mark.parametrize("conv", ["slices", "unfold"])
def test_a_convolution_has_the_matrices_of_its_dense_block_diagonal_form(d, groups, first, second, transposed, conv):
    kernel = gaussian(first, second, *WIDTHS[d])
    p = only(kernel, conv, Hint(f"conv{d}d", groups, transposed, (1,) * d))
    (part,) = p.parts
    dense = (dense_of_transposed if transposed else dense_of_convolution)(kernel, groups)
    depthwise = groups == len(dense) == dense.shape[1] > 1  # its filters are never cut into single numbers
    slices = conv == "slices" and not depthwise
    same_spectrum(stack_of(p, part), (slices_of if slices else unfolded)(dense))
    assert part.count == groups * (prod(WIDTHS[d]) if slices else 1)
    label = f"conv_transpose{d}d" if transposed else f"conv{d}d"
    assert part.kind == ("depthwise" if depthwise else label)


@pytest.mark.parametrize("shape", [(8, 3, 3), (5, 6, 3, 3), (6, 4, 1, 1), (5, 4, 2, 3, 3), (64, 32, 7), (40, 50, 2)])
def test_a_checkpoint_s_convolution_is_read_as_torch_reads_it(shape):
    kernel = gaussian(*shape)
    for conv, reference in (("slices", slices_of), ("unfold", unfolded)):
        p = only(kernel, conv)
        same_spectrum(stacks(p)["layer"], reference(dense_of_convolution(kernel, 1)))
        assert p.parts[0].kind == f"conv{len(shape) - 2}d"


def test_even_kernels_with_more_inputs_than_outputs_keep_their_sides():
    # peers.md, case 18: N and M are swapped back there, so that Q = 0.5.
    (part,) = only(gaussian(16, 32, 2, 2)).parts
    assert (part.N, part.M, part.count) == (32, 16, 4)


@pytest.mark.parametrize("shape", [(12, 1, 3), (14, 1, 3, 3), (16, 1, 2, 2, 2)])
@pytest.mark.parametrize("conv", ["slices", "unfold"])
def test_a_depthwise_kernel_is_one_filter_a_channel_and_not_one_matrix_a_position(shape, conv):
    # peers.md, case 16: (C, 1, 3, 3) gives 9 "eigenvalues" there.
    kernel = gaussian(*shape)
    positions = prod(shape[2:])
    _, p = planned({"stem.weight": gaussian(8, 3, 3, 3), "layer.weight": kernel}, conv)
    (part,) = p.parts
    assert (part.kind, part.N, part.M, part.count) == ("depthwise", positions, 1, shape[0])
    norms = np.square(kernel).reshape(shape[0], -1).sum(axis=1)
    np.testing.assert_allclose(squared(stack_of(p, part)), np.sort(norms))
    same_spectrum(stack_of(p, part), unfolded(dense_of_convolution(kernel, shape[0])))


def test_a_depthwise_kernel_that_is_named_before_the_stem_is_depthwise():
    # As in a file sorted by name: 'blocks' stands before 'conv_stem', and the stem takes a colour image.
    state = {"blocks.0.conv_dw.weight": gaussian(32, 1, 3, 3), "conv_stem.weight": gaussian(32, 3, 3, 3)}
    assert [p.parts[0].kind for p in planned(state)] == ["depthwise", "conv2d"]


@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
@pytest.mark.parametrize("hint", [None, Hint("conv2d", stride=(16, 16))])
def test_a_patch_embedding_is_one_matrix(conv, hint):
    # peers.md, case 17: a ViT's 3 -> 768, 16 x 16 is read as 256 matrices of 768 x 3 there.
    kernel = gaussian(768, 3, 16, 16).astype(np.float32)
    p = only(kernel, conv, hint)
    (part,) = p.parts
    assert (part.kind, part.N, part.M, part.count) == ("patch_embedding", 768, 768, 1)
    np.testing.assert_array_equal(stack_of(p, part)[0], kernel.reshape(768, 768))


@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (64, 3, 11, 11), (32, 3, 3, 3), (64, 3, 4, 4), (512, 512, 10)])
def test_other_first_layers_are_no_patch_embeddings(shape):
    (part,) = only(np.zeros(shape, np.float32)).parts
    assert part.kind.startswith("conv")
    assert part.count == prod(shape[2:])


def test_a_module_s_overlapping_convolution_is_no_patch_embedding():
    (part,) = only(np.zeros((64, 3, 8, 8)), hint=Hint("conv2d", stride=(4, 4))).parts
    assert part.kind == "conv2d"


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 16, 3, 3), (32, 3, 5, 5), (30, 20, 1, 1), (16, 12, 3, 5, 3)])
@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
def test_keras_s_order_of_the_axes_gives_the_matrices_of_torch_s(shape, conv):
    # models.md section 4, trap 8: Keras stores HWIO, torch OIHW.
    kernel = gaussian(*shape)
    keras = np.ascontiguousarray(np.moveaxis(kernel, (0, 1), (-1, -2)))
    assert keras.shape[-2:] == (shape[1], shape[0])
    ours, theirs = only(keras, conv), only(kernel, conv)
    a, b = ours.parts[0], theirs.parts[0]
    assert (a.kind, a.N, a.M, a.count, a.operator) == (b.kind, b.N, b.M, b.count, b.operator)
    np.testing.assert_array_equal(stack_of(ours, a), stack_of(theirs, b))


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (8, 1, 5, 5), (16, 1, 9, 9)])
def test_a_small_first_convolution_of_torch_is_not_taken_for_keras_s(shape):
    # LeNet-5's first layer. The last two sides are equal and the first two are not, so these are the kernel.
    (part,) = only(gaussian(*shape), "unfold").parts
    # It is the first kernel of its model, so its one input is a grey image and not a channel of its own.
    assert (part.kind, part.N, part.M, part.count) == ("conv2d", prod(shape[2:]), shape[0], 1)


@pytest.mark.parametrize("shape", [(16, 16, 1, 3), (16, 16, 3, 1), (32, 32, 1, 7), (24, 24, 5, 1)])
def test_a_flat_kernel_between_equal_channels_is_read_as_torch_reads_it(shape):
    # Factorised convolutions: ERFNet's blocks of 16 channels, Inception's 1 x 7.
    (part,) = only(gaussian(*shape)).parts
    assert (part.N, part.M, part.count) == (shape[0], shape[0], prod(shape[2:]))


@pytest.mark.parametrize(
    ("shape", "groups", "transposed", "expected"),
    [
        ((8, 3, 3, 3), 1, False, (1, 8, 3, 3, 3)),
        ((8, 3, 3), 2, False, (2, 4, 3, 3)),
        ((8, 3, 3, 3), 1, True, (1, 3, 8, 3, 3)),
        ((8, 3, 2, 2, 2), 4, True, (4, 3, 2, 2, 2, 2)),
    ],
)
def test_an_operator_gets_its_kernels_group_by_group(shape, groups, transposed, expected):
    kernel = gaussian(*shape)
    p = only(kernel, "operator", Hint("conv", groups, transposed, (1,) * (len(shape) - 2)))
    (part,) = p.parts
    assert part.operator
    assert part.count == groups
    stack = stack_of(p, part)
    assert stack.shape == expected
    dense = (dense_of_transposed if transposed else dense_of_convolution)(kernel, groups)
    out, into = expected[1:3]
    for g in range(groups):  # groups are the diagonal blocks of the dense kernel
        np.testing.assert_allclose(stack[g], dense[g * out : (g + 1) * out, g * into : (g + 1) * into])


# ------------------------------------------------------------------------------------------------- fused projections


@pytest.mark.parametrize(
    "name", ["attn.in_proj_weight", "in_proj_weight", "blocks.0.attn.qkv.weight", "x.qkv_proj.weight", "x.Wqkv.weight"]
)
def test_rows_of_query_key_and_value_are_three_matrices(name):
    W = gaussian(30, 10)
    (p,) = planned({name: W})
    row = name.removesuffix(".weight")
    found = stacks(p)
    assert list(found) == [f"{row}:q", f"{row}:k", f"{row}:v"]
    for got, expected in zip(found.values(), np.split(W, 3), strict=True):
        np.testing.assert_array_equal(got, expected[None])
    assert {part.kind for part in p.parts} == {"qkv"}


def test_columns_of_query_key_and_value_are_three_matrices():
    W = gaussian(10, 30)  # GPT-2's Conv1D stores (in, out)
    (p,) = planned({"h.0.attn.c_attn.weight": W})
    found = stacks(p)
    assert list(found) == [f"h.0.attn.c_attn:{part}" for part in "qkv"]
    for got, expected in zip(found.values(), np.split(W, 3, axis=1), strict=True):
        np.testing.assert_array_equal(got, expected[None])


def test_a_multihead_attention_is_split_as_torch_splits_it():
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(12, 3)
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    parts = {name: s for p in planned(state) for name, s in stacks(p).items()}
    q, k, v = module.in_proj_weight.detach().chunk(3)
    for name, expected in (("q", q), ("k", k), ("v", v)):
        np.testing.assert_array_equal(parts[f"in_proj_weight:{name}"], expected.numpy()[None])
    assert "out_proj" in parts


@pytest.mark.parametrize(
    ("name", "shape"),
    [("attn.qkv.weight", (25, 10)), ("attn.qkv.weight", (10, 10)), ("mlp.fc.weight", (30, 10)), ("qkvx", (30, 10))],
)
def test_what_is_not_three_times_as_long_or_not_so_named_stays_whole(name, shape):
    (p,) = planned({name: gaussian(*shape)})
    assert [(part.N, part.M) for part in p.parts] == [(max(shape), min(shape))]


# ------------------------------------------------------------------------------------------------------------ gates


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("kind", "letters"), [("LSTM", "ifgo"), ("GRU", "rzn")])
@pytest.mark.parametrize("hinted", [False, True])
def test_gates_are_matrices_of_their_own_in_torch_s_order(kind, letters, bidirectional, hinted):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(7, 5, num_layers=2, bidirectional=bidirectional)
    state = {f"net.{name}": value.detach().numpy() for name, value in module.state_dict().items()}
    hint = Hint(kind.lower()) if hinted else None
    plans = [p for p in planned(state, hint=hint) if p.parts]
    weights = [name for name in state if "weight" in name]
    assert [p.tensor.name for p in plans] == weights
    for p in plans:
        found = stacks(p)
        assert list(found) == [f"{p.tensor.name}:{letter}" for letter in letters]
        for got, expected in zip(found.values(), np.split(state[p.tensor.name], len(letters)), strict=True):
            np.testing.assert_array_equal(got, expected[None])
        assert {part.kind for part in p.parts} == {kind.lower()}


def test_gates_of_an_lstm_with_a_projection_have_the_hidden_size():
    module = torch.nn.LSTM(7, 6, proj_size=4)
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    shapes = {name: s.shape for p in planned(state) for name, s in stacks(p).items()}
    assert shapes["weight_ih_l0:g"] == (1, 6, 7)
    assert shapes["weight_hh_l0:o"] == (1, 6, 4)
    assert shapes["weight_hr_l0"] == (1, 4, 6)
    assert len(shapes) == 9


@pytest.mark.parametrize(("cell", "gates"), [("LSTMCell", 4), ("GRUCell", 3), ("RNNCell", 1)])
def test_cells_are_split_as_layers_are(cell, gates):
    state = {f"c.{n}": v.detach().numpy() for n, v in getattr(torch.nn, cell)(7, 5).state_dict().items()}
    names = [part.name for p in planned(state) for part in p.parts]
    assert len(names) == 2 * gates
    if gates == 1:
        assert names == ["c.weight_ih", "c.weight_hh"]


def test_a_lone_gate_tensor_is_one_matrix():
    (p,) = planned({"lstm.weight_ih_l0": gaussian(20, 7)})
    assert [(part.name, part.N, part.M) for part in p.parts] == [("lstm.weight_ih_l0", 20, 7)]


# ---------------------------------------------------------------------------------------------------------- experts


def test_a_stack_of_experts_is_one_row_an_expert():
    W = gaussian(4, 50, 40)
    p = only(W)
    assert p.rows == 1  # so that one expert at a time is read
    found = stacks(p)
    assert list(found) == [f"layer:{e}" for e in range(4)]
    for e, got in enumerate(found.values()):
        np.testing.assert_array_equal(got[0], W[e])
    assert {part.kind for part in p.parts} == {"expert"}


def test_a_leading_axis_of_one_is_dropped():
    W = gaussian(1, 50, 40)
    p = only(W)
    assert [(part.name, part.N, part.M, part.count) for part in p.parts] == [("layer", 50, 40, 1)]
    np.testing.assert_array_equal(stacks(p)["layer"], W)
    (part,) = only(gaussian(1, 5, 40)).parts
    assert (part.N, part.M) == (40, 5)


@pytest.mark.parametrize("shape", [(64, 50, 3), (50, 50, 32), (33, 33, 33), (64, 40, 40)])
def test_a_one_dimensional_convolution_is_not_taken_for_experts(shape):
    (part,) = only(np.zeros(shape)).parts
    assert (part.kind, part.count) == ("conv1d", shape[2])


def test_a_module_s_convolution_is_never_taken_for_experts():
    (part,) = only(np.zeros((10, 40, 50)), hint=Hint("conv1d", stride=(1,))).parts
    assert (part.kind, part.N, part.M, part.count) == ("conv1d", 40, 10, 50)


# ------------------------------------------------------------------------------------------------- nothing is touched


@pytest.mark.parametrize("shape", [(30, 10), (8, 4, 3), (16, 8, 3, 3), (3, 3, 8, 16), (4, 50, 40)])
@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
def test_every_number_is_in_exactly_one_matrix(shape, conv):
    W = np.arange(prod(shape), dtype=float).reshape(shape)
    for name in ("layer.weight", "qkv.weight"):
        (p,) = planned({name: W}, conv)
        seen = np.concatenate([s.ravel() for s in stacks(p).values()])
        np.testing.assert_array_equal(np.sort(seen), W.ravel())


def test_nothing_is_read_while_planning():
    def explode(rows):
        raise AssertionError("read")

    t = tensor("a", gaussian(5, 4))
    plan([type(t)("a", (5, 4), "float32", explode), type(t)("b", (5, 4, 3, 3), "bfloat16", explode)])
