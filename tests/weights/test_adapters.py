"""LoRA adapters: each layer's factors become what is added to its weight."""

import json
import pickle
import random
import time
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import torch
from cases import gaussian
from safetensors.numpy import save_file
from torch.nn import functional

from heavytail.errors import SourceError
from heavytail.weights.adapters import base_name, merged
from heavytail.weights.layout import plan
from heavytail.weights.source import open_source

QUERY = "base_model.model.model.layers.0.self_attn.q_proj"


def factors(module=QUERY, rows=30, columns=20, rank=4, seed=0, dtype=np.float32, adapter=""):
    """The two factors of a linear layer, as PEFT names them."""
    middle = f".{adapter}" if adapter else ""
    return {
        f"{module}.lora_A{middle}.weight": gaussian(rank, columns, seed=2 * seed).astype(dtype),
        f"{module}.lora_B{middle}.weight": gaussian(rows, rank, seed=2 * seed + 1).astype(dtype),
    }


def adapter(folder, tensors, config=None):
    """An adapter as PEFT saves it."""
    folder.mkdir(exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "adapter_model.safetensors"
    )
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    return folder


def opened(tensors, folder=None, config=None):
    """The tensors and the notes of a source."""
    source = open_source(tensors if folder is None else adapter(folder, tensors, config))
    return {tensor.name: tensor for tensor in source.tensors}, source.notes


def product(tensors, module=QUERY):
    """B A, in float64."""
    A, B = (tensors[f"{module}.lora_{side}.weight"].astype(np.float64) for side in "AB")
    return B @ A


# ------------------------------------------------------------------------------------------------------------ PEFT


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_an_adapter_folder_gives_one_matrix_for_each_layer(tmp_path, dtype):
    modules = [f"base_model.model.model.layers.{i}.mlp.{m}" for i in range(6) for m in ("up_proj", "down_proj")]
    tensors = {}
    for i, module in enumerate(modules):
        tensors |= factors(module, rank=8, seed=i, dtype=dtype)
    found, notes = opened(tensors, tmp_path / "a", {"lora_alpha": 16, "r": 8})
    assert notes == ("a LoRA adapter of 12 layers, rank 8, scaling 2",)
    assert set(found) == {f"{module.removeprefix('base_model.model.')}.weight" for module in modules}
    for module in modules:
        delta = found[f"{module.removeprefix('base_model.model.')}.weight"]
        np.testing.assert_allclose(delta.read(), 2 * product(tensors, module), rtol=1e-13, atol=1e-13)
        assert (delta.shape, delta.dtype, delta.stored) == ((30, 20), "float64", np.dtype(dtype).name)
        assert delta.packed == np.dtype(dtype).itemsize * 8 * (30 + 20)
    rows = plan(found.values())
    assert [row.parts[0].kind for row in rows] == ["lora"] * 12
    assert not any("lora_" in row.parts[0].name for row in rows)


