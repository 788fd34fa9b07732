"""What the numbers in a GGUF file's header mean: the types of tensors, and of files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILE_TYPES", "TYPES", "Stored", "can_dequantize", "dequantize"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A type in which a tensor is stored; a row is a whole number of blocks.

    Attributes:
        name: what ggml calls it.
        block: numbers in a block.
        size: bytes of a block.
        dtype: the numpy type of the same numbers; empty for a quantised type.
    """

    name: str
    block: int
    size: int
    dtype: str = ""


# ggml's `ggml_type` and the sizes of its blocks, with types that were withdrawn when files had been written already.
TYPES = {
    0: Stored("F32", 1, 4, "float32"),
    1: Stored("F16", 1, 2, "float16"),
    2: Stored("Q4_0", 32, 18),
    3: Stored("Q4_1", 32, 20),
    6: Stored("Q5_0", 32, 22),
    7: Stored("Q5_1", 32, 24),
    8: Stored("Q8_0", 32, 34),
    9: Stored("Q8_1", 32, 36),
    10: Stored("Q2_K", 256, 84),
    11: Stored("Q3_K", 256, 110),
    12: Stored("Q4_K", 256, 144),
    13: Stored("Q5_K", 256, 176),
    14: Stored("Q6_K", 256, 210),
    15: Stored("Q8_K", 256, 292),
    16: Stored("IQ2_XXS", 256, 66),
    17: Stored("IQ2_XS", 256, 74),
    18: Stored("IQ3_XXS", 256, 98),
    19: Stored("IQ1_S", 256, 50),
    20: Stored("IQ4_NL", 32, 18),
    21: Stored("IQ3_S", 256, 110),
    22: Stored("IQ2_S", 256, 82),
    23: Stored("IQ4_XS", 256, 136),
    24: Stored("I8", 1, 1, "int8"),
    25: Stored("I16", 1, 2, "int16"),
    26: Stored("I32", 1, 4, "int32"),
    27: Stored("I64", 1, 8, "int64"),
    28: Stored("F64", 1, 8, "float64"),
    29: Stored("IQ1_M", 256, 56),
    30: Stored("BF16", 1, 2, "bfloat16"),
    31: Stored("Q4_0_4_4", 32, 18),
    32: Stored("Q4_0_4_8", 32, 18),
    33: Stored("Q4_0_8_8", 32, 18),
    34: Stored("TQ1_0", 256, 54),
    35: Stored("TQ2_0", 256, 66),
    36: Stored("IQ4_NL_4_4", 32, 18),
    37: Stored("IQ4_NL_4_8", 32, 18),
    38: Stored("IQ4_NL_8_8", 32, 18),
    39: Stored("MXFP4", 32, 17),
    40: Stored("NVFP4", 64, 36),
    41: Stored("Q1_0", 128, 18),
}

# llama.cpp's `llama_ftype`, the value of general.file_type: the type of most matrices.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}


@cache
def can_dequantize(stored: Stored) -> bool:
    """Say whether the installed gguf package turns blocks of this type into numbers, by trying one.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        dequantize(stored, np.zeros(stored.size, np.uint8))
    except (KeyError, NotImplementedError):  # it does not know the type, or knows no more than its name
        return False
    return True


def dequantize(stored: Stored, blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn consecutive blocks of a quantised type into numbers, shape (n,).

    A scale may be infinite or NaN, and then so are its numbers: that is what the file holds, and no warning.

    Raises:
        ImportError: the gguf package is not installed.
    """
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):
        numbers: NDArray[np.float32] = dequantize(blocks.reshape(1, -1), GGMLQuantizationType[stored.name])
    return numbers.reshape(-1)
