"""TensorBoard for runs: scalars while they train, curves and images when they end."""
