"""The part that all specs share: frozen, JSON-plain fields, and a target that is imported when it is used."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

from zoo.plain_values import FORMS, LONGEST_ID, LONGEST_SUMMARY, plain_value

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_]*/[A-Za-z0-9][A-Za-z0-9_.+-]*")
GROUP_PATTERN = re.compile(r"p4m?|so2|o2|([cd])([1-9]\d{0,2})")
GROUPS = "p4, p4m, cN and dN (N rotations without and with mirrors, such as c8 and d8), so2, o2"
TARGET_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The part that all specs share.

    Args:
        id: "namespace/name"; the namespace is the name of the plugin's entry point.
        target: "module:attribute", imported only when the thing is used.
        summary: One line for lists.
        version: Raise it when scores or images stop being comparable with older ones.
        tags: Free words to filter by.
        requires: Libraries that the target needs beyond the core, by import name, checked without importing them; as
            "DISTRIBUTION:IMPORT_NAME" where the two differ, such as "scikit-image:skimage".
        card: Markdown for `zoo show`: what it is, where it comes from, what it is good for.

    Raises:
        ValueError: A field has the wrong form.
    """

    kind: ClassVar[str] = "thing"

    id: str
    target: str
    summary: str = ""
    version: int = 1
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    card: str = ""

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("target", self.target)):
            if not isinstance(value, str):
                raise ValueError(f"{type(self).__name__}: {name} must be a text, not {value!r:.200}")
        if not ID_PATTERN.fullmatch(self.id) or len(self.id) > LONGEST_ID:
            raise ValueError(
                f"{self.kind} id {self.id[: LONGEST_ID + 9]!r} is not of the form namespace/name, or has more than "
                f"{LONGEST_ID} characters"
            )
        if not TARGET_PATTERN.fullmatch(self.target):
            raise ValueError(f"{self.id}: target {self.target!r} is not of the form module:attribute")
        for spec_field in dataclasses.fields(self):
            value = getattr(self, spec_field.name)
            # One value that cannot be printed, filtered or written as JSON would break the lists of all plugins.
            try:
                plain = plain_value(value)
            except ValueError as error:
                raise ValueError(f"{self.id}: {spec_field.name} {error}") from None
            if isinstance(plain, dict):
                plain = MappingProxyType(plain)
            elif isinstance(plain, list):
                plain = tuple(plain)
            object.__setattr__(self, spec_field.name, plain)
            allowed, fits = FORMS[str(spec_field.type)]
            if not fits(plain):
                raise ValueError(f"{self.id}: {spec_field.name} must be {allowed}, not {value!r:.200}")
        if len(self.summary) > LONGEST_SUMMARY:
            raise ValueError(f"{self.id}: summary has more than {LONGEST_SUMMARY} characters; a text goes into card")

    @property
    def namespace(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def name(self) -> str:
        """The part of the id after the slash."""
        return self.id.partition("/")[2]

    def load(self) -> Any:
        """Import the target and return it."""
        module_name, _, attribute = self.target.partition(":")
        loaded: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
        return loaded

    def loaded(self) -> Any:
        """Return the target where its module is imported already, without running any code; None elsewhere."""
        module_name, _, attribute = self.target.partition(":")
        module = sys.modules.get(module_name)
        return vars(module).get(attribute) if type(module) is ModuleType else None

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain values; `type(spec)(**spec.to_json())` gives the spec back."""
        plain: dict[str, Any] = {}
        for spec_field in dataclasses.fields(self):
            value = getattr(self, spec_field.name)
            if isinstance(value, Mapping):
                value = dict(value)
            elif isinstance(value, tuple):
                value = list(value)
            plain[spec_field.name] = value
        return plain
