import os

# On shared processors the threads of OpenBLAS wait for each other: tests of small matrices take five times as long.
# It is read when numpy is imported, so it stands before any import of it. A test of threads sets its own number.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

# The same examples on every machine and nothing written to disk; a slow shared processor is no failure.
settings.register_profile("house", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("house")
