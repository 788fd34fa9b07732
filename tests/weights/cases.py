"""Models that several tests write, and the comparison that they share."""

import warnings
from pathlib import Path

import numpy as np
import torch

from heavytail.errors import SourceError
from heavytail.weights.source import open_source

FLOATS = ("float64", "float32", "float16", "bfloat16")
FLOATS8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool")
COMPLEX = ("complex64", "complex128")
DTYPES = FLOATS + FLOATS8 + INTEGERS + COMPLEX
SHAPES = ((), (1,), (7,), (0,), (0, 3), (3, 0), (5, 4), (1, 6), (4, 3, 2), (2, 3, 1, 2))


def sample(dtype, shape, seed=0):
    """Give a torch tensor with numbers that its type can hold."""
    values = np.random.default_rng(seed).integers(-3, 4, shape)
    tensor = torch.as_tensor(np.asarray(values, dtype=np.float64)).abs()
    return tensor.to(getattr(torch, dtype))


def bytes_of(tensor):
    """The bytes of a torch tensor, row-major, found without our own code."""
    flat = tensor.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def check_equal(ours, theirs):
    """Compare one of our tensors with a torch tensor: shape, type and every byte, in blocks of several heights."""
    assert ours.problem is None
    assert ours.shape == tuple(theirs.shape)
    assert ours.dtype == str(theirs.dtype).removeprefix("torch.")
    for rows in (1, 2, 3, 1000):
        blocks = list(ours.blocks(rows))
        assert all(block.dtype.name == ours.dtype for block in blocks)
        if ours.shape:
            assert all(len(block) <= rows for block in blocks)
            assert all(block.shape[1:] == ours.shape[1:] for block in blocks)
        else:
            assert [block.shape for block in blocks] == [()]
        assert b"".join(np.ascontiguousarray(block).tobytes() for block in blocks) == bytes_of(theirs)
    assert ours.read().shape == ours.shape


def check_same_state(source, state):
    """Compare a source with a flat state dict."""
    assert [t.name for t in source.tensors] == list(state)
    for ours, theirs in zip(source.tensors, state.values(), strict=True):
        check_equal(ours, theirs)


def small_state():
    """A small model with most of what a checkpoint may hold."""
    base = sample("float32", (6, 5), 1)
    return {
        "a.weight": base,
        "a.bias": sample("float32", (6,), 2),
        "tied": base,
        "half": sample("bfloat16", (3, 4), 3),
        "scalar": sample("int64", (), 4),
        "empty": sample("float32", (0, 3), 5),
        "sliced": base[1:4],
        "columns": base[:, 1:3],
        "transposed": base.t(),
    }


def opened(path):
    """Open and read everything; gives the error instead if there is one, and checks that it is one clear line."""
    try:
        source = open_source(path)
        for tensor in source.tensors:
            if tensor.problem is None:
                assert sum(block.size for block in tensor.blocks(64)) == tensor.size
    except SourceError as error:
        text = str(error)
        assert text.isprintable(), text
        assert text.startswith(str(path)), text
        assert len(text) < 500
        return error
    return source


def save_all(folder):
    """Write one small model in every format; gives the paths by format."""
    from safetensors.torch import save_file

    state = small_state()
    folder = Path(folder)
    paths = {
        name: folder / f"small.{name}" for name in ("safetensors", "zip.pt", "legacy.pt", "npz", "packed.npz", "npy")
    }
    save_file({k: v.clone().contiguous() for k, v in state.items()}, paths["safetensors"])
    torch.save(state, paths["zip.pt"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(state, paths["legacy.pt"], _use_new_zipfile_serialization=False)
    arrays = {k: v.numpy() for k, v in state.items() if v.dtype != torch.bfloat16}
    np.savez(paths["npz"], **arrays)
    np.savez_compressed(paths["packed.npz"], **arrays)
    np.save(paths["npy"], arrays["a.weight"])
    return paths
