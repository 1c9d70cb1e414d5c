"""A network with its normalisation, and the file of its weights."""
