"""What `compare` finds of planted changes, and what it takes for two checkpoints of a billion parameters.

    python benchmarks/comparison.py [--only planted|billion] [--matrices 1000] [--limit 2GB] [--jobs N] [--folder DIR]

Planted: pairs of matrices of 64 to 512 rows and columns, the base of Student's t with 4 degrees, the change Gaussian
noise of a hundredth or a thousandth of its size and in every second pair 1 to 8 random directions, each 1.5 times as
strong as the least that noise of that size lets through (Benaych-Georges and Nadakuditi 2012); stored in 32 bits, and
in 16, where the rounding is a noise of its own beside that of a thousandth. What tells a pair with directions from one
without is the place of the change's largest eigenvalue in its Tracy-Widom law.

Billion: two checkpoints in bfloat16 of the shapes of a Llama of 1.1 billion parameters, the second with noise and four
directions more in every matrix, each three times as strong as the least that shows, compared by the command in a
process of its own under a memory limit; its peak of resident memory is what the system says of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
from common import markdown

from heavytail.comparison import compare

HIDDEN, INNER, KEYS, WORDS, LAYERS = 2048, 5632, 256, 32000, 22
STRENGTH = 1.5
MOST = 8  # directions that are planted
NOISE = 0.01
PLANTED, CHANGE = 4, 0.001  # directions in each large matrix, and the noise beside them


def directions(rng: np.random.Generator, n: int, m: int, rank: int, strength: float) -> np.ndarray:
    """Draw a matrix of a few orthogonal directions of one strength."""
    left, right = (np.linalg.qr(rng.standard_normal((side, rank)))[0] for side in (n, m))
    return strength * left @ right.T


def planted(count: int) -> None:
    rows = [
        (dtype, f"{noise:.1%}", *found(count, getattr(ml_dtypes, dtype, dtype), noise))
        for dtype in ("float32", "bfloat16", "float16")
        for noise in (NOISE, NOISE / 10)
    ]
    head = ("stored as", "noise", "area under the curve", "rank within one", "rank exact", "rank 0 where 0", "seconds")
    print(
        f"{count} pairs each; targets: area 0.95, rank within one 0.90, rank 0 where there are none 0.99 by the level"
    )
    print(markdown(head, rows))


def found(count: int, dtype: str | type, noise: float) -> tuple[str, ...]:
    """Plant directions in every second of so many pairs, and say how they are found."""
    rng = np.random.default_rng(0)
    base, tuned, ranks = {}, {}, []
    for i in range(count):
        n, m = (int(side) for side in rng.integers(64, 513, 2))
        rank = int(rng.integers(1, MOST + 1)) if i % 2 else 0
        W = (0.02 * rng.standard_t(4, (n, m)) / np.sqrt(2)).astype(dtype)
        change = noise * 0.02 * rng.standard_normal((n, m))
        if rank:
            change += directions(rng, n, m, rank, STRENGTH * noise * 0.02 * (n * m) ** 0.25)
        base[f"{i}.weight"], tuned[f"{i}.weight"] = W, (W.astype(np.float64) + change).astype(dtype)
        ranks.append(rank)
    start = time.perf_counter()
    comparison = compare(base, tuned, bootstrap=0)
    seconds = time.perf_counter() - start
    true = np.array(ranks)
    suggested = np.array([row.suggested_rank for row in comparison.rows])
    bulks = [layer.delta.noise.bulks for layer in comparison.layers]
    scores = np.array([bulk[0].score if bulk else np.nan for bulk in bulks])
    some = true > 0
    above = scores[some][:, None] > scores[~some]
    shares = (
        above.mean(),
        np.mean(abs(suggested - true)[some] <= 1),
        np.mean((suggested == true)[some]),
        np.mean(suggested[~some] == 0),
    )
    return (*(f"{share:.4f}" for share in shares), f"{seconds:.0f}")


def shapes() -> Iterator[tuple[str, int, int]]:
    """Give the matrices of the large model, rows and columns."""
    yield "model.embed_tokens.weight", WORDS, HIDDEN
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name, rows, columns in (
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", KEYS, HIDDEN),
            ("self_attn.v_proj", KEYS, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", INNER, HIDDEN),
            ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER),
        ):
            yield f"{at}{name}.weight", rows, columns
    yield "lm_head.weight", WORDS, HIDDEN


def write(base: Path, tuned: Path) -> int:
    """Write both checkpoints and give the number of parameters of one."""
    header, end = {}, 0
    for name, rows, columns in shapes():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [end, end + 2 * rows * columns]}
        end += 2 * rows * columns
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    with base.open("wb") as one, tuned.open("wb") as other:
        for file in (one, other):
            file.write(len(text).to_bytes(8, "little") + text)
        for _, rows, columns in shapes():
            left, right = (np.linalg.qr(rng.standard_normal((side, PLANTED)))[0] for side in (rows, columns))
            left *= 3 * CHANGE * (rows * columns) ** 0.25
            for first in range(0, rows, 1024):
                W = 0.02 * rng.standard_normal((min(1024, rows - first), columns), dtype=np.float32)
                change = CHANGE * rng.standard_normal(W.shape, dtype=np.float32)
                change += (left[first : first + 1024] @ right.T).astype(np.float32)
                one.write(W.astype(ml_dtypes.bfloat16).tobytes())
                other.write((W + change).astype(ml_dtypes.bfloat16).tobytes())
    return end // 2


def billion(folder: Path, limit: str, jobs: int) -> None:
    base, tuned, out = (folder / name for name in ("base.safetensors", "tuned.safetensors", "comparison.json"))
    parameters = write(base, tuned)
    command = [sys.executable, "-m", "heavytail", "compare", str(base), str(tuned), "--memory-limit", limit]
    start = time.perf_counter()
    code = subprocess.run([*command, "--jobs", str(jobs), "--json", str(out), "--quiet"], check=False).returncode
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    found = json.loads(out.read_text())
    counts = {status: found["summary"][status] for status in ("ok", "unmatched", "skipped", "failed")}
    size = base.stat().st_size / 1e9
    print(f"{parameters:,} parameters, {size:.2f} GB, each; --memory-limit {limit}, {jobs} threads")
    print(f"exit {code}, {seconds:.0f} s, rows {counts}, changes {found['summary']['changes']}")
    print(f"peak resident memory {peak / 1e9:.2f} GB")
    ranks = [row["suggested_rank"] for row in found["layers"]]
    print(f"suggested rank {PLANTED} in {ranks.count(PLANTED)} of {len(ranks)} matrices")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("planted", "billion"))
    parser.add_argument("--matrices", type=int, default=1000)
    parser.add_argument("--limit", default="2GB")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.only != "billion":
        planted(options.matrices)
    if options.only != "planted":
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            billion(Path(name), options.limit, options.jobs)
