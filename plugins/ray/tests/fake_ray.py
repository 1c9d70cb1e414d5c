"""A pretended library Ray: actors are objects of this process, and a test lets them start, die or be out of reach."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any


class RayError(Exception):
    """As ray.exceptions.RayError."""


class ActorDiedError(RayError):
    """As ray.exceptions.ActorDiedError."""


class ActorUnavailableError(RayError):
    """As ray.exceptions.ActorUnavailableError."""


class Reference:
    """Answer of an actor that may be there."""

    def __init__(self, actor: Actor, name: str) -> None:
        self.actor, self.name = actor, name

    def ready(self) -> bool:
        """Whether the answer, or an error, is there."""
        if self.actor.error is not None:
            return True
        return self.actor.started and (self.name != "end" or self.actor.state is not None)


class Actor:
    """Actor of a cell that does not run anything."""

    def __init__(self, ray: FakeRay, task: Any, options: dict[str, Any]) -> None:
        self.ray, self.task, self.options = ray, task, options
        self.started, self.state, self.stopped = False, None, False
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def remote() -> Reference:
            self.ray.calls.append(name)
            self.stopped = self.stopped or name == "stop"
            return Reference(self, name)

        return types.SimpleNamespace(remote=remote)


@dataclass(frozen=True)
class Bundle:
    """As PlacementGroupSchedulingStrategy."""

    placement_group: str
    placement_group_bundle_index: int


class FakeRay(types.ModuleType):
    """The module."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.actors: dict[str, Actor] = {}
        self.calls: list[str] = []
        self.exceptions = types.SimpleNamespace(
            RayError=RayError, ActorDiedError=ActorDiedError, ActorUnavailableError=ActorUnavailableError
        )
        self.reserved: dict[str, dict[str, Any]] = {}
        self.util = types.SimpleNamespace(
            list_named_actors=self._listed,
            placement_group=self._reserve,
            placement_group_table=self._table,
            get_placement_group=self._reservation,
            remove_placement_group=self._free,
            get_current_placement_group=lambda: "mine",
            get_node_ip_address=lambda: "127.0.0.1",
        )
        # As `monkeypatch` sets them, since they are modules of the library.
        self.modules = {
            "ray": self,
            "ray.util": self.util,
            "ray.util.scheduling_strategies": types.SimpleNamespace(PlacementGroupSchedulingStrategy=Bundle),
        }

    def init(self, **options: Any) -> None:
        """Keep how it was called."""
        self.calls.append(f"init {options['address']}")

    def remote(self, actor_class: Any) -> Any:
        """Return the class as one of actors."""

        def options(**given: Any) -> Any:
            def create(task: Any, *_: Any) -> Actor:
                name = given.get("name", f"other {len(self.actors)}")
                self.actors[name] = Actor(self, task, given)
                return self.actors[name]

            return types.SimpleNamespace(remote=create)

        return types.SimpleNamespace(options=options)

    def get_actor(self, name: str, *, namespace: str) -> Actor:
        """Return an actor that has not ended."""
        if name not in self.actors:
            raise ValueError(name)
        return self.actors[name]

    def wait(self, references: list[Reference], **_: Any) -> tuple[list[Reference], list[Reference]]:
        """Return what is there and what is not."""
        return [one for one in references if one.ready()], [one for one in references if not one.ready()]

    def get(self, reference: Reference, **_: Any) -> Any:
        """Return an answer, or raise the error in its place."""
        actor = reference.actor
        if actor.error is not None:
            raise actor.error
        return actor.state if reference.name == "end" else "node1"

    def kill(self, actor: Actor, **_: Any) -> None:
        """End an actor."""
        self.calls.append("kill")
        self.actors = {name: one for name, one in self.actors.items() if one is not actor}

    def _reserve(self, bundles: list[dict[str, float]], **options: Any) -> str:
        self.reserved[options["name"]] = {"bundles": bundles, **options}
        return str(options["name"])

    def _table(self) -> dict[str, dict[str, str]]:
        return {f"id {name}": {"name": name, "state": "CREATED"} for name in self.reserved}

    def _reservation(self, name: str) -> str:
        if name not in self.reserved:
            raise ValueError(name)
        return name

    def _free(self, name: str) -> None:
        self.calls.append(f"free {name}")
        self.reserved.pop(name, None)

    def _listed(self, **_: Any) -> list[dict[str, str]]:
        self.calls.append("list")
        return [{"name": name, "namespace": "zoo"} for name in self.actors]