def test_a_single_file_is_read_with_the_configuration_beside_it(tmp_path):
    tensors = factors()
    folder = adapter(tmp_path / "a", tensors, {"lora_alpha": 6, "r": 4})
    source = open_source(folder / "adapter_model.safetensors")
    assert any(tensor.factors for tensor in source.tensors)
    assert [file.name for file in source.opened] == ["adapter_model.safetensors", "adapter_config.json"]
    np.testing.assert_allclose(source.tensors[0].read(), 1.5 * product(tensors), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_product_is_read_in_blocks_and_can_be_sent_to_other_processes(tmp_path, rows):
    tensors = factors()
    (delta,) = opened(tensors, tmp_path / "a", {"lora_alpha": 4})[0].values()
    blocks = list(pickle.loads(pickle.dumps(delta)).blocks(rows))
    assert max(map(len, blocks)) <= rows
    np.testing.assert_allclose(np.concatenate(blocks), product(tensors), rtol=1e-13, atol=1e-13)


def test_the_factors_are_at_hand(tmp_path):
    tensors = factors()
    (delta,) = opened(tensors, tmp_path / "a", {"lora_alpha": 2})[0].values()
    held = delta.factors
    assert (held.left.shape, held.right.shape, held.scale, held.rank) == ((30, 4), (4, 20), 0.5, 4)
    np.testing.assert_array_equal(held.left.read(), tensors[f"{QUERY}.lora_B.weight"])
    np.testing.assert_array_equal(held.right.read(), tensors[f"{QUERY}.lora_A.weight"])


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 16, "r": 4}, 4.0),
        ({"lora_alpha": 16, "r": 4, "use_rslora": True}, 8.0),
        ({"lora_alpha": 16, "r": 64}, 4.0),  # the rank is that of the factors
        ({"lora_alpha": 16, "alpha_pattern": {"q_proj": 32}}, 8.0),
        ({"lora_alpha": 16, "alpha_pattern": {"k_proj": 32}}, 4.0),
        ({"lora_alpha": 16, "alpha_pattern": {"proj": 32}}, 4.0),  # whole parts of the name only
        ({"lora_alpha": 16, "alpha_pattern": {"self_attn.q_proj": 32}}, 8.0),
        ({"lora_alpha": 16, "alpha_pattern": {"model.layers.0.self_attn.q_proj": 32}}, 8.0),
        ({"lora_alpha": 16, "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 32}}, 8.0),
        ({"lora_alpha": 16, "alpha_pattern": {r"layers\.\d+\.self_attn\.(q|k)_proj": 32}}, 8.0),
        ({"lora_alpha": 16, "alpha_pattern": {r"layers\.[1-9]\.self_attn\..*": 32}}, 4.0),
        ({"lora_alpha": 16, "alpha_pattern": {".*_proj": 32, "q_proj": 64}}, 8.0),  # the first that matches
        ({"lora_alpha": 16, "alpha_pattern": {"q_proj": 32}, "use_rslora": True}, 16.0),
        ({"lora_alpha": 16, "rank_pattern": {"q_proj": 4}, "r": 8}, 4.0),
        ({"lora_alpha": 0}, 0.0),
        ({"lora_alpha": -2.0}, -0.5),
    ],
)
def test_the_scaling_is_what_peft_makes_of_the_configuration(tmp_path, config, scale):
    tensors = factors()
    found, notes = opened(tensors, tmp_path / "a", config)
    (delta,) = found.values()
    assert delta.factors.scale == scale
    np.testing.assert_allclose(delta.read(), scale * product(tensors), rtol=1e-13, atol=1e-13)
    assert notes == (f"a LoRA adapter of 1 layer, rank 4, scaling {scale:g}",)


def test_ranks_and_scalings_that_differ_are_told_as_ranges(tmp_path):
    tensors = factors("base_model.model.a", rank=4) | factors("base_model.model.b", rank=8)
    notes = opened(tensors, tmp_path / "a", {"lora_alpha": 4})[1]
    assert notes == ("a LoRA adapter of 2 layers, rank 4 to 8, scaling 0.5 to 1",)


