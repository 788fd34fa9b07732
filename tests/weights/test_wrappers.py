"""What training scripts put around the weights: found, stripped, left out, and said so."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from weights.cases import sample

from heavytail.errors import SourceError
from heavytail.weights.formats.wrappers import find_weights
from heavytail.weights.source import open_source

W = {"conv.weight": "T1", "conv.bias": "T2"}
ADAM = {"state": {0: {"exp_avg": "T3", "exp_avg_sq": "T4"}}, "param_groups": [{"lr": 0.1}]}

WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "ema", "generator", "params")


def find(root):
    return find_weights(root, lambda node: isinstance(node, str) and node.startswith("T"))


@pytest.mark.parametrize(
    "root",
    [
        W,
        *({key: W} for key in WRAPPERS),
        {"model": {"state_dict": W, "model_args": {"a": [1, 2]}}},
        {"a": 1, "model": {"module": {"state_dict": W}}},
        {"state_dict": {f"module.{k}": v for k, v in W.items()}, "best_prec1": 91.7},
        {"model": {f"_orig_mod.{k}": v for k, v in W.items()}},
        {"module": {f"module._orig_mod.{k}": v for k, v in W.items()}},
    ],
)
def test_one_wrapped_state_dict_keeps_its_own_names(root):
    found = find(root)
    assert dict(found.items) == W
    assert found.notes == ()


@pytest.mark.parametrize("key", ["optimizer", "optimizer_state", "optimizer_state_dict", "optim", "Optimizer", "mine"])
def test_optimizer_state_is_left_out_and_counted(key):
    found = find({"model": W, key: ADAM})
    assert dict(found.items) == W
    assert found.notes == (f"left out: optimizer state, 2 tensors under '{key}'",)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lr_scheduler", "scheduler state"),
        ("scheduler", "scheduler state"),
        ("optimizer_states", "optimizer state"),
        ("scaler", "gradient scaler state"),
        ("callbacks", "training loop state"),
        ("rng_states", "training loop state"),
    ],
)
def test_training_state_is_left_out(key, kind):
    assert find({"state_dict": W, key: ["T9"]}).notes == (f"left out: {kind}, 1 tensors under '{key}'",)
    assert find({"state_dict": W, key: [1, 2]}).notes == ()


def test_a_layer_that_is_called_like_training_state_stays():
    assert dict(find({"optimizer.weight": "T1", "scheduler": "T2"}).items) == {
        "optimizer.weight": "T1",
        "scheduler": "T2",
    }


def test_state_dicts_side_by_side_keep_their_keys():
    found = find({"generator": W, "discriminator": {"weight": "T5"}})
    assert list(dict(found.items)) == ["generator.conv.weight", "generator.conv.bias", "discriminator.weight"]
    assert set(dict(find({"model": W, "ema": dict(W)}).items)) == {f"{k}.{n}" for k in ("model", "ema") for n in W}


def test_loose_tensors_beside_a_wrapper_keep_their_names():
    assert dict(find({"step": "T8", "state_dict": W}).items) == {"step": "T8", **W}


def test_the_same_object_twice_is_read_once():
    found = find({"model": W, "ema": W})
    assert dict(found.items) == W
    assert found.notes == ("left out: 'ema', which is the same object as 'model'",)


def test_names_are_unique_and_printable():
    found = find({"a.b": "T1", "a": {"b": "T2"}, 1: "T3", "1": "T4", "x\ny\x1b": "T5", "\ud800": "T6"})
    names = [name for name, _ in found.items]
    assert len(set(names)) == len(names) == 6
    assert all(name.isprintable() for name in names)
    assert "more than once" in found.notes[0]


def test_loops_and_shared_containers_end():
    loop = {"w": "T1"}
    loop["model"] = loop
    assert dict(find(loop).items) == {"w": "T1"}
    node = ["T1"]
    for _ in range(60):
        node = [node, node]
    assert len(find(node).items) <= 1


@given(st.recursive(st.sampled_from(["T1", 1, None]), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_every_tensor_is_read_or_counted(root):
    text = repr(root)
    found = find(root)
    assert len(found.items) + sum(
        int(n.split(", ")[1].split()[0]) for n in found.notes if "state, " in n
    ) == text.count("'T1'")


@pytest.mark.parametrize("new", [True, False])
def test_a_checkpoint_of_a_training_script_is_read(new, tmp_path):
    import warnings

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    checkpoint = {
        "epoch": 3,
        "model": {"state_dict": model.state_dict()},
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "torch_rng_state": torch.get_rng_state(),
        "loss": 0.1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(checkpoint, tmp_path / "c.pth.tar", _use_new_zipfile_serialization=new)
    for source in (open_source(tmp_path / "c.pth.tar"), open_source(checkpoint)):
        assert [t.name for t in source.tensors][:2] == ["weight", "bias"]
        assert "left out: optimizer state, 6 tensors under 'optimizer'" in source.notes


def test_a_file_with_nothing_but_an_optimizer_says_so(tmp_path):
    torch.save({"optimizer": {"state": {0: sample("float32", (2,))}, "param_groups": []}}, tmp_path / "o.pt")
    with pytest.raises(SourceError, match=r"holds no tensors \(left out: optimizer state, 1 tensors"):
        open_source(tmp_path / "o.pt")
