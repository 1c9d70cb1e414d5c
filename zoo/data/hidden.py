r"""Hidden seeds: test images of a blind challenge, with a commitment that is published before anything is scored.

The secret is the text of a file. The seed of the images is a hash of it. The commitment is "SALT:SHA256": the salt is
the hash of the recipe without the seed, the SHA-256 is that of salt and secret. It does not show the seed, and once the
secret is published, everyone can check it: (printf %s SALT; tr -d '\r\n' < FILE) | sha256sum.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.folder import cache_folder
from zoo.data.open import Dataset
from zoo.data.question import Question
from zoo.data.recipe import Recipe
from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.lensing.draws import Draws
from zoo.paths import make_dir, regular_file

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

LEAST_CHARACTERS, LEAST_DIFFERENT, LEAST_COMPRESSED = 32, 8, 28
"""A secret with fewer characters, different characters, or bytes when compressed, could be found by trying."""
MOST_CHARACTERS = 10_000
_MAKE_ONE = 'Make one: python -c "import secrets; print(secrets.token_hex(32))" > FILE'


@dataclass(frozen=True, kw_only=True)
class HiddenSeed:
    """The secret of a challenge.

    Args:
        secret: Text of the seed file; no message and no representation of the object shows it.
    """

    secret: str = field(repr=False)

    @property
    def number(self) -> int:
        """Seed of the images, below 2**63."""
        return int.from_bytes(hashlib.sha256(f"zoo image seed\0{self.secret}".encode()).digest()[:8], "big") >> 1

    def commitment(self, recipe: Recipe) -> str:
        """Return the published commitment for the images of a recipe, whose own seed and commitment do not count."""
        salt = replace(recipe, seed=0, commitment="").hash
        return f"{salt}:{hashlib.sha256((salt + self.secret).encode()).hexdigest()}"

    def published(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the commitment in place of the seed, for files that others get."""
        return replace(recipe, seed=0, commitment=self.commitment(recipe))


def read_seed_file(path: Path) -> HiddenSeed:
    """Return the secret in a file.

    Raises:
        UsageError: The file was not found or is unreadable, or its text could be found by trying, or is not one line.
    """
    try:
        with regular_file(path).open(encoding="utf-8", newline="") as file:
            text = file.read(MOST_CHARACTERS + 3)
            others = stat.S_IMODE(path.stat().st_mode) & 0o077
    except FileNotFoundError as error:
        raise UsageError(f"--seed-file {path} was not found.", hint=_MAKE_ONE) from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "it is not a text"
        raise UsageError(f"--seed-file {path} cannot be read: {cause}.", hint=_MAKE_ONE) from error
    secret = text.removesuffix("\n").removesuffix("\r")
    # The published command hashes the bytes of the file without the end of its line.
    if len(secret) > MOST_CHARACTERS or not secret.isprintable() or secret != secret.strip():
        raise UsageError(
            f"--seed-file {path} is not one line of up to {MOST_CHARACTERS:,} printable characters, without blanks "
            "around it.",
            hint=_MAKE_ONE,
        )
    repeats = len(zlib.compress(secret.encode(), 9)) < LEAST_COMPRESSED
    if len(secret) < LEAST_CHARACTERS or len(set(secret)) < LEAST_DIFFERENT or repeats:
        raise UsageError(
            f"--seed-file {path} holds a seed that could be found by trying: it needs at least {LEAST_CHARACTERS} "
            f"characters, {LEAST_DIFFERENT} of them different, and no repetition.",
            hint=_MAKE_ONE,
        )
    if others:
        logger.warning("%s can be read by other users of this machine: chmod 600 %s", path, path)
    return HiddenSeed(secret=secret)


def open_published(
    host: Host,
    recipe: Recipe,
    sizes: Mapping[str, int],
    *,
    split: str,
    question: Question | None = None,
    seed: HiddenSeed | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Split:
    """Return a split of a published recipe.

    Images of a hidden seed have ids in a shuffled order: labels come in triples that hold every class once, which the
    order of the images would show.

    Args:
        host: The plugins.
        recipe: Recipe, with its seed or with a commitment.
        sizes: Number of images of each split.
        split: "train", "val" or "test".
        question: Labels of the images; None keeps all classes apart.
        seed: Secret that the commitment was made from.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        UsageError: The seed is missing, needless or another one.
    """
    if seed is None:
        return Dataset(host, recipe, sizes, question=question, progress=progress).split(split)
    if not recipe.commitment:
        raise UsageError("--seed-file: the seed of these images is public.", hint="Leave out --seed-file.")
    if not hmac.compare_digest(seed.commitment(recipe), recipe.commitment):
        raise UsageError(
            f"--seed-file holds another seed than that of these images: it does not fit the published commitment "
            f"{recipe.commitment}.",
            hint="Use the seed file that the images were exported with.",
        )
    secret = replace(recipe, seed=seed.number, commitment="")
    _make_private(cache_folder(secret))
    opened = Dataset(host, secret, sizes, question=question, progress=progress).split(split)
    keys = Draws(f"{seed.secret}\0{split}", np.arange(len(opened))).bits("order of a challenge")[:, 0]
    places = np.argsort(np.argsort(keys))
    return replace(opened, ids=[f"hidden-{split}-{place:07d}" for place in places])


def _make_private(folder: Path) -> None:
    """Make a folder that only its owner can look into: its files hold the seed and the labels."""
    make_dir(folder)
    try:
        folder.chmod(0o700)
    except OSError as error:
        logger.warning("%s holds the hidden seed, and others may read it: %s", folder, error.strerror or error)
