"""Provide steerable networks whose filters come from escnn or e2cnn; all else is plain torch."""
