"""Every model file at hand, analysed: its format, its matrices, what is left out and why.

    python benchmarks/containers.py [--fits] FOLDER ...

The folders are searched for model files; --fits analyses them instead of reading their headers alone.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import heavytail as ht
from heavytail.analysis import estimate
from heavytail.errors import HeavytailError

ENDINGS = (
    *(".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".jit", ".npz", ".npy", ".pkl"),
    *(".onnx", ".h5", ".keras", ".gguf", ".tflite"),
)


def found(folder: Path) -> Iterator[Path]:
    """Give model files, and folders that are one model."""
    indexes = {path.parent for path in folder.rglob("*.safetensors.index.json")}
    yield from sorted(indexes)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(ENDINGS) and path.parent not in indexes:
            yield path


def line(path: Path, fits: bool) -> tuple[str, ...]:
    start = time.perf_counter()
    try:
        if fits:
            report = ht.analyze(path)
            rows = [(row.status, row.kind, row.M, row.reason) for row in report.rows]
            container = report.source["format"]
        else:
            planned = estimate(path)
            container = planned.source.format
            rows = [("ok", part.kind, part.M, "") for plan in planned.plans for part in plan.parts]
            rows += [(plan.status, plan.kind, 0, plan.reason) for plan in planned.plans if not plan.parts]
    except HeavytailError as error:
        return path.name, "refused", "", "", str(error).removeprefix(f"{path}: ")[:110], ""
    left_out = Counter(f"{status}: {kind}" for status, kind, _, _ in rows if status != "ok")
    failed = [reason for status, _, _, reason in rows if status == "failed"]
    why = ", ".join(f"{count} {what}" for what, count in left_out.most_common())
    ok = [m for status, _, m, _ in rows if status == "ok"]
    large = sum(m >= 50 for m in ok)
    seconds = f"{time.perf_counter() - start:.1f}"
    return path.name, container, str(len(ok)), str(large), why + (f" ({failed[0]})" if failed else ""), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--fits", action="store_true")
    options = parser.parse_args()
    print("| file | format | rows | M >= 50 | left out | seconds |\n|---|---|---|---|---|---|")
    for folder in options.folders:
        for path in found(folder):
            print("| " + " | ".join(line(path, options.fits)) + " |", flush=True)


if __name__ == "__main__":
    main()
