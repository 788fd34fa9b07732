"""Runs that are killed at random moments and begun again: is what comes out in the end what an unharmed run gives?

    python benchmarks/resume.py                 40 kills, two threads
    python benchmarks/resume.py --kills 8       fewer

A model of 60 matrices is written into a temporary folder and analysed once without a cache: that is the output to be
reached, and the time of a run. Then `heavytail analyze --cache` is killed (SIGKILL) at a random share of that time and
begun again, as often as it takes to come to its end; its output is compared byte for byte, and the next round begins
with an empty cache. A kill that comes after the end of a run is no kill. A finished matrix has three records; one that
is written a second time was done a second time.
"""

import argparse
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from common import markdown

HEAVYTAIL = Path(sysconfig.get_path("scripts")) / "heavytail"
MODEL = """
import sys
import numpy as np
rng = np.random.default_rng(0)
shapes = [tuple(rng.integers(300, 701, 2)) for _ in range(60)]
np.savez(sys.argv[1], **{f"layers.{i}.weight": rng.standard_t(4, s).astype(np.float32) for i, s in enumerate(shapes)})
"""
MATRICES = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, identical = kills(Path(folder), options)
    head = ("kills", "of a run's time", "matrices finished by then", "done twice", "runs that ended", "identical")
    print(markdown(head, rows))
    print(f"\n{options.kills} kills; all outputs are that of an unharmed run: {'yes' if identical else 'NO'}")
    sys.exit(not identical)


def kills(folder: Path, options: argparse.Namespace) -> tuple[list[tuple[str, ...]], bool]:
    """Kill so often, and give a row for every ten kills and whether all outputs were right."""
    rng = random.Random(options.seed)
    source = folder / "model.npz"
    subprocess.run([sys.executable, "-c", MODEL, source], check=True)
    begun = time.perf_counter()
    expected = output(folder, source, options.jobs)
    whole = time.perf_counter() - begun
    rows, all_right, done, rounds = [], True, 0, 0
    shares: list[float] = []
    kept: list[int] = []
    ends = right = touched = 0
    while done < options.kills or ends == 0:
        cache = folder / f"cache-{rounds}"
        rounds += 1
        out = folder / "out.json"
        out.unlink(missing_ok=True)
        before: dict[Path, int] = {}
        while True:
            child = begin(source, options.jobs, "--cache", cache, "--json", out)
            share = rng.random()
            try:
                child.wait(share * whole if done < options.kills else None)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
            now = records(cache)
            touched += sum(now.get(path) != stamp for path, stamp in before.items())
            before = now
            if child.returncode == 0:
                ends += 1
                good = out.read_bytes() == expected and not touched
                right += good
                all_right &= good
                break
            if child.returncode != -signal.SIGKILL:
                raise SystemExit(f"a run ended with {child.returncode}")
            done += 1
            shares.append(share)
            kept.append(min(MATRICES, len(now) // 3))
            if done % 10 == 0 or done == options.kills:
                span = f"{min(shares):.0%} to {max(shares):.0%}"
                rows.append((str(done), span, f"{min(kept)} to {max(kept)}", touched, ends, right))
                shares, kept = [], []
    rows.append(("end", "", "", touched, ends, right))
    return [tuple(map(str, row)) for row in rows], all_right


def records(cache: Path) -> dict[Path, int]:
    """Give the finished records of a cache, and when each was written."""
    return {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file() and not p.name.startswith(".")}


def begin(source: Path, jobs: int, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Begin an analysis in a process of its own."""
    return subprocess.Popen([HEAVYTAIL, "analyze", source, "--quiet", "--jobs", str(jobs), *arguments])


def output(folder: Path, source: Path, jobs: int) -> bytes:
    """Give what a run without a cache writes."""
    out = folder / "expected.json"
    if begin(source, jobs, "--json", out).wait():
        raise SystemExit("the analysis itself fails")
    return out.read_bytes()


if __name__ == "__main__":
    main()
