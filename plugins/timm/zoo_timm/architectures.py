"""Look up names of architectures in timm, and suggest similar names for unknown ones."""

from __future__ import annotations

import difflib
import re
from typing import Any

from zoo.errors import MissingError, UsageError, nearest


def import_timm() -> Any:
    """Return the module timm.

    Raises:
        MissingError: The import fails.
    """
    try:
        import timm
    except Exception as error:  # a torchvision of another torch build makes timm raise RuntimeError
        raise MissingError(
            f"timm cannot be imported: {type(error).__name__}: {error}",
            hint="Install matching versions of torch and torchvision, then: pip install --upgrade timm",
        ) from error
    return timm


def find_architecture(name: str, *, also: tuple[str, ...] = ()) -> str:
    """Return timm's spelling of a name, with its tag if one is given.

    Args:
        name: Name of the architecture, for example "resnet26d" or "resnet50.a1_in1k"; case is ignored.
        also: Further names that an error may suggest.

    Raises:
        UsageError: The architecture or its tag does not exist in timm.
        MissingError: Timm cannot be imported.
    """
    timm = import_timm()
    untagged = timm.list_models()
    known = {known.lower(): known for known in [*untagged, *timm.list_models(include_tags=True)]}
    found = known.get(name.lower())
    if found is not None:
        return found

    renamed = timm.models.get_deprecated_models().get(name.lower())
    if renamed:
        raise UsageError(f"timm has renamed '{name}'.", hint=f"Use: timm/{renamed}")
    base, dot, tag = name.partition(".")
    if dot and base.lower() in known:
        return _refuse_tag(known[base.lower()], tag)
    near = difflib.get_close_matches(name.lower(), untagged, n=1) or [""]
    stems = (re.match(r"[a-z]*", one) for one in (name.lower(), near[0]))
    patterns = [f"*{stem.group()}*" for stem in stems if stem and len(stem.group()) > 1]
    pattern = next((one for one in patterns if timm.list_models(one)), "*")
    raise UsageError(
        f"timm {timm.__version__} has no architecture '{name}'."
        + nearest(f"timm/{name}", [f"timm/{candidate}" for candidate in (*also, *untagged)]),
        hint=f"List them: python -c \"import timm; print(*timm.list_models('{pattern}'), sep='\\n')\"",
    )


def has_weights(architecture: str) -> bool:
    """Return whether timm has trained weights for an architecture, or for its tag if the name has one."""
    config = import_timm().models.get_pretrained_cfg(architecture)
    return config is not None and bool(config.has_weights)


def weight_tags(architecture: str) -> list[str]:
    """Return the tags of the trained weights that timm has for an architecture."""
    base = architecture.partition(".")[0]
    names = import_timm().list_pretrained(f"{base}.*")
    return [name.partition(".")[2] for name in names]


def _refuse_tag(base: str, tag: str) -> str:
    """Raise UsageError with the available tags."""
    tags = weight_tags(base)
    available = f"Available tags: {', '.join(tags)}." if tags else "It has no tags."
    raise UsageError(
        f"timm has no weights '{tag}' of '{base}'.{nearest(tag, tags)} {available}",
        hint=f"Without weights: timm/{base}",
    )
