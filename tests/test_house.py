import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import heavytail

HEAVY = ("torch", "matplotlib", "pandas", "scipy", "sklearn", "rich", "jinja2", "pyarrow", "numpy", "ml_dtypes")
MODULES = sorted(m.name for m in pkgutil.walk_packages(heavytail.__path__, "heavytail."))


def python(code):
    """Run a program in a fresh interpreter and give what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_importing_the_package_imports_nothing_heavy():
    loaded = python("import sys, heavytail; print(*sys.modules)")
    assert not set(HEAVY) & set(loaded)


def test_the_command_line_starts_without_anything_heavy():
    loaded = python("import sys, heavytail.cli; print(*sys.modules)")
    assert not set(HEAVY) & set(loaded)


def test_an_analysis_of_arrays_needs_neither_torch_nor_anything_to_draw_with():
    code = """
import sys, numpy as np, heavytail
heavytail.analyze({"a": np.eye(30)}).to_json()
print(*sys.modules)
"""
    loaded = set(python(code))
    assert not {"torch", "matplotlib", "sklearn", "rich", "jinja2", "pyarrow"} & loaded


def test_importing_everything_leaves_the_host_as_it_was():
    code = f"""
import logging, os, sys, warnings, random
import numpy as np
import scipy.linalg, scipy.special, scipy.stats, pandas, rich.console, jinja2, ml_dtypes, threadpoolctl, torch
root = logging.getLogger()
def state():
    return (list(warnings.filters), list(root.handlers), root.level, root.manager.disable, dict(os.environ),
            np.geterr(), random.getstate(), np.random.get_state()[1].tolist(), sys.excepthook, os.getcwd(),
            [p["num_threads"] for p in threadpoolctl.threadpool_info()], logging.raiseExceptions)
before = state()
import importlib
for name in {MODULES!r}:
    importlib.import_module(name)
assert state() == before
print("same")
"""
    assert python(code) == ["same"]


def test_no_file_is_written_by_an_import(tmp_path):
    code = f"import importlib, os; os.chdir({str(tmp_path)!r}); [importlib.import_module(m) for m in {MODULES!r}]"
    python(code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_says_what_it_is_for(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize("name", ["heavytail", *MODULES])
def test_every_public_name_exists_and_is_documented(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            text = inspect.getdoc(thing) or ""
            assert text.strip(), public
            # A dataclass without a docstring gets its own signature for one.
            assert not text.startswith(f"{public}("), public
        if inspect.isclass(thing):
            for attribute, member in vars(thing).items():
                if inspect.isfunction(member) and not attribute.startswith("_"):
                    assert inspect.getdoc(member), f"{public}.{attribute}"


def test_the_face_of_the_package_is_what_it_lists():
    assert dir(heavytail) == sorted(heavytail.__all__)
    assert {"analyze", "ModelReport", "HeavytailError", "__version__"} <= set(heavytail.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = heavytail.nonsense


def test_every_error_of_the_package_is_a_heavytail_error():
    from heavytail import errors

    for name in set(errors.__all__) - {"visible"}:
        assert issubclass(getattr(errors, name), heavytail.HeavytailError)
    assert str(errors.SourceError("a.npz", "is empty")) == "a.npz: is empty"