def test_several_adapters_of_one_model_are_named_and_counted_apart():
    tensors = factors("a", adapter="default") | factors("b", adapter="default", rank=2)
    tensors |= factors("a", adapter="speech", rank=8)
    first = "'default' of 2 layers, rank 2 to 4, scaling 1; 'speech' of 1 layer, rank 8, scaling 1"
    assert opened(tensors)[1] == (
        f"2 LoRA adapters: {first}",
        "the scaling of 3 layers is not known (no adapter_config.json beside them); it is taken to be 1",
    )
    tensors |= factors("c") | factors("a", adapter="x") | factors("a", adapter="y")
    assert opened(tensors)[1][0] == (
        f"5 LoRA adapters: {first}; one without a name of 1 layer, rank 4, scaling 1 and 2 more"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no adapter_config.json beside them"),
        ("{}", "adapter_config.json has no lora_alpha"),
        ('{"r": 4, "lora_alpha": null, "alpha_pattern": null}', "adapter_config.json has no lora_alpha"),
        ('{"alpha_pattern": {"k_proj": 8}}', "adapter_config.json has no lora_alpha"),
    ],
)
def test_without_a_scaling_it_is_1_and_a_note_says_so(tmp_path, text, why):
    folder = adapter(tmp_path / "a", factors())
    if text is not None:
        (folder / "adapter_config.json").write_text(text)
    source = open_source(folder)
    assert source.tensors[0].factors.scale == 1
    assert source.notes[1] == f"the scaling of 1 layer is not known ({why}); it is taken to be 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged, the configuration cannot be read: Expecting value"),
        ("{", "damaged, the configuration cannot be read: "),
        ('{"lora_alpha": 16, "r"', "damaged, the configuration cannot be read: "),
        ("lora_alpha: 16", "damaged, the configuration cannot be read: "),
        ('{"lora_alpha": 1' + 5000 * "0" + "}", "damaged, the configuration cannot be read: "),
        ("[" * 100_000, "damaged, the configuration cannot be read: "),
        ("[1]", "its content is [1]; an object is expected"),
        ("null", "its content is None; an object is expected"),
        ('{"lora_alpha": "x"}', "lora_alpha is 'x'; a number is expected"),
        ('{"lora_alpha": "16"}', "lora_alpha is '16'; a number is expected"),
        ('{"lora_alpha": true}', "lora_alpha is True; a number is expected"),
        ('{"lora_alpha": [16]}', "lora_alpha is [16]; a number is expected"),
        ('{"lora_alpha": NaN}', "lora_alpha is nan; a finite number is expected"),
        ('{"lora_alpha": -1e999}', "lora_alpha is -inf; a finite number is expected"),
        ('{"lora_alpha": 1' + 400 * "0" + "}", "...; a finite number is expected"),
        ('{"r": "8"}', "r is '8'; a number is expected"),
        ('{"use_rslora": "true"}', "use_rslora is 'true'; true or false is expected"),
        ('{"use_rslora": 1}', "use_rslora is 1; true or false is expected"),
        ('{"fan_in_fan_out": "no"}', "fan_in_fan_out is 'no'; true or false is expected"),
        ('{"rank_pattern": [["q_proj", 4]]}', "rank_pattern is [['q_proj', 4]]; an object of numbers is expected"),
        ('{"alpha_pattern": "q_proj"}', "alpha_pattern is 'q_proj'; an object of numbers is expected"),
        ('{"alpha_pattern": {"q_proj": "x"}}', "alpha_pattern of 'q_proj' is 'x'; a number is expected"),
        ('{"rank_pattern": {"q_proj": {}}}', "rank_pattern of 'q_proj' is {}; a number is expected"),
        ('{"peft_type": 3}', "peft_type is 3; a name is expected"),
    ],
)
def test_a_configuration_that_says_nothing_sure_is_refused_in_one_line_that_names_it(tmp_path, text, said):
    folder = adapter(tmp_path / "a", factors())
    (folder / "adapter_config.json").write_text(text)
    for path in (folder, folder / "adapter_model.safetensors"):
        with pytest.raises(SourceError) as info:
            open_source(path)
        line = str(info.value)
        assert line.startswith(f"{folder / 'adapter_config.json'}: ")
        assert said in line
        assert line.isprintable()
        assert len(line) < len(str(folder)) + 300


@pytest.mark.parametrize("kind", ["LOHA", "LOKR", "IA3", "ADALORA", "OFT", "of the future"])
def test_factors_of_another_kind_of_adapter_stay_as_they_are_and_a_note_says_why(tmp_path, kind):
    tensors = factors()
    # Of AdaLoRA the ranks are lists.
    config = {"peft_type": kind, "lora_alpha": 16, "rank_pattern": {QUERY: [True, False]}}
    folder = adapter(tmp_path / "a", tensors, config)
    source = open_source(folder)
    assert source.notes == (
        f"adapter_config.json says peft_type '{kind}', which is not known to be a product B A: no factors are joined",
    )
    assert not any(tensor.factors for tensor in source.tensors)
    assert [file.name for file in source.opened] == ["adapter_model.safetensors", "adapter_config.json"]
    assert {tensor.name for tensor in source.tensors} == set(tensors)
    for tensor in source.tensors:
        np.testing.assert_array_equal(tensor.read(), tensors[tensor.name])


