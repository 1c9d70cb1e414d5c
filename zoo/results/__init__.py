"""Results of runs: the cell, its result, the store, comparisons between results."""
