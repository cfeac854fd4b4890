"""Claims of the chapter on least squares and kernels (LS)."""