def test_a_configuration_without_a_type_is_that_of_lora(tmp_path):
    folder = adapter(tmp_path / "a", factors())
    (folder / "adapter_config.json").write_text('{"lora_alpha": 8}')
    assert open_source(folder).tensors[0].factors.scale == 2


def test_names_of_adapters_as_a_live_model_has_them():
    one = factors(adapter="default")
    assert list(opened(one)[0]) == ["model.layers.0.self_attn.q_proj.weight"]
    two = one | factors(adapter="speech", seed=1)
    assert list(opened(two)[0]) == [
        "model.layers.0.self_attn.q_proj.default.weight",
        "model.layers.0.self_attn.q_proj.speech.weight",
    ]


def test_a_live_model_with_adapters_is_read_as_its_state_dict_is():
    class Adapted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base_layer = torch.nn.Linear(20, 30, bias=False)
            self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(20, 4, bias=False)})
            self.lora_B = torch.nn.ModuleDict({"default": torch.nn.Linear(4, 30, bias=False)})

    model = torch.nn.ModuleDict({"q_proj": Adapted()})
    for source in (open_source(model), open_source(model.state_dict())):
        found = {tensor.name: tensor for tensor in source.tensors}
        assert set(found) == {"q_proj.base_layer.weight", "q_proj.weight"}
        layer = model["q_proj"]
        want = (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach().numpy()
        np.testing.assert_allclose(found["q_proj.weight"].read(), want, rtol=1e-5, atol=1e-6)


def test_a_base_weight_in_the_same_source_keeps_its_name():
    base = gaussian(30, 20)
    found, _ = opened({"a.weight": base, **factors("a")})
    assert set(found) == {"a.weight", "a.delta.weight"}
    np.testing.assert_array_equal(found["a.weight"].read(), base)


def test_the_change_of_an_embedding_is_laid_out_as_the_embedding(tmp_path):
    A, B = gaussian(4, 100, seed=1).astype(np.float32), gaussian(12, 4, seed=2).astype(np.float32)
    for middle in ("", ".default"):
        tensors = {f"base_model.model.emb.lora_embedding_{s}{middle}": t for s, t in (("A", A), ("B", B))}
        (delta,) = opened(tensors, tmp_path / "a", {"lora_alpha": 8})[0].values()
        assert delta.name == "emb.weight"
        tokens = torch.tensor([3, 99, 0])
        # Hu et al.'s embedding adds B times the looked-up columns of A.
        want = functional.embedding(tokens, torch.from_numpy(A.T.copy())).numpy() @ B.T * 2
        np.testing.assert_allclose(delta.read()[tokens.numpy()], want, rtol=1e-5, atol=1e-5)


def test_the_change_of_a_layer_that_stores_in_by_out_is_laid_out_so(tmp_path):
    tensors = factors("base_model.model.transformer.h.0.attn.c_attn", rows=60, columns=20)
    config = {"lora_alpha": 4, "fan_in_fan_out": True}
    (delta,) = (found := opened(tensors, tmp_path / "a", config)[0]).values()
    assert delta.shape == (20, 60)
    np.testing.assert_allclose(
        delta.read(), product(tensors, "base_model.model.transformer.h.0.attn.c_attn").T, rtol=1e-13, atol=1e-13
    )
    # A fused projection is one row too: its parts share their factors.
    assert [part.name for row in plan(found.values()) for part in row.parts] == ["transformer.h.0.attn.c_attn"]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5,), (2, 3, 3)])
