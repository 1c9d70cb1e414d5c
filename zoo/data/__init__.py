"""From a recipe to batches: simulate once, keep in checked shards, load to the device, augment there."""
