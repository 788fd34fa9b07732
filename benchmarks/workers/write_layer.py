"""write_layer.py FILE SIZE: one Gaussian float32 layer in a safetensors file, always the same numbers."""

import json
import sys
from pathlib import Path

import numpy as np

path, size = Path(sys.argv[1]), int(sys.argv[2])
W = np.random.default_rng(0).standard_normal((size, size), np.float32) * np.float32(0.02)
header = json.dumps({"layer.weight": {"dtype": "F32", "shape": W.shape, "data_offsets": [0, W.nbytes]}}).encode()
header += b" " * (-len(header) % 8)
part = path.with_suffix(".part")
part.write_bytes(len(header).to_bytes(8, "little") + header + W.tobytes())
part.rename(path)