def test_the_change_of_a_convolution_convolves_as_its_two_steps_do(kernel):
    d = len(kernel)
    A, B = gaussian(4, 6, *kernel, seed=1), gaussian(8, 4, *[1] * d, seed=2)
    found, notes = opened({"c.lora_A.weight": A, "c.lora_B.weight": B, "c.alpha": np.array(2.0)})
    (delta,) = found.values()
    assert notes == ("a LoRA adapter of 1 layer, rank 4, scaling 0.5",)
    assert delta.shape == ((8, 6) if kernel == (1, 1) else (8, 6, *kernel))
    assert (delta.factors.left.shape, delta.factors.right.shape) == ((8, 4), (4, 6 * np.prod(kernel)))
    conv = getattr(functional, f"conv{d}d")
    x = torch.from_numpy(gaussian(2, 6, *[9] * d, seed=3))
    steps = 0.5 * conv(conv(x, torch.from_numpy(A)), torch.from_numpy(B))
    whole = conv(x, torch.from_numpy(delta.read().reshape(8, 6, *kernel)))
    np.testing.assert_allclose(whole.numpy(), steps.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(np.concatenate(list(delta.blocks(3))), delta.read())


def test_layers_that_are_saved_whole_are_ordinary_weights(tmp_path):
    head = gaussian(40, 20).astype(np.float32)
    for name in ("base_model.model.lm_head.weight", "base_model.model.lm_head.modules_to_save.default.weight"):
        found, notes = opened({name: head, **factors()}, tmp_path / "a", {"lora_alpha": 4})
        np.testing.assert_array_equal(found[name].read(), head)
        assert found[name].factors is None
        assert base_name(name) == "lm_head.weight"
        assert notes == ("a LoRA adapter of 1 layer, rank 4, scaling 1",)
        kinds = {part.name: part.kind for row in plan(found.values()) for part in row.parts}
        assert sorted(kinds.values()) == ["linear", "lora"]


# -------------------------------------------------------------------------------------------- sd-scripts, diffusers


def test_sd_scripts_tell_alpha_beside_each_layer(tmp_path):
    down, up = gaussian(4, 20, seed=1).astype(np.float16), gaussian(30, 4, seed=2).astype(np.float16)
    module = "lora_unet_down_blocks_0_attentions_0_proj_in"
    tensors = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
    for more, scale in (({f"{module}.alpha": np.array(2, np.float16)}, 0.5), ({}, 1.0)):
        save_file(tensors | more, tmp_path / "style.safetensors")
        source = open_source(tmp_path / "style.safetensors")
        (delta,) = source.tensors
        assert delta.name == "unet_down_blocks_0_attentions_0_proj_in.weight"
        want = scale * up.astype(np.float64) @ down.astype(np.float64)
        np.testing.assert_allclose(delta.read(), want, rtol=1e-13, atol=1e-13)
        assert source.notes == (f"a LoRA adapter of 1 layer, rank 4, scaling {scale:g}",)


@pytest.mark.parametrize("ending", ["_lora.{}", ".lora.{}", ".lora_linear_layer.{}", ".lora_{}"])
def test_names_that_diffusers_has_used(ending):
    down, up = gaussian(4, 20, seed=1), gaussian(30, 4, seed=2)
    (delta,) = opened({f"unet.attn1.to_q{ending.format(side)}.weight": t for side, t in (("down", down), ("up", up))})[
        0
    ].values()
    assert delta.name == "unet.attn1.to_q.weight"
    np.testing.assert_allclose(delta.read(), up @ down, rtol=1e-13, atol=1e-13)


# ------------------------------------------------------------------------------------------------- what is not joined

A, B = f"{QUERY}.lora_A.weight", f"{QUERY}.lora_B.weight"


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({A: gaussian(4, 20)}, "its other factor is missing"),
        ({B: gaussian(30, 4)}, "its other factor is missing"),
        ({A: gaussian(4, 20), B: gaussian(30, 5)}, "shapes (30, 5) and (4, 20) have no product"),
        ({A: gaussian(4), B: gaussian(30, 4)}, "have no product"),
        ({A: gaussian(4, 20), B: gaussian(30, 4, 3, 3)}, "have no product"),
        ({A: np.zeros((0, 20)), B: np.zeros((30, 0))}, "have no product"),
        ({A: np.ones((4, 20), np.int8), B: gaussian(30, 4)}, "is int8"),
        ({A: gaussian(4, 20), B: gaussian(30, 4), f"{QUERY}.lora_E.default": gaussian(4, 1)}, "more than two"),
        (
            {
                "c.lora_down.weight": gaussian(4, 20, 1, 1),
                "c.lora_up.weight": gaussian(30, 4, 1, 1),
                "c.lora_mid.weight": gaussian(4, 4, 3, 3),
            },
            "more than two",
        ),
        ({A: gaussian(4, 20), B: gaussian(30, 4), f"{QUERY}.alpha": np.array(np.nan)}, "its alpha is nan"),
        ({A: gaussian(4, 20), B: gaussian(30, 4), f"{QUERY}.alpha": np.ones(3)}, "is no number"),
    ],
)
def test_factors_that_do_not_fit_stay_as_they_are_and_a_note_says_why(tensors, why):
    if f"{QUERY}.lora_E.default" in tensors:
        tensors = {name.replace(".weight", ".default.weight"): array for name, array in tensors.items()}
    found, notes = opened(tensors)
    assert set(found) == set(tensors)
    assert notes[0].startswith("LoRA factors that are not joined: '")
    assert why in notes[0]
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name].read(), array)
    assert not any(tensor.factors for tensor in open_source(tensors).tensors)


