"""From a matrix to its eigenvalues."""
