"""Runs cells: one in this process, a matrix of them through a launcher."""
