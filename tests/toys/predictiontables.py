"""Tables of predictions that a program without zoo wrote, for the tests of `zoo score`."""

import csv
import io

# All that an outsider needs.
OUTSIDER = """
import csv, sys
import numpy as np

images = np.load("test/images.npy")
ids = [row["id"] for row in csv.DictReader(open("test/ids.csv", newline=""))]
train = np.load("train/images.npy").reshape(-1, images[0].size)
classes = [row["class"] for row in csv.DictReader(open("train/labels.csv", newline=""))]
names = sorted(set(classes))
centres = np.stack([train[[name == each for each in classes]].mean(0) for name in names])
distance = ((images.reshape(len(images), 1, -1) - centres) ** 2).sum(2)
share = np.exp(distance.min(1, keepdims=True) - distance)
share /= share.sum(1, keepdims=True)
with open("predictions.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *names])
    for row in reversed(range(len(ids))):
        writer.writerow([ids[row], *share[row]])
assert not [name for name in sys.modules if name.partition(".")[0] in ("zoo", "torch")]
"""


def table(**changes):
    """Return the predictions as name -> column, with changed columns."""
    with open("predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]} | changes


def write(columns, path="changed.csv"):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    with open(path, "w", newline="") as file:
        file.write(out.getvalue())
    return path
