"""The conformance kit: checks that a plugin's author runs on models, data sets and simulators."""