def test_factors_that_are_not_joined_are_rows_of_their_own():
    tensors = {f"{QUERY}.lora_A.default.weight": gaussian(4, 20), f"{QUERY}.lora_B.default.weight": gaussian(30, 5)}
    rows = plan(opened(tensors)[0].values())
    assert [(row.parts[0].name, row.parts[0].kind) for row in rows] == [
        (name.removesuffix(".weight"), "lora") for name in tensors
    ]


def test_a_damaged_file_gives_tensors_or_one_line(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "style.safetensors"
    names = (f"lora_unet_{layer}.{part}" for layer in "ab" for part in ("lora_down.weight", "lora_up.weight", "alpha"))
    shapes = ((4, 6), (5, 4), ()) * 2
    save_file({name: np.ones(shape, np.float32) for name, shape in zip(names, shapes, strict=True)}, path)
    intact = path.read_bytes()
    for _ in range(500):
        damaged = bytearray(intact[: rng.choice([len(intact)] * 9 + [rng.randrange(len(intact))])])
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            for tensor in open_source(path).tensors:
                if tensor.problem is None and tensor.size < 1e6:
                    assert tensor.read().shape == tensor.shape
        except SourceError as error:
            lines = str(error).splitlines()
            assert len(lines) == 1, lines


def test_one_damaged_layer_leaves_the_others(tmp_path):
    tensors = factors("base_model.model.a") | factors("base_model.model.b")
    del tensors["base_model.model.b.lora_B.weight"]
    found, notes = opened(tensors, tmp_path / "a", {"lora_alpha": 4})
    assert set(found) == {"a.weight", "base_model.model.b.lora_A.weight"}
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("config", "joined"),
    [
        ({"target_parameters": ["experts.up_proj"], "r": 2}, False),  # two experts of rank 2 in one pair of factors
        ({"target_parameters": ["experts.up_proj"], "r": 4}, True),
        ({"target_parameters": ["experts.up_proj"], "r": 4, "rank_pattern": {"q_proj": 2}}, False),
        ({"use_qalora": True, "r": 4}, False),
        ({"use_bdlora": {"nblocks": 2}, "r": 4}, False),
    ],
)
def test_other_products_of_peft_are_not_taken_for_this_one(tmp_path, config, joined):
    found, notes = opened(factors(), tmp_path / "a", {"lora_alpha": 4, **config})
    assert (len(found) == 1) == joined
    assert joined or "adapter_config.json says" in notes[0]


