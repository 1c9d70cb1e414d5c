"""Rotated MNIST: 5,000 real digits, each turned by a fixed random angle."""
