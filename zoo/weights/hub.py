"""Weights on a Hugging Face hub: `hf://owner/name[/file]`, through the hub's own client.

Where the hub is (`HF_ENDPOINT`), the account (`HF_TOKEN`, or the login of the `hf` command) and where downloads are
kept (`HF_HOME`) are the client's own settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import MissingError, UsageError, ZooError
from zoo.results.store import CELL, RESULT, WEIGHTS

if TYPE_CHECKING:
    from types import ModuleType

    from zoo.host import Host

KNOCK_SECONDS = 5.0
_FORM = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[^@]+))?(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A place on the hub.

    Args:
        repository: "owner/name".
        file: Inside the repository.
        revision: Branch, tag or commit, or None for the main branch.
    """

    repository: str
    file: str = WEIGHTS
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> Address:
        """Return the place that "hf://owner/name[/file][@revision]" means.

        Raises:
            UsageError: The address has another form.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"'{text}' is not of the form hf://owner/name, hf://owner/name/file or .../file@revision.")
        return cls(
            repository=found["repository"], file=(found["file"] or WEIGHTS).rstrip("/"), revision=found["revision"]
        )


def fetch(text: str) -> Path:
    """Return the local copy of a file on the hub, fetched unless the copy is the newest or the hub is out of reach.

    Args:
        text: "hf://owner/name[/file][@revision]".

    Raises:
        UsageError: The name is malformed, or the hub does not have the file.
        MissingError: The hub is out of reach and no copy is cached.
    """
    address = Address.read(text)
    client = _client()
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    unreachable = _why_unreachable(client)
    try:
        return Path(
            client.hf_hub_download(
                address.repository, address.file, revision=address.revision, local_files_only=bool(unreachable)
            )
        )
    except LocalEntryNotFoundError as error:
        raise MissingError(
            f"{text} is not in the hub's cache on this machine, and the hub cannot be reached at "
            f"{client.constants.ENDPOINT} ({unreachable or error}).",
            hint="Give a local file or run, or connect to the network.",
        ) from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise UsageError(
            f"{text}: the hub at {client.constants.ENDPOINT} does not have this "
            f"{'repository, or denies you access' if isinstance(error, RepositoryNotFoundError) else 'file'}.",
            hint="A private repository needs a login: hf auth login",
        ) from error
    except Exception as error:
        raise MissingError(f"The hub does not give {text}: {type(error).__name__}: {error}") from error


def push(host: Host, run_dir: Path, text: str, *, private: bool = False, licence: str = "mit") -> str:
    """Upload a run's weights, card, cell and result as one commit, and return the commit's address.

    Args:
        host: The plugins.
        run_dir: Folder of a run that ended well.
        text: "hf://owner/name"; the repository is made if it is not there.
        private: Whether a new repository is hidden from others.
        licence: Licence of the weights, for the card.

    Raises:
        UsageError: The address has another form.
        DataError: The run failed, or its weights are damaged.
        MissingError: The hub is out of reach or refuses.
    """
    from zoo.models.load import load_weights
    from zoo.weights.card import make_card
    from zoo.weights.find import weights_of

    address = Address.read(text)
    if address.file != WEIGHTS or address.revision:
        raise UsageError(f"'{text}': push to a repository, not to a file: hf://{address.repository}")
    load_weights(host, weights_of(run_dir))  # nothing goes out that could not be loaded again
    card = make_card(host, run_dir, licence=licence, name=f"hf://{address.repository}")
    client = _client()
    if unreachable := _why_unreachable(client):
        raise MissingError(
            f"The hub cannot be reached at {client.constants.ENDPOINT} ({unreachable}).",
            hint="Nothing was sent; the same command works once it can be.",
        )
    files: dict[str, str | bytes] = {name: str(run_dir / name) for name in (WEIGHTS, CELL, RESULT)}
    files["README.md"] = card.encode()
    try:
        api = client.HfApi(library_name="lens-zoo")
        api.create_repo(address.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            address.repository,
            operations=[
                client.CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in files.items()
            ],
            commit_message=f"Weights of run {run_dir.name}",
        )
    except ZooError:
        raise
    except Exception as error:
        raise MissingError(
            f"The hub at {client.constants.ENDPOINT} did not take {text}: {type(error).__name__}: {error}",
            hint=_REFUSED if _is_refusal(error) else "Nothing was committed; the same command tries again.",
        ) from error
    return str(commit.commit_url)


_REFUSED = "Check that a token with write access is set: hf auth login"


def _is_refusal(error: Exception) -> bool:
    """Whether the hub lacks a token or refuses it, as opposed to a lost connection or a full disk of the hub."""
    return getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404)


def _client() -> ModuleType:
    import huggingface_hub
    import huggingface_hub.constants  # the package gives its submodules only once they are imported

    return huggingface_hub


def _why_unreachable(client: ModuleType) -> str:
    """Return why the hub cannot be reached, or "". The client itself would try for most of a minute."""
    if client.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        client.get_session().head(client.constants.ENDPOINT, timeout=KNOCK_SECONDS)
    except Exception as error:  # of httpx in newer clients, of requests in older ones
        return f"{type(error).__name__}: {error}"
    return ""