def test_a_pattern_that_could_take_for_ever_is_left_out_and_said(tmp_path):
    hostile = {"(a+)+$": 1, "(a|a)(a|a)(a|a)(a|a)x": 1, "a" * 5000: 1, "(": 1, "[": 1, "a?" * 40 + "a" * 40: 1}
    tensors = factors("base_model.model." + "a" * 400)
    start = time.perf_counter()
    found, notes = opened(tensors, tmp_path / "a", {"lora_alpha": 8, "alpha_pattern": hostile})
    assert time.perf_counter() - start < 5
    assert next(iter(found.values())).factors.scale == 2
    assert notes[-1].startswith("patterns of adapter_config.json that are not understood: '(a+)+$', ")


def test_a_damaged_configuration_gives_tensors_or_one_line(tmp_path):
    rng = random.Random(0)
    text = json.dumps(
        {"lora_alpha": 16, "r": 4, "alpha_pattern": {"q_.*": 8}, "rank_pattern": {"v": 4}, "use_rslora": True}
    )
    folder = adapter(tmp_path / "a", factors())
    said = []
    for _ in range(300):
        damaged = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (folder / "adapter_config.json").write_bytes(damaged)
        try:
            names = {tensor.name for tensor in open_source(folder).tensors}
            assert names in ({"model.layers.0.self_attn.q_proj.weight"}, set(factors()))
        except SourceError as error:
            said.append(str(error))
    assert 0 < len(said) < 300
    assert all(line.startswith(f"{folder / 'adapter_config.json'}: ") and line.isprintable() for line in said)


# ------------------------------------------------------------------------------------------------------------- merged


def base_of(delta, seed=9, dtype=np.float32, shape=None):
    weight = gaussian(*(shape or delta.shape), seed=seed).astype(dtype)
    return weight, open_source({delta.name: weight}).tensors[0]


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_merged_weight_is_the_sum_in_the_place_of_the_base(tmp_path, rows):
    tensors = factors()
    (delta,) = opened(tensors, tmp_path / "a", {"lora_alpha": 8})[0].values()
    weight, base = base_of(delta, dtype=ml_dtypes.bfloat16)
    both = pickle.loads(pickle.dumps(merged(base, delta)))
    assert (both.name, both.shape, both.dtype, both.stored) == (delta.name, (30, 20), "float64", "bfloat16")
    assert both.factors is None
    blocks = list(both.blocks(rows))
    assert max(map(len, blocks)) <= rows
    np.testing.assert_allclose(
        np.concatenate(blocks), weight.astype(np.float64) + 2 * product(tensors), rtol=1e-13, atol=1e-13
    )


def test_tensors_that_cut_their_rows_in_other_ways_are_added_row_by_row(tmp_path):
    tensors = factors()
    (delta,) = opened(tensors, tmp_path / "a", {"lora_alpha": 4})[0].values()
    weight, base = base_of(delta)

    def uneven(rows):
        at = 0
        for count in (1, 3, 2, 5, 4, 6, 2, 7):
            yield weight[at : at + count]
            at += count

    want = weight + product(tensors)
    np.testing.assert_allclose(merged(replace(base, blocks=uneven), delta).read(), want, rtol=1e-6)
    swapped = merged(base, replace(delta, blocks=lambda rows: (block for block in uneven(rows))))
    np.testing.assert_allclose(swapped.read(), 2.0 * weight, rtol=1e-6)


def test_a_convolution_of_one_position_is_merged_in_its_own_shape():
    A, B = gaussian(4, 6, 1, 1, seed=1), gaussian(8, 4, 1, 1, seed=2)
    (delta,) = opened({"c.lora_down.weight": A, "c.lora_up.weight": B})[0].values()
    weight, base = base_of(delta, shape=(8, 6, 1, 1), dtype=np.float64)
    both = merged(base, delta)
    assert both.shape == (8, 6, 1, 1)
    np.testing.assert_allclose(both.read()[..., 0, 0], weight[..., 0, 0] + B[..., 0, 0] @ A[..., 0, 0], rtol=1e-12)


