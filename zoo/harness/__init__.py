"""The harness: a matrix of cells, each trained by one rule and scored on a test split opened last."""
