"""bare_floor.py FILE: what the eigenvalues of one large layer cost at least, as a whole process.

It reads the bytes, forms the lower triangle of the Gram matrix block by block in place and calls LAPACK in place; no
name, no check, no fit. The pages of the upper triangle are never touched.
"""

import json
import mmap
import sys

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dsyev, dsyev_lwork

with open(sys.argv[1], "rb", buffering=0) as file:  # noqa: PTH123
    (layer,) = json.loads(file.read(int.from_bytes(file.read(8), "little"))).values()
    rows, M = layer["shape"]
    stored, block = np.empty((512, M), np.float32), np.empty((512, M))
    G = np.frombuffer(mmap.mmap(-1, 8 * M * M)).reshape((M, M), order="F")
    for start in range(0, rows, 512):
        n = min(512, rows - start)
        file.readinto(stored[:n])
        block[:n] = stored[:n]
        G = dsyrk(1.0, block[:n].T, beta=1.0, c=G, lower=1, overwrite_c=1)
_, _, info = dsyev(G, compute_v=0, lower=1, lwork=int(dsyev_lwork(M, lower=1)[0]), overwrite_a=1)
sys.exit(info)
