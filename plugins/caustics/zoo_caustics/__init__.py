"""The default lens simulator: caustics' physics, batched and compiled, on CPU and GPU."""
