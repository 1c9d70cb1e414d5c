"""TensorBoard for runs: scalars during training, curves and images at the end."""
