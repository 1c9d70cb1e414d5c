"""Anomaly detection: methods that learn from images without substructure alone."""
