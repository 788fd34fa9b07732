"""The checkpoint of a 70-billion-parameter transformer under a memory limit.

    python benchmarks/seventy.py [--limit 3GB] [--folder DIR] [--dry-run-only]

562 matrices, the shapes of Llama 3 70B in bfloat16, as sparse files of 141 GB that take no room: the dry run is held
against the sums of those shapes. Then the same list with two matrices of full size and full of numbers, one wide of
8192 x 28672 and one tall of 128256 x 8192, and the other 560 as stand-ins of 1/64 of each side, is analysed in a
process of its own; its peak of resident memory is what the system says of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np

from heavytail.analysis import estimate

HIDDEN, INNER, KEYS, WORDS, LAYERS, SHARDS = 8192, 28672, 1024, 128256, 80, 30
FULL = ("model.layers.0.mlp.down_proj.weight", "lm_head.weight")
SIDE = 64
Shape = tuple[int, int]


def shapes() -> dict[str, Shape]:
    """Give the matrices of the model, in the order of its files."""
    found: dict[str, Shape] = {"model.embed_tokens.weight": (WORDS, HIDDEN)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        found |= {
            at + "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            at + "self_attn.k_proj.weight": (KEYS, HIDDEN),
            at + "self_attn.v_proj.weight": (KEYS, HIDDEN),
            at + "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            at + "mlp.gate_proj.weight": (INNER, HIDDEN),
            at + "mlp.up_proj.weight": (INNER, HIDDEN),
            at + "mlp.down_proj.weight": (HIDDEN, INNER),
        }
    return found | {"lm_head.weight": (WORDS, HIDDEN)}


def write(folder: Path, size: Callable[[str, Shape], Shape], filled: Callable[[str], bool]) -> None:
    """Write a sharded checkpoint; tensors that are not filled are holes in their file."""
    rng, index = np.random.default_rng(0), {}
    listed = list(shapes().items())
    per = -(-len(listed) // SHARDS)
    for first in range(0, len(listed), per):
        name = f"model-{first // per + 1:05d}-of-{-(-len(listed) // per):05d}.safetensors"
        header, end, places = {}, 0, []
        for tensor, shape in listed[first : first + per]:
            rows, columns = size(tensor, shape)
            header[tensor] = {
                "dtype": "BF16",
                "shape": [rows, columns],
                "data_offsets": [end, end + 2 * rows * columns],
            }
            places.append((tensor, rows, columns, end))
            end += 2 * rows * columns
            index[tensor] = name
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            start = file.tell()
            file.truncate(start + end)
            for tensor, rows, columns, at in places:
                if filled(tensor):
                    file.seek(start + at)
                    scales = rng.uniform(0.5, 1.5, columns).astype(np.float32)
                    for row in range(0, rows, 1024):
                        W = rng.standard_normal((min(1024, rows - row), columns), dtype=np.float32) * 0.02 * scales
                        file.write(W.astype(ml_dtypes.bfloat16).tobytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def dry_run(folder: Path) -> None:
    write(folder, lambda _, shape: shape, lambda _: False)
    start = time.perf_counter()
    planned = estimate(folder, memory_limit=None)
    seconds = time.perf_counter() - start
    parts = [part for plan in planned.plans for part in plan.parts]
    sides = [(max(shape), min(shape)) for shape in shapes().values()]
    pairs = {
        "matrices": (len(parts), len(sides)),
        "parameters": (sum(part.N * part.M for part in parts), sum(n * m for n, m in sides)),
        "bytes": (sum(cost.bytes for cost in planned.costs), sum(2 * n * m for n, m in sides)),
        "operations": (sum(c.operations for c in planned.costs), sum(n * m**2 + 4 / 3 * m**3 for n, m in sides)),
    }
    print(f"dry run of the full shapes, {seconds:.2f} s:")
    for what, (ours, expected) in pairs.items():
        print(f"  {what}: {ours:.12g}, by the shapes {expected:.12g}{'' if ours == expected else '  DIFFER'}")


def analysis(folder: Path, limit: str, jobs: int) -> None:
    def small(name: str, shape: Shape) -> Shape:
        return shape if name in FULL else (max(16, shape[0] // SIDE), max(16, shape[1] // SIDE))

    write(folder, small, lambda _: True)
    out = folder / "report.json"
    command = [sys.executable, "-m", "heavytail", "analyze", str(folder), "--memory-limit", limit, "--quiet"]
    start = time.perf_counter()
    code = subprocess.run([*command, "--jobs", str(jobs), "--json", str(out)], check=False).returncode
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    report = json.loads(out.read_text())
    rows = {row["name"]: row for row in report["layers"]}
    counts = {status: report["summary"][status] for status in ("ok", "skipped", "unsupported", "failed")}
    print(f"analysed under --memory-limit {limit} with {jobs} threads: exit {code}, {seconds:.0f} s, rows {counts}")
    print(f"  peak resident memory {peak / 1e9:.2f} GB")
    for name in FULL:
        row = rows[name.removesuffix(".weight")]
        shown = {key: row[key] for key in ("N", "M", "status", "norm", "lambda_max", "matrix_rank", "alpha", "phase")}
        print(f"  {name}: {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", default="3GB")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make the checkpoints (some 2.6 GB); a temporary folder")
    parser.add_argument("--dry-run-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as sparse:
        dry_run(Path(sparse))
    if not options.dry_run_only:
        with tempfile.TemporaryDirectory(dir=options.folder) as filled:
            analysis(Path(filled), options.limit, options.jobs)


if __name__ == "__main__":
    main()
