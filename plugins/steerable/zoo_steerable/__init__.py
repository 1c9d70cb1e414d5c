"""Steerable networks in plain torch with filters derived by escnn or e2cnn."""
