"""Look up timm's names, and say which is the nearest to one that does not exist."""

from __future__ import annotations

import re
from typing import Any

from zoo.errors import MissingError, UsageError, nearest


def import_timm() -> Any:
    """Return the module timm.

    Raises:
        MissingError: it cannot be imported.
    """
    try:
        import timm
    except Exception as error:  # a torchvision of another torch build makes timm raise RuntimeError
        raise MissingError(
            f"timm cannot be imported: {type(error).__name__}: {error}",
            hint="Install it beside a torch and a torchvision that fit each other: pip install --upgrade timm",
        ) from error
    return timm


def find_architecture(name: str, *, also: tuple[str, ...] = ()) -> str:
    """Return timm's spelling of a name, with its tag if one is given.

    Args:
        name: such as "resnet26d" or "resnet50.a1_in1k"; upper and lower case are the same.
        also: further names that an error may suggest.

    Raises:
        UsageError: timm has no such architecture, or no such tag of it.
        MissingError: timm cannot be imported.
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
    stem = re.match(r"[a-z]*", name.lower())
    pattern = f"*{stem.group()}*" if stem and len(stem.group()) > 1 else "*"
    raise UsageError(
        f"timm {timm.__version__} has no architecture '{name}'."
        + nearest(f"timm/{name}", [f"timm/{candidate}" for candidate in (*also, *untagged)]),
        hint=f"List them: python -c \"import timm; print(*timm.list_models('{pattern}'), sep='\\n')\"",
    )


def has_weights(architecture: str) -> bool:
    """Whether timm knows where trained weights of an architecture are, under its tag if it has one."""
    config = import_timm().models.get_pretrained_cfg(architecture)
    return config is not None and bool(config.has_weights)


def weight_tags(architecture: str) -> list[str]:
    """Return the tags under which timm knows trained weights of an architecture."""
    base = architecture.partition(".")[0]
    names = import_timm().list_pretrained(f"{base}.*")
    return [name.partition(".")[2] for name in names]


def _refuse_tag(base: str, tag: str) -> str:
    """Raise UsageError with the tags that there are."""
    tags = weight_tags(base)
    there_are = f"The tags are: {', '.join(tags)}." if tags else "It has none."
    raise UsageError(
        f"timm has no weights '{tag}' of '{base}'.{nearest(tag, tags)} {there_are}",
        hint=f"Without weights: timm/{base}",
    )
