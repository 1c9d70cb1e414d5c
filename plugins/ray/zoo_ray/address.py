"""Address of a cluster: what the process that connects to it needs, and what it means if nothing answers there."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from zoo.errors import UsageError
from zoo.paths import regular_file

AUTO, LOCAL = "auto", "local"
LOOPBACK: Mapping[str, str] = MappingProxyType({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})
"""Variable with which the address of a node is 127.0.0.1, as Ray has it on a Mac. Without it, Ray takes another address
of the machine, also where 127.0.0.1 was asked for, and its services listen on every address."""
_SECONDS = 5.0


def of_cluster(given: str) -> str:
    """Return the address to connect to: the given one, that of RAY_ADDRESS, or that of the Ray started here last.

    Args:
        given: Option of the user.
    """
    if chosen := given or os.environ.get("RAY_ADDRESS", ""):
        return chosen
    # Ray keeps it there, and waits for minutes for a cluster that has ended.
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return regular_file(Path(folder, "ray", "ray_current_cluster")).read_text().strip() or AUTO
    except OSError:
        return AUTO


def variables(address: str) -> dict[str, str]:
    """Return the variables of the process that connects to an address, or starts a Ray.

    Raises:
        UsageError: The address has another form, or nothing listens there.
    """
    if address == LOCAL:
        return {"RAY_USAGE_STATS_ENABLED": "0", **LOOPBACK, **_token()}
    if address == AUTO:
        return {}
    if address.startswith("ray://"):
        raise UsageError(
            f"--launcher-set address={address} is one of Ray Client, which is not supported.",
            hint="Run zoo on a node of the cluster, with the address that ray start has printed: address=HOST:6379",
        )
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise UsageError(
            f"--launcher-set address={address} is not of the form HOST:PORT.", hint="For example: address=head:6379"
        )
    if not _listens(host, int(port)):
        raise UsageError(
            f"Nothing answers at Ray's address {address}.",
            hint="Name a cluster that runs: --launcher-set address=HOST:6379; one for this command alone: "
            "--launcher ray/this_machine",
        )
    if _is_loopback(host) and not _listens(_own_address(), int(port)):
        return dict(LOOPBACK)
    return {}


def refused(address: str, error: str) -> UsageError:
    """Return what it means for a user that Ray cannot be connected to.

    Args:
        address: Address.
        error: Text of the error.
    """
    text = " ".join(error.split())
    if "has not answered" in text:  # what Ray prints meanwhile is about its own parts
        text = text.partition(" [")[0]
    if address == AUTO and "Could not find any running Ray instance" in text:
        return UsageError(
            "No Ray runs on this machine.",
            hint="Name one: --launcher-set address=HOST:6379; one for this command alone: --launcher ray/this_machine",
        )
    shown = "this machine" if address in (AUTO, LOCAL) else address
    if "AuthenticationError" in text or "token" in text.lower():
        hint = "Set the token of the cluster: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE, or ~/.ray/auth_token"
    elif "mismatch" in text.lower():
        hint = "Use the versions of Ray and Python that the cluster has; they are in the message above."
    elif "not answered" in text:
        hint = "zoo must run on a node of the cluster: ray status works there."
    else:
        # Without its token a cluster refuses to connect and states no reason.
        hint = "See on that machine: ray status; its token: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE"
    return UsageError(f"Ray at {shown} cannot be used: {text[:600]}", hint=hint)


def _token() -> dict[str, str]:
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _own_address() -> str:
    """Return the address that Ray puts in place of 127.0.0.1: that of the way to other machines."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("8.8.8.8", 53))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(way.getsockname()[0])
