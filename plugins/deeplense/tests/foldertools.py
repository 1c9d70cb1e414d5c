"""Folders of images in DeepLense's layouts, for the tests of their reader."""

import numpy as np
from zoo_deeplense.folder import build

SIZE = 12


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape or (1, SIZE, SIZE)).astype(np.float32)


def put(path, array, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array, **options)


def pair(image: np.ndarray, mass: float) -> np.ndarray:
    """Return what np.array([image, mass]) was when DeepLenseSim wrote its axion files."""
    both = np.empty(2, dtype=object)
    both[0], both[1] = image, mass
    return both


def opened(root, **options):
    return build(**{"root": str(root), "scaling": "none", "skip_broken": False, **options})


def fill(root, folders: dict[str, int], count: int = 4) -> None:
    """Write `count` images into each folder, folder -> label; pixel 0, 0 is the label, 0, 1 the number."""
    for i, (folder, label) in enumerate(folders.items()):
        for j in range(count):
            image = picture(100 * i + j)
            image[0, 0, :2] = label, 100 * i + j
            put(root / folder / f"{j}.npy", image)


def below(*splits: str, names: tuple[str, ...] = ("no", "sphere", "vort")) -> dict[str, int]:
    """Return the folders of the three classes in each of the splits' folders."""
    return {f"{split}/{name}": label for split in splits for label, name in enumerate(names)}


COMMON = below("train", "val")
