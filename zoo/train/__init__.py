"""Training of one network: data on the device, checkpoints, moving average, several processes."""
