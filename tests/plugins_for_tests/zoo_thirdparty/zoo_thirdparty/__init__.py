"""A small plugin by somebody else: a network, images, a metric, a command and events."""
