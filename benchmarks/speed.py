"""Time and memory of heavytail against WeightWatcher 0.7.7 and against the bare cost of LAPACK.

    python benchmarks/speed.py                    everything, 5 pairs, about fifteen minutes on an idle machine
    python benchmarks/speed.py -n 2 --only floor  one section
    python benchmarks/speed.py --only models FILE ...

Whole processes run in turn, A B A B ..., after one unmeasured turn, with the same number of threads; a ratio is taken
pair by pair, so that both of a pair saw the same machine.

large     one 4096 x 4096 float32 layer, WeightWatcher's analyze() against `heavytail analyze`; and both again less a
          process that does everything but the analysis, because the imports of the two differ by seconds
minilm    the same for MiniLM
floor     4096 x 4096, `heavytail analyze` against a process that only reads, multiplies and calls LAPACK
inside    analyze() without imports against Gram matrix and LAPACK of the same matrices, MiniLM and 1,000 of 64 x 64
memory    peak memory, less that of a process of the same program that does everything but the analysis
models    analyze() of each FILE (by default of MiniLM, EfficientNet-Lite0 and the 4096 x 4096 layer) against a process
          that reads each matrix, sums its Gram matrix and calls LAPACK, as analyze() does, and nothing else: processor
          seconds of one thread without imports, and peak memory; the least of n
lapack    how much faster the Gram matrix way is than singular values at 4096 x 4096, in LAPACK alone
"""

import argparse
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from common import WORKERS, large_layer, markdown, model, run, weightwatcher_python