def test_a_base_that_stores_in_by_out_is_merged_with_the_transpose():
    tensors = factors("a")
    (delta,) = opened(tensors)[0].values()
    weight, base = base_of(delta, shape=(20, 30), dtype=np.float64)
    np.testing.assert_allclose(merged(base, delta).read(), weight + product(tensors, "a").T, rtol=1e-12)
    square = factors("a", rows=20)
    (delta,) = opened(square)[0].values()
    weight, base = base_of(delta, dtype=np.float64)
    packed = replace(base, stored="GPTQ 4 bit")  # known to be (in, out)
    np.testing.assert_allclose(merged(packed, delta).read(), weight + product(square, "a").T, rtol=1e-12)
    np.testing.assert_allclose(merged(base, delta).read(), weight + product(square, "a"), rtol=1e-12)


def test_what_cannot_be_merged_says_why():
    (delta,) = opened(factors("a"))[0].values()
    _, base = base_of(delta, shape=(31, 20))
    both = merged(base, delta)
    assert both.problem == "its shape (31, 20) is not that of the change, (30, 20)"
    with pytest.raises(SourceError, match="is not that of the change"):
        list(both.blocks(4))
    assert merged(replace(base, problem="its type X cannot be read as numbers"), delta).problem == (
        "its type X cannot be read as numbers"
    )


# --------------------------------------------------------------------------------------------------------------- DoRA


@pytest.mark.parametrize("middle", ["", ".default"])
def test_dora_is_said_and_merged_with_the_lengths_of_its_rows(middle):
    tensors = factors("a", adapter=middle[1:])
    lengths = np.abs(gaussian(30, seed=5))
    found, notes = opened({**tensors, f"a.lora_magnitude_vector{middle}": lengths, "a.alpha": np.array(8.0)})
    assert notes[1].startswith("1 layer of DoRA: ")
    assert set(found) == {"a.weight", f"a.lora_magnitude_vector{middle}"}
    delta = found["a.weight"]
    bare = {name.replace(middle, ""): array for name, array in tensors.items()} if middle else tensors
    change = torch.from_numpy(2 * product(bare, "a"))
    np.testing.assert_allclose(delta.read(), change.numpy(), rtol=1e-13, atol=1e-13)
    weight, base = base_of(delta, dtype=np.float64)
    # Liu et al. (2024): magnitude times the direction of W + s B A, a row of the layer's weight for each output.
    want = functional.normalize(torch.from_numpy(weight) + change, dim=1) * torch.from_numpy(lengths)[:, None]
    both = pickle.loads(pickle.dumps(merged(base, delta)))
    for rows in (7, 1000):
        np.testing.assert_allclose(np.concatenate(list(both.blocks(rows))), want.numpy(), rtol=1e-12)


def test_dora_of_another_layout_is_not_merged():
    tensors = {
        "e.lora_embedding_A": gaussian(4, 12, seed=1),
        "e.lora_embedding_B": gaussian(12, 4, seed=2),
        "e.lora_magnitude_vector": np.ones(12),
    }
    delta = opened(tensors)[0]["e.weight"]
    _, base = base_of(delta)
    assert merged(base, delta).problem == "its DoRA magnitudes (12,) are not of its 12 rows"
    (delta, _) = opened({**factors("a", rows=20), "a.dora_scale": np.ones((1, 20))})[0].values()
    _, base = base_of(delta)
    assert merged(base, delta).problem == "its DoRA magnitudes (1, 20) are not of its 20 rows"


def test_dora_of_a_convolution_gives_its_filters_their_lengths():
    A, B = gaussian(4, 6, 3, 3, seed=1), gaussian(8, 4, 1, 1, seed=2)
    lengths = np.abs(gaussian(1, 8, 1, 1, seed=3))
    delta = opened({"c.lora_A.weight": A, "c.lora_B.weight": B, "c.lora_magnitude_vector": lengths})[0]["c.weight"]
    weight, base = base_of(delta, dtype=np.float64)
    whole = weight + delta.read()
    want = whole / np.linalg.norm(whole.reshape(8, -1), axis=1)[:, None, None, None] * lengths.reshape(8, 1, 1, 1)
    np.testing.assert_allclose(np.concatenate(list(merged(base, delta).blocks(3))), want, rtol=1e-12)
