"""What a run leaves: the cell, its result, the store, comparisons between results."""