SECTIONS = ("large", "minilm", "floor", "inside", "memory", "lapack", "models")
HEAVYTAIL = Path(sysconfig.get_path("scripts")) / "heavytail"
PYTHON = sys.executable
OPEN = WORKERS / "open_only.py"
Row = tuple[str, ...]
Pairs = list[tuple[float, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="pairs of processes (default 5)")
    parser.add_argument("-r", type=int, default=7, help="repetitions inside a process (default 7)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="T")
    parser.add_argument("files", nargs="*", metavar="FILE", help="models for the section `models`")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    options = parser.parse_args()
    wanted = options.only or SECTIONS
    print(f"{machine(wanted)}\n")
    head = ("what", "threads", "A", "B", "ratio: median (least to greatest)", "of processor time", "target", "met")
    rows = [row for section in ("large", "minilm", "floor") if section in wanted for row in pairs(section, options)]
    rows += inside(options) if "inside" in wanted else []
    rows += lapack(options) if "lapack" in wanted else []
    if rows:
        print(markdown(head, rows), end="\n\n")
    if "memory" in wanted:
        head = (
            "what",
            "WeightWatcher",
            "without analysis",
            "heavytail",
            "without analysis",
            "added",
            "ratio",
            "target",
        )
        print(markdown((*head, "met", "over bare Python"), memory(options)), end="\n\n")
    if "models" in wanted:
        head = ("model", "floor", "analyze()", "ratio", "spectra's share", "floor's memory", "analyze()'s", "added")
        print(markdown(head, models(options)))


def machine(wanted: tuple[str, ...]) -> str:
    """Say what the numbers were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = f"{names[0] if names else platform.processor()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    packages = (
        "import sys; from importlib.metadata import version; from threadpoolctl import threadpool_info as info; "
        "import numpy.linalg, scipy.linalg; print(', '.join(f'{p} {version(p)}' for p in sys.argv[1:]), '(' + "
        "', '.join(sorted({f'{b[\"internal_api\"]} {b[\"version\"]} {b[\"architecture\"]}' for b in info()})) + ')')"
    )
    own = run((PYTHON, "-c", packages, "heavytail", "numpy", "scipy"), 1).output.strip()
    text = f"{cpu}; {platform.system()} {platform.machine()}, Python {platform.python_version()}; {own}"
    if {"large", "minilm", "memory"} & set(wanted):
        names = ("weightwatcher", "torch", "numpy", "scipy")
        text += f"; against {run((weightwatcher_python(), '-c', packages, *names), 1).output.strip()}"
    return text


def pairs(section: str, options: argparse.Namespace) -> Iterator[Row]:
    """Time whole processes."""
    path = model("MiniLM") if section == "minilm" else large_layer()
    for threads in options.threads:
        own = (HEAVYTAIL, "analyze", path, "--json", "report.json", "--quiet", "--jobs", str(threads))
        if section == "floor":
            a, b, what = own, (PYTHON, WORKERS / "bare_floor.py", path), "4096 process: A heavytail, B bare floor"
        else:
            a, b = weightwatcher("analyze", path), own
            name = "MiniLM" if section == "minilm" else "4096"
            what = f"{name} process: A WeightWatcher, B heavytail"
        commands = (a, b) if section == "floor" else (a, b, weightwatcher("load", path), (PYTHON, OPEN, path))
        runs = [[run(command, threads) for command in commands] for _ in range(options.n + 1)][1:]
        walls, cpus = ([tuple(getattr(one, kind) for one in turn) for turn in runs] for kind in ("wall", "cpu"))
        least = {"large": 2.4, "minilm": 3.0}.get(section)
        yield line(what, threads, walls, cpus, least=least, most=1.1 if section == "floor" else None)
        if section != "floor":
            less = ([(A - A0, B - B0) for A, B, A0, B0 in kind] for kind in (walls, cpus))
            yield line("  less its imports and opening", threads, *less)


def inside(options: argparse.Namespace) -> Iterator[Row]:
    """Time analyze() in a process that runs already."""
    for what, name, most in (("model", "MiniLM", 1.3), ("many", "1,000 of 64 x 64", 3.0)):
        for threads in options.threads:
            command = (PYTHON, WORKERS / "in_process.py", what, model("MiniLM"), str(threads), str(options.r))
            seconds = [(own, bare) for bare, own in json.loads(run(command, threads).output)]
            yield line(f"{name} in process: A analyze(), B bare floor", threads, seconds, most=most)


def lapack(options: argparse.Namespace) -> Iterator[Row]:
    """Time LAPACK alone."""
    for threads in options.threads:
        command = (PYTHON, WORKERS / "in_process.py", "lapack", large_layer(), str(threads), str(options.n))
        yield line("4096 LAPACK: A gesdd, B Gram and dsyev", threads, json.loads(run(command, threads).output))


def memory(options: argparse.Namespace) -> Iterator[Row]:
    """Take peak memory, with one thread."""

    def peak(*command: str | Path) -> float:
        return median(run(command, 1).memory for _ in range(min(options.n, 3)))

    bare = peak(PYTHON, "-c", "pass")
    for name, path in (("4096 process", large_layer()), ("MiniLM process", model("MiniLM"))):
        theirs, theirs_open = peak(*weightwatcher("analyze", path)), peak(*weightwatcher("load", path))
        own = peak(HEAVYTAIL, "analyze", path, "--json", "report.json", "--quiet", "--jobs", "1")
        own_open = peak(PYTHON, OPEN, path)
        added, own_added = theirs - theirs_open, own - own_open
        yield (
            *(
                name,
                *(f"{m:.0f} MiB" for m in (theirs, theirs_open, own, own_open)),
                f"{added:.0f}, {own_added:.0f} MiB",
            ),
            *(f"{own_added / added:.2f}", "<= 0.33", met(own_added <= added / 3)),
            f"{theirs - bare:.0f}, {own - bare:.0f} MiB",
        )


def models(options: argparse.Namespace) -> Iterator[Row]:
    """Time analyze() of whole models against Gram matrices and LAPACK alone, in turn, with one thread."""
    for path in options.files or (model("MiniLM"), model("EfficientNet-Lite0"), large_layer()):
        ways = [(PYTHON, WORKERS / "whole_model.py", what, Path(path).absolute()) for what in ("floor", "analyze")]
        bare, own = zip(*([run(way, 1) for way in ways] for _ in range(options.n)), strict=True)
        seconds = [min(json.loads(one.output)["seconds"] for one in runs) for runs in (bare, own)]
        share = median(one["spectra"] / one["seconds"] for one in (json.loads(one.output) for one in own))
        bare_peak, peak = (min(one.memory for one in runs) for runs in (bare, own))
        yield (
            *(Path(path).stem, *(f"{s:.3g} s" for s in seconds), f"{seconds[1] / seconds[0]:.2f}", f"{share:.0%}"),
            *(f"{bare_peak:.0f} MiB", f"{peak:.0f} MiB", f"{peak - bare_peak:.0f} MiB"),
        )


def weightwatcher(what: str, path: str) -> tuple[str | Path, ...]:
    return weightwatcher_python(), WORKERS / "run_weightwatcher.py", what, path, "table.json"


def line(
    what: str,
    threads: int,
    walls: Pairs,
    cpus: Pairs | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Row:
    """Make a row of the table from the seconds of each pair."""

    def ratio(seconds: Pairs) -> tuple[float, str]:
        ratios = [a / b for a, b, *_ in seconds]
        return median(ratios), f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    a, b = (f"{median(side):.3g} s" for side in list(zip(*walls, strict=True))[:2])
    middle, text = ratio(walls)
    target = f">= {least}" if least else f"<= {most}" if most else ""
    reached = met(middle >= least if least else middle <= most) if least or most else ""
    return what, str(threads), a, b, text, ratio(cpus)[1] if cpus else "", target, reached


def met(reached: bool) -> str:
    return "yes" if reached else "no"


if __name__ == "__main__":
    main()
