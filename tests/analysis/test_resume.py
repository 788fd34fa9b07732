import random
import signal
import time
from collections import Counter

import numpy as np
import pytest
from analysis.runs import finish, records, start, written
from cases import gaussian, student

import heavytail as ht
from heavytail.analysis import jobs


def model(folder, count, size):
    arrays = {f"l{i:02}.weight": student(size + 7 * i, size, df=3, seed=i).astype(np.float32) for i in range(count - 1)}
    return written(folder / "m.safetensors", arrays | {"conv.weight": gaussian(64, 32, 3, 3).astype(np.float32)})


def killed(process, cache, count):
    """Kill a run as soon as its cache holds so many records; whether it was killed before it ended."""
    while process.poll() is None and len(records(cache)) < count:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_run_that_was_interrupted_does_not_do_again_what_was_finished(tmp_path, monkeypatch):
    source, cache = model(tmp_path, 8, 300), tmp_path / "cache"
    expected = ht.analyze(source).to_json()
    seen, real = Counter(), jobs._measured

    def counting(job, part, *rest):
        seen[part.name] += 1
        return real(job, part, *rest)

    def stop(*_):
        if len(seen) >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "_measured", counting)
    with pytest.raises(KeyboardInterrupt):
        ht.analyze(source, cache=cache, jobs=2, progress=stop)
    assert 4 <= len(seen) < 8
    assert ht.analyze(source, cache=cache, jobs=2).to_json() == expected
    assert set(seen.values()) == {1}
    assert len(seen) == 8


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    source, cache = model(tmp_path, 12, 300), tmp_path / "cache"
    expected = ht.analyze(source).to_json()
    assert killed(start(source, "--cache", cache, "--jobs", 1), cache, 9)
    before = Counter()
    real = jobs._measured

    def counting(job, part, *rest):
        before[part.name] += 1
        return real(job, part, *rest)

    kept = {path: path.stat().st_mtime_ns for path in records(cache) if not path.name.startswith(".")}
    monkeypatch.setattr(jobs, "_measured", counting)
    assert ht.analyze(source, cache=cache, jobs=1).to_json() == expected
    # A finished matrix has three records: its spectrum, what was measured, its tensor's digest. One was in work.
    assert 12 - len(kept) // 3 <= len(before) <= 12 - len(kept) // 3 + 1
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in records(cache)}.items()


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_after_three_kills_at_random_moments_the_output_is_the_same_byte_for_byte(tmp_path, number):
    source, cache, out = model(tmp_path, 40, 500), tmp_path / "cache", tmp_path / "out.json"
    expected = ht.analyze(source, jobs=1).to_json()
    rng = random.Random(number)
    total = 3 * 40
    for count in sorted(rng.randrange(1, total - 10) for _ in range(3)):
        before = len(records(cache))
        assert killed(start(source, "--cache", cache, "--json", out, "--jobs", number), cache, max(count, before + 1))
        assert len(records(cache)) > before
    left = start(source, "--cache", cache, "--json", out, "--jobs", number)
    assert finish(left) == (0, "")
    assert out.read_text() == expected
