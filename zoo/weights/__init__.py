"""Trained weights: the file they lie in, how they are found, loaded, started from, exported, shared and described."""
