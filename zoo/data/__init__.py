"""Images: recipes, simulation, files, splits, and batches on the device.

One word for each kind of subset:

- split: the training, validation or test images of a data set.
- shard: a file of 256 consecutive images of a split.
- share: the shards that one of several machines makes.
- chunk: consecutive images of a split that lie in one array.
- batch: the images of one step of a training, or of one call of a simulator.
- part: the images of a batch that one of several processes takes.
- fraction: a number from 0 to 1.
"""
