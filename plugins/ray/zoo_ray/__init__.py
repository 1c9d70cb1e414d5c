"""Cells on Ray: a detached actor for each, on the nodes of a cluster."""
