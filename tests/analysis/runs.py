"""Models on disk, and processes that analyse them, for the tests of how jobs run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from cases import gaussian, low_rank, student
from safetensors.numpy import save_file

COMMAND = [sys.executable, "-c", "import sys; from heavytail.cli import main; sys.exit(main())", "analyze"]


def layers():
    """A matrix of every way in which a tensor gives rows, large enough for a tail, small enough for a test."""
    return {
        "attn.in_proj_weight": student(90, 30, df=3, seed=3).astype(np.float32),
        "conv.bias": np.ones(32, np.float32),
        "conv.weight": gaussian(32, 16, 3, 3, seed=2).astype(np.float32),
        "embed.weight": gaussian(120, 60, seed=1).astype(np.float32),
        "experts": gaussian(3, 60, 50, seed=6).astype(np.float16),
        "heavy.weight": student(100, 80, df=1, seed=4),
        "low.weight": low_rank(60, 90, 5),
        "lstm.weight_hh_l0": gaussian(80, 20, seed=5).astype(np.float32),
        "lstm.weight_ih_l0": gaussian(80, 30, seed=4).astype(np.float32),
        "zero.weight": np.zeros((30, 20), np.float32),
    }


def written(path, arrays=None):
    """Write a model as a safetensors file."""
    arrays = layers() if arrays is None else arrays
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return path


def records(cache):
    """The files of a cache."""
    return sorted(path for path in Path(cache).rglob("*") if path.is_file())


def start(*arguments, **environment):
    """Begin `heavytail analyze` in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process, seconds=120):
    """Wait for it, and give its exit code and what it said."""
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in err
    return process.returncode, out + err
