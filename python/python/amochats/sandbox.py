"""The local amoCRM, inside this process: the chats API, webhooks, and a manager who answers.

>>> with Sandbox() as sandbox:
...     client = amochats.Client(sandbox.channel_id, sandbox.secret, base_url=sandbox.api)
...     connected = client.connect(sandbox.account_id, title="Shop")
...     connected.scope_id == sandbox.scope_id
True
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar

import amochats

from ._native import arguments, make
from ._sync._call import call
from .exceptions import InvalidArgumentError, MisuseError

__all__ = ["Sandbox"]

_S = TypeVar("_S", bound="Sandbox")

_PATIENCE = 30.0


class Sandbox:
    """A local amoCRM, to develop and test against; nothing leaves the machine.

    It follows the chats API strictly and says which rule a request broke. Use it in a ``with``. Its state
    is in memory, unless ``state`` names a file.

    Its methods block. In a test whose event loop also serves the webhooks, call them with
    ``await asyncio.to_thread(...)``: an answer waits for its webhook.

    Args:
        api: Where the chats API listens, as ``127.0.0.1:0``; port 0 picks a free one.
        page: Where the manager's page and its control API listen.
        channel_id: The channel's id; made up if absent.
        secret: The channel's secret; made up if absent.
        accounts: The accounts; one is made up if there is none.
        webhook_url: Where webhooks go, with ``:scope_id`` in its place; :meth:`webhooks_to` says it later.
        personality: Whose habits it has: ``ru``, ``kommo`` or ``gen1``.
        strict: Refuses whatever the vendor's pages do not promise to be taken.
        state: A file in which accounts, chats and messages are kept.
        seed: Makes all ids the same in every run.

    Raises:
        ImportError: This build of amochats was made without the feature ``sandbox``.
    """

    def __init__(
        self,
        *,
        api: str | None = None,
        page: str | None = None,
        channel_id: str | None = None,
        secret: str | None = None,
        accounts: Iterable[str] = (),
        webhook_url: str | None = None,
        personality: Literal["ru", "kommo", "gen1"] = "ru",
        strict: bool = False,
        state: "str | os.PathLike[str] | None" = None,
        seed: int | None = None,
    ) -> None:
        settings = {
            "api": api,
            "page": page,
            "channel_id": channel_id,
            "secret": secret,
            "accounts": list(accounts),
            "webhook_url": webhook_url,
            "personality": personality,
            "strict": strict,
            "state": None if state is None else os.fspath(state),
            "seed": seed,
        }
        self._native: Any = make("Sandbox", arguments(settings))
        self._ready: dict[str, Any] | None = None

    def __repr__(self) -> str:
        where = "closed" if self._ready is None else self._ready["api"]
        return f"<{type(self).__name__} {where}>"

    def __enter__(self: _S) -> _S:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begins to listen. Rather use it in a ``with``.

        Raises:
            InvalidArgumentError: An argument cannot be used; ``field`` is its name.
            ConfigError: An address cannot be listened on, or the file of ``state`` cannot be used.
            MisuseError: It is open already.
        """
        self._ready = call(self._native, "open")

    def close(self) -> None:
        """Ends it, after the calls and webhooks in flight. May be repeated."""
        self._ready = None
        call(self._native, "close")

    @property
    def ready(self) -> dict[str, Any]:
        """All that ``amochats sandbox`` prints when it is up."""
        if self._ready is None:
            raise MisuseError("the sandbox is not open: use it in a with")
        return self._ready

    @property
    def api(self) -> str:
        """The address of the chats API: a client's ``base_url``."""
        return str(self.ready["api"])

    @property
    def page(self) -> str:
        """The address of the manager's page, and of the control API below ``/api``."""
        return str(self.ready["page"])

    @property
    def channel_id(self) -> str:
        """The first channel's id."""
        return str(self.ready["channel_id"])

    @property
    def secret(self) -> str:
        """The first channel's secret."""
        return str(self.ready["secret"])

    @property
    def account_id(self) -> str:
        """The first account's id."""
        return str(self.ready["accounts"][0])

    @property
    def scope_id(self) -> str:
        """What connects the first channel with the first account."""
        return f"{self.channel_id}_{self.account_id}"

    def config(self, store: "str | os.PathLike[str]", **sections: Any) -> dict[str, Any]:
        """The configuration of a :class:`~amochats.Channel` for this sandbox, on free ports.

        Args:
            store: The file of its events.
            sections: Further sections, in place of those that are made here.
        """
        channel = {"id": self.channel_id, "secret": self.secret, "base_url": self.api}
        return {
            "listener": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "store": {"path": os.fspath(store)},
            "channel": [channel],
            **sections,
        }

    def webhooks_to(self, url: str) -> None:
        """Sends webhooks there from now on.

        Args:
            url: The whole address, or a :attr:`Channel.listener_url`, to which ``/webhook/:scope_id``
                is added.
        """
        if ":scope_id" not in url:
            url = f"{url.rstrip('/')}/webhook/:scope_id"
        self.control("POST", "/api/webhook", {"url": url})

    def chats(self) -> list[dict[str, Any]]:
        """The chats that the manager sees."""
        found: list[dict[str, Any]] = self.control("GET", "/api/chats")["chats"]
        return found

    def messages(self, conversation_ref_id: str) -> list[dict[str, Any]]:
        """The messages of a chat, the oldest first."""
        path = f"/api/chats/{conversation_ref_id}/messages"
        found: list[dict[str, Any]] = self.control("GET", path)["messages"]
        return found

    def answer(self, conversation_ref_id: str, text: str) -> dict[str, Any]:
        """The manager answers in a chat: the webhook is sent before this returns."""
        path = f"/api/chats/{conversation_ref_id}/messages"
        answered: dict[str, Any] = self.control("POST", path, {"text": text})
        return answered

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Calls the control API, which ``/api/openapi.json`` of the page describes.

        Raises:
            InvalidArgumentError: It refused the call.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.page + path, data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_PATIENCE) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace").strip()
            raise InvalidArgumentError(f"{method} {path}: {said or error}") from None
        return json.loads(answer) if answer else None
