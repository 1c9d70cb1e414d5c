"""Tasks: what can be asked about the images of a data set. Each is registered as a `TaskSpec`."""
