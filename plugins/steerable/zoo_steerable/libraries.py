"""Import escnn 1.0.11 and e2cnn 0.2.3, patched to work with numpy 2 and a modern Python.

The published packages are used; a few lines of their source are patched in memory during the import, and an
unexpected source is an error. The patches:

- e2cnn: `np.array(x, copy=False)`, which raises an error in numpy 2 if a copy is needed; `ndarray.tostring` and
  `np.float`, which were removed; a mask of bytes, which torch no longer accepts as a mask.
- escnn: it imports lie_learn, which needs numpy < 2, for rotations in space only; scikit-learn's SVD refuses the
  `np.matrix` that it receives; it keeps a cache in site-packages; and it builds thousands of tiny sparse matrices
  where dense ones are tens of times faster (D4: half a minute). py3nj, also for rotations in space, is optional.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import CodeType, ModuleType

from zoo.errors import MissingError, UsageError, nearest

LIBRARIES = ("escnn", "e2cnn")
VERSIONS = {"escnn": "1.0.11", "e2cnn": "0.2.3"}

_SYLVESTER = """\
rho_1_g, rho_2_g = (
            np.asarray(rho.todense() if sparse.issparse(rho) else rho) for rho in (rho_1_g, rho_2_g)
        )
        constraint = np.kron(np.eye(len(rho_2_g)), rho_1_g) - np.kron(rho_2_g.T, np.eye(len(rho_1_g)))"""

# module -> (published text, number of occurrences, replacement)
MENDED: dict[str, tuple[tuple[str, int, str], ...]] = {
    "e2cnn.kernels.utils": (
        ("np.array(k, copy=False)", 2, "np.asarray(k)"),
        ("np.array(gamma, copy=False)", 2, "np.asarray(gamma)"),
        ("np.array(s, copy=False)", 2, "np.asarray(s)"),
    ),
    "e2cnn.kernels.irreps_basis": ((".tostring()", 5, ".tobytes()"),),
    "e2cnn.group.groups.o2group": (("dtype=np.float)", 1, "dtype=float)"),),
    "e2cnn.nn.modules.r2_conv.basisexpansion_singleblock": (
        ("mask = mask.astype(np.uint8)", 1, "mask = mask.astype(bool)"),
        ("norms.to(torch.uint8)", 1, "norms"),
    ),
    "escnn.group": (("os.path.join(os.path.dirname(__file__), '_cache')", 1, "None"),),
    "escnn.group.groups.so3_utils": (
        (
            "from lie_learn.representations.SO3.wigner_d import wigner_D_matrix",
            1,
            "try:\n    from lie_learn.representations.SO3.wigner_d import wigner_D_matrix\n"
            "except ImportError:\n    wigner_D_matrix = None",
        ),
    ),
    "escnn.group._numerical": (
        ("    from sklearn.utils.extmath import randomized_svd", 1, "    randomized_svd = None"),
        ("constraint = sparse.kronsum(rho_1_g, -rho_2_g.T, format='csc')", 1, _SYLVESTER),
        ("sparse.vstack(constraints, format='csc')", 1, "sparse.csc_matrix(np.vstack(constraints))"),
    ),
}


def load(name: str) -> ModuleType:
    """Import a patched library with its modules `nn`, `gspaces` and `group`.

    Args:
        name: Name of the library: "escnn" or "e2cnn".

    Raises:
        UsageError: The name is unknown.
        MissingError: The library is not installed, has another version, or was already imported without the patches.
    """
    if name not in LIBRARIES:
        raise UsageError(f"library '{name}' is not one of {', '.join(LIBRARIES)}.{nearest(name, LIBRARIES)}")
    if importlib.util.find_spec(name) is None:
        raise MissingError(
            f"The library {name}, which computes the filters of these networks, is not installed.",
            # Some requirements of escnn cannot be installed by pip; they are needed only for rotations in space.
            hint=f"Install it: pip install --no-deps {name}=={VERSIONS[name]}",
        )
    strangers = [
        module for module in MENDED if module in sys.modules and not isinstance(_loader(sys.modules[module]), _Mender)
    ]
    if any(module.partition(".")[0] == name for module in strangers):
        raise MissingError(
            f"{name} was imported before zoo could patch it.",
            hint=f"Import it with: zoo_steerable.libraries.load('{name}')",
        )
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        with quiet():
            library = importlib.import_module(name)
            for part in ("nn", "gspaces", "group"):
                importlib.import_module(f"{name}.{part}")
    finally:
        sys.meta_path.remove(finder)
    return library


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the libraries' output to stdout and their warnings about syntax and missing extras."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class _Mender(importlib.machinery.SourceFileLoader):
    """Compile a module from patched source, without writing bytecode, as other code may use the library too."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the patched code of a module."""
        path = self.get_filename(fullname)
        text = self.get_data(path).decode("utf-8")
        for published, count, instead in MENDED[fullname]:
            if text.count(published) != count:
                library = fullname.partition(".")[0]
                raise MissingError(
                    f"{fullname} differs from {library} {VERSIONS[library]}: it contains {published!r} "
                    f"{text.count(published)} times, not {count}.",
                    hint=f"Install the supported version: pip install --no-deps {library}=={VERSIONS[library]}",
                )
            text = text.replace(published, instead)
        code: CodeType = self.source_to_code(text.encode("utf-8"), path)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Find the modules that are patched; Python imports all others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the location of a module, with the loader that patches it."""
        if fullname not in MENDED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Mender(fullname, spec.origin)
        return spec


def _loader(module: ModuleType) -> object:
    return getattr(module, "__loader__", None)
