"""Names of one model and of another: whatever stands before them, and nothing that is not the same tensor."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavytail.comparison.align import align, match_names
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.layout import plan

NAMES = [
    "embed_tokens.weight",
    *(
        f"layers.{i}.{leaf}"
        for i in range(12)
        for leaf in ("attn.q.weight", "attn.q.bias", "attn.out.weight", "mlp.0.weight", "mlp.2.weight", "norm.weight")
    ),
    "norm.weight",
    "lm_head.weight",
]


def plans(names):
    return plan(read_mapping({name: np.ones((2, 2)) * i for i, name in enumerate(names)})[0])


def test_equal_names_belong_together_whatever_their_order():
    shuffled = random.Random(0).sample(NAMES, len(NAMES))
    assert match_names(NAMES, shuffled) == ({name: name for name in NAMES}, ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "module."),
        ("", "model."),
        ("bert.", ""),
        ("", "base_model.model."),
        ("_orig_mod.", ""),
        ("", "_orig_mod.module."),
        ("bert.", "roberta."),
        ("model.", "base_model.model.model."),
        ("transformer.", "language_model.model."),
    ],
)
def test_another_prefix_is_no_other_name(old, new):
    found, notes = match_names([old + name for name in NAMES], [new + name for name in NAMES])
    assert found == {old + name: new + name for name in NAMES}
    assert len(notes) == 1
    assert f"{len(NAMES)} names begin with" in notes[0]


def test_two_prefixes_at_once_are_both_exchanged():
    base = [*(f"bert.{name}" for name in NAMES), *(f"vision.{name}" for name in NAMES[:40])]
    tuned = [*(f"text.model.{name}" for name in NAMES), *(f"image.model.{name}" for name in NAMES[:40])]
    found, notes = match_names(base, tuned)
    assert found == dict(zip(base, tuned, strict=True))
    assert notes == (
        "75 names begin with 'bert.' in the first model and with 'text.model.' in the second",
        "40 names begin with 'vision.' in the first model and with 'image.model.' in the second",
    )


def test_a_prefix_on_some_of_the_names_alone_is_exchanged_for_those():
    base = ["head.weight", *(f"model.{name}" for name in NAMES)]
    tuned = ["head.weight", *NAMES]
    found, notes = match_names(base, tuned)
    assert found == {"head.weight": "head.weight"} | {f"model.{name}": name for name in NAMES}
    assert notes == (f"{len(NAMES)} names begin with 'model.' in the first model alone",)


@pytest.mark.parametrize("prefix", ["", "lora_unet_", "lora_te_text_model_"])
def test_dots_that_a_trainer_writes_as_underscores_are_dots(prefix):
    tuned = [prefix + name.removesuffix(".weight").replace(".", "_") + ".weight" for name in NAMES]
    base = [name for name in NAMES if name.endswith(".weight")]
    found, _ = match_names(base, [name for name in tuned if "bias" not in name])
    assert found == {name: prefix + name.removesuffix(".weight").replace(".", "_") + ".weight" for name in base}


@pytest.mark.parametrize(
    ("base", "tuned"),
    [
        (["layers.1.weight"], ["layers.11.weight"]),
        (["layers.1.weight"], ["layers.2.weight"]),
        (["layers.1.weight"], ["model.layers.11.weight"]),
        (["head.weight", "head.bias"], ["classifier.weight", "classifier.bias"]),
        (["weight", "bias"], ["a.weight", "a.bias", "b.weight", "b.bias"]),
        (["0.weight", "0.bias"], ["a.0.weight", "a.0.bias", "b.0.weight", "b.0.bias"]),
        (["a.0.weight", "b.0.weight"], ["0.weight"]),
        (["a.fc.weight", "b.fc.weight"], ["c.fc.weight"]),
        (["embed.weight"], ["unembed.weight"]),
        (["attn.q.weight"], ["attn.k.weight"]),
        (["decoder.rnn.weight_ih"], ["lstm_cell.weight_ih"]),
        (["attn.layer_norm"], ["mlp.layer_norm"]),
    ],
)
def test_what_could_be_several_or_none_is_not_matched(base, tuned):
    assert match_names(base, tuned) == ({}, ())
    assert match_names(tuned, base) == ({}, ())


def test_two_heads_that_begin_alike_are_not_one():
    """RoBERTa's head for masked words and its new classifier both have a dense layer of the same shape."""
    body = [f"roberta.encoder.{name}" for name in NAMES]
    base = [*body, "lm_head.bias", *(f"lm_head.{x}.{y}" for x in ("dense", "layer_norm") for y in ("weight", "bias"))]
    tuned = [*body, *(f"classifier.{x}.{y}" for x in ("dense", "out_proj") for y in ("weight", "bias"))]
    assert match_names(base, tuned) == ({name: name for name in body}, ())
    assert match_names(tuned, base) == ({name: name for name in body}, ())


