"""A Dask cluster on this machine: one worker against two, and two of which one is killed.

    python benchmarks/cluster.py             three pairs, some five minutes on an idle machine
    python benchmarks/cluster.py -n 1        one pair

A model of 200 matrices is analysed by `heavytail analyze --scheduler`, whole processes, with one worker of one thread
and with two of them in turn; a ratio is taken pair by pair, so that both of a pair saw the same machine. What a process
takes for a model of one small matrix - imports, and finding the cluster - is given beside, and the ratio without it.
Every table is compared byte for byte with that of `--jobs 1`. Then a worker is killed when a third of the work is done.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from common import markdown

HEAVYTAIL = Path(sysconfig.get_path("scripts")) / "heavytail"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
MODEL = """
import sys
import numpy as np
rng = np.random.default_rng(0)
count = int(sys.argv[2])
shapes = [tuple(rng.integers(1100, 1501, 2)) for _ in range(count)] if count > 1 else [(60, 50)]
np.savez(sys.argv[1], **{f"layers.{i}.weight": rng.standard_t(4, s).astype(np.float32) for i, s in enumerate(shapes)})
"""
WORKERS_READY = """
import sys
from distributed import Client
with Client(sys.argv[1], set_as_default=False) as client:
    client.wait_for_workers(int(sys.argv[2]), timeout=60)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="pairs (default 3)")
    parser.add_argument("--matrices", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large, small = folder / "large.npz", folder / "small.npz"
        for path, count in ((large, options.matrices), (small, 1)):
            subprocess.run([sys.executable, "-c", MODEL, path, str(count)], check=True)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {options.matrices} matrices\n")
        expected, alone = analyze(large, "--jobs", "1")
        pairs = [tuple(on_cluster(folder, count, large, small) for count in (1, 2)) for _ in range(options.n)]
        killed, seconds = with_a_kill(folder, large, expected)
    report(pairs, expected, alone, killed, seconds)


Pair = tuple[tuple[str, float, float], ...]


def report(pairs: list[Pair], expected: str, alone: float, killed: str, seconds: float) -> None:
    rows = []
    for one, two in pairs:
        times = (f"{one[1]:.1f} s", f"{two[1]:.1f} s", f"{one[1] / two[1]:.2f}")
        bare = f"{(one[1] - one[2]) / (two[1] - two[2]):.2f}"
        rows.append((*times, bare, "yes" if one[0] == two[0] == expected else "NO"))
    head = ("one worker", "two workers", "ratio", "ratio without the start", "table as of --jobs 1")
    print(markdown(head, rows))
    ratio = median(one[1] / two[1] for one, two in pairs)
    start = median(worker[2] for pair in pairs for worker in pair)
    print(f"\nmedian ratio {ratio:.2f} (target: at least 1.7: {'met' if ratio >= 1.7 else 'NOT met'})")
    print(f"--jobs 1: {alone:.1f} s; start and end of a process: {start:.1f} s")
    print(f"with a killed worker: {seconds:.1f} s, table as of --jobs 1: {'yes' if killed == expected else 'NO'}")


def analyze(source: Path, *arguments: str) -> tuple[str, float]:
    """Give the table of a model, and the seconds that took."""
    begun = time.perf_counter()
    done = subprocess.run(command(source, *arguments), env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout, time.perf_counter() - begun


def command(source: Path, *arguments: str) -> list[str | Path]:
    return [HEAVYTAIL, "analyze", source, "--quiet", "--json", "-", *arguments]


def on_cluster(folder: Path, count: int, large: Path, small: Path) -> tuple[str, float, float]:
    """Give the table by so many workers, the seconds, and those of a model of next to nothing before it."""
    with cluster(folder, count) as (address, _):
        analyze(small, "--scheduler", address)  # the workers import what they need
        _, start = analyze(small, "--scheduler", address)
        return *analyze(large, "--scheduler", address), start


def with_a_kill(folder: Path, source: Path, expected: str) -> tuple[str, float]:
    """Give the table by two workers of which one is killed, and the seconds."""
    cache = folder / "cache"
    whole = 3 * len(json.loads(expected)["layers"])
    begun = time.perf_counter()
    with cluster(folder, 2) as (address, workers):
        arguments = command(source, "--scheduler", address, "--cache", str(cache))
        child = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        while child.poll() is None and sum(path.is_file() for path in cache.rglob("*")) < whole / 3:
            time.sleep(0.02)
        workers[0].kill()
        table, _ = child.communicate()
        return table, time.perf_counter() - begun


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and workers of one thread as processes of their own."""
    about = folder / "scheduler.json"
    about.unlink(missing_ok=True)
    processes = [begin("scheduler", "--port", "0", "--scheduler-file", about)]
    try:
        while not (about.exists() and about.read_text().strip().endswith("}")):
            time.sleep(0.02)
        address = json.loads(about.read_text())["address"]
        worker = (address, "--nthreads", "1", "--no-nanny", "--local-directory", folder)
        processes += [begin("worker", *worker) for _ in range(count)]
        subprocess.run([sys.executable, "-c", WORKERS_READY, address, str(count)], check=True)
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def begin(what: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Begin a scheduler or a worker."""
    start = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*start, *arguments], env=ENVIRONMENT, stdout=quiet, stderr=quiet)


if __name__ == "__main__":
    main()