def test_the_whole_of_a_name_is_better_than_its_end():
    base = ["a.0.fc.weight", "a.1.fc.weight", "fc.weight"]
    assert match_names(base, ["module.fc.weight"])[0] == {"fc.weight": "module.fc.weight"}


def test_names_without_a_dot_are_found_behind_a_prefix():
    assert match_names(["fc", "embed"], ["module.embed", "module.fc"])[0] == {
        "fc": "module.fc",
        "embed": "module.embed",
    }
    assert match_names(["module.fc"], ["fc"])[0] == {"module.fc": "fc"}


def test_no_name_is_matched_twice():
    rng = random.Random(1)
    parts = ["a", "b", "0", "1", "model", "weight"]
    for _ in range(300):
        base, tuned = (
            list({".".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 30))})
            for _ in range(2)
        )
        found, _ = match_names(base, tuned)
        assert len(set(found.values())) == len(found)
        assert set(found) <= set(base)
        assert set(found.values()) <= set(tuned)
        assert all(found[name] == name for name in set(base) & set(tuned))


component = st.text(st.sampled_from("abcdexyz01_"), min_size=1, max_size=6)
prefix = st.lists(st.sampled_from(["module", "Q", "base_model", "R7", "Wrapped"]), max_size=3, unique=True)


@given(
    st.lists(st.lists(component, min_size=2, max_size=5).map(".".join), min_size=1, max_size=30, unique=True),
    prefix,
    prefix,
    st.randoms(use_true_random=False),
)
def test_any_exchange_of_a_prefix_is_undone(names, old, new, rng):
    """None of the prefixes is a beginning within the names themselves, which could not be told from it."""
    first, second = ("".join(f"{part}." for part in parts) for parts in (old, new))
    shuffled = rng.sample(names, len(names))
    found, _ = match_names([first + name for name in names], [second + name for name in shuffled])
    assert found == {first + name: second + name for name in names}


@pytest.mark.parametrize(
    "rename",
    [
        lambda name, i: f"module.{name}",
        lambda name, i: f"lora_unet_{name.replace('.', '_')}",
        lambda name, i: f"other{i}.{name}",
        lambda name, i: f"unrelated{i}.{i}.numbers",
        lambda name, i: f"unrelated{i}.attn.a.weight",
    ],
    ids=["prefix", "underscores", "every name its own prefix", "nothing in common", "one end in common"],
)
def test_five_thousand_names_are_matched_whatever_was_done_to_them(rename):
    names = [
        f"model.layers.{i}.{a}.{b}.weight" for i in range(200) for a in ("attn", "mlp", "x", "y", "z") for b in "abcde"
    ]
    renamed = [rename(name, i) for i, name in enumerate(names)]
    found, _ = match_names(names, renamed)
    assert len(found) == (0 if "unrelated" in renamed[0] else 5000)


def test_pairs_stand_in_the_order_of_the_base_then_what_the_other_model_has_alone():
    base, tuned = plans(["b.w.weight", "a.w.weight", "c.c.weight"]), plans(["x.a.w.weight", "new.z", "x.b.w.weight"])
    pairs, notes = align(base, tuned)
    assert [(p.base and p.base.tensor.name, p.tuned and p.tuned.tensor.name) for p in pairs] == [
        ("b.w.weight", "x.b.w.weight"),
        ("a.w.weight", "x.a.w.weight"),
        ("c.c.weight", None),
        (None, "new.z"),
    ]
    assert [pair.name for pair in pairs] == ["b.w.weight", "a.w.weight", "c.c.weight", "new.z"]
    assert notes == ("2 names begin with 'x.' in the second model alone",)
