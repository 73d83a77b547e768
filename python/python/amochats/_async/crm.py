"""The client of the CRM's own API."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, TypeVar

from .._native import arguments, make
from ..crm import (
    ChatLink,
    CreatedContact,
    CrmAccount,
    CrmSubscription,
    CrmUser,
    Domain,
    Integration,
    LinkedChat,
    NewContact,
    NewSource,
    NewTemplate,
    Review,
    Source,
    SourceChange,
    StoredTemplate,
    Talk,
    TemplateChange,
    Tokens,
    TokenStore,
    _written,
)
from ..exceptions import ClosedError
from ._call import call

_C = TypeVar("_C", bound="AsyncCrmClient")


class _Store:
    """A :class:`TokenStore` as the native half uses it."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    def load(self) -> bytes:
        tokens = self._store.load()
        return json.dumps(asdict(tokens)).encode()

    def store(self, tokens: bytes) -> bytes:
        self._store.store(Tokens(**json.loads(tokens)))
        return b""


class AsyncCrmClient:
    """Calls the CRM's own API for one account: ids, linking chats to contacts, sources, templates, talks,
    webhooks of the CRM, OAuth.

    Calls that read are repeated where that can help; those that write are not. Errors are those of
    :class:`AsyncClient`.

    Args:
        base_url: The account's address, ``https://example.amocrm.ru``, or a sandbox's.
        region: In place of it ``ru``, ``kommo`` or ``com``, together with ``subdomain``.
        subdomain: The first label of the account's host.
        token: A token that does not change.
        tokens: In place of it a :class:`TokenStore`: the pair is refreshed when the CRM refuses it.
        integration: Whose tokens they are; required with ``tokens``.
        timeout: Seconds for an attempt; 10.
        connect_timeout: Seconds for the making of a connection; 5.
        deadline: Seconds for a call with all its waiting and repeats; 30.
        request_interval: Seconds between two requests; the CRM takes 7 in a second.
        user_agent: The caller's own product, added to the ``User-Agent``.
        root_certificates: More certificates to trust, in PEM.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        region: str | None = None,
        subdomain: str | None = None,
        token: str | None = None,
        tokens: TokenStore | None = None,
        integration: Integration | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        deadline: float | None = None,
        request_interval: float | None = None,
        user_agent: str | None = None,
        root_certificates: Iterable[str] = (),
    ) -> None:
        settings = arguments(
            {
                "base_url": base_url,
                "region": region,
                "subdomain": subdomain,
                "token": token,
                "integration": integration and integration._write(),
                "timeout": timeout,
                "connect_timeout": connect_timeout,
                "deadline": deadline,
                "request_interval": request_interval,
                "user_agent": user_agent,
                "root_certificates": list(root_certificates),
            }
        )
        self._native: Any = make("CrmClient", settings, None if tokens is None else _Store(tokens))

    async def __aenter__(self: _C) -> _C:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the client; later calls raise :class:`ClosedError`. Calls under way go on."""
        self._native = None

    def _open(self) -> Any:
        if self._native is None:
            raise ClosedError("the client is closed")
        return self._native

    @property
    def base_url(self) -> str:
        """Where it calls, without a final slash."""
        return str(self._open().base_url)

    def as_user(self: _C, user: int) -> _C:
        """The same client in the name of another user, with a token that an administrator granted."""
        client = type(self).__new__(type(self))
        client._native = self._open().as_user(user)
        return client

    async def _call(self, name: str, values: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        written = b"" if body is None else json.dumps(_written(body)).encode()
        return await call(self._open(), name, values, written)

    # Account and users

    async def account(self) -> CrmAccount:
        """Reads the account, with its id inside the chat service: ``amojo_id``."""
        return CrmAccount._read(await self._call("account"))

    async def legacy_account(self, login: str, api_key: str) -> CrmAccount:
        """Reads the account in the first generation's way, with a user's login and API key."""
        return CrmAccount._read(await self._call("legacy_account", {"login": login, "api_key": api_key}))

    async def users(self) -> AsyncIterator[CrmUser]:
        """Iterates over the users, with their ids inside the chat service."""
        users = self._open().users_all()
        while (user := await call(users, "next")) is not None:
            yield CrmUser._read(user)

    async def user(self, id: int) -> CrmUser:
        """Reads one user."""
        return CrmUser._read(await self._call("user", {"id": id}))

    # Contacts

    async def link_chats(self, links: Sequence[ChatLink | Mapping[str, Any]]) -> list[LinkedChat]:
        """Links chats to contacts."""
        return [LinkedChat._read(link) for link in await self._call("link_chats", body=list(links))]

    async def linked_chats(
        self, *, contacts: Iterable[int] = (), chats: Iterable[str] = ()
    ) -> list[LinkedChat]:
        """Reads what is linked to contacts, or to chats by amoCRM's id."""
        values = {"ids": list(contacts), "chats": list(chats)}
        return [LinkedChat._read(link) for link in await self._call("linked_chats", values)]

    async def add_contacts(
        self, contacts: Sequence[NewContact | Mapping[str, Any]]
    ) -> list[CreatedContact]:
        """Makes contacts."""
        made = await self._call("add_contacts", body=list(contacts))
        return [CreatedContact._read(contact) for contact in made]

    # Sources

    async def sources(self, external_ids: Iterable[str] = ()) -> list[Source]:
        """Reads the integration's sources: all, at most 100, or those with these ids of its own."""
        found = await self._call("sources", {"external_ids": list(external_ids)})
        return [Source._read(source) for source in found]

    async def source(self, id: int) -> Source | None:
        """Reads one source, if there is one."""
        found = await self._call("source", {"id": id})
        return None if found is None else Source._read(found)

    async def add_sources(self, sources: Sequence[NewSource | Mapping[str, Any]]) -> list[Source]:
        """Makes sources."""
        return [Source._read(source) for source in await self._call("add_sources", body=list(sources))]

    async def update_sources(
        self, changes: Sequence[SourceChange | Mapping[str, Any]]
    ) -> list[Source]:
        """Changes sources."""
        return [Source._read(source) for source in await self._call("update_sources", body=list(changes))]

    async def delete_sources(self, ids: Iterable[int]) -> None:
        """Deletes sources."""
        await self._call("delete_sources", {"ids": list(ids)})

    # Templates

    async def templates(self, external_id: str | None = None) -> AsyncIterator[StoredTemplate]:
        """Iterates over the templates with their reviews, or those with an id of the integration's own."""
        templates = self._open().templates_all(external_id)
        while (template := await call(templates, "next")) is not None:
            yield StoredTemplate._read(template)

    async def template(self, id: int) -> StoredTemplate:
        """Reads one template with its reviews."""
        return StoredTemplate._read(await self._call("template", {"id": id}))

    async def add_templates(
        self, templates: Sequence[NewTemplate | Mapping[str, Any]]
    ) -> list[StoredTemplate]:
        """Makes templates."""
        made = await self._call("add_templates", body=list(templates))
        return [StoredTemplate._read(template) for template in made]

    async def update_templates(
        self, changes: Sequence[TemplateChange | Mapping[str, Any]]
    ) -> list[StoredTemplate]:
        """Changes templates."""
        changed = await self._call("update_templates", body=list(changes))
        return [StoredTemplate._read(template) for template in changed]

    async def delete_templates(self, ids: Iterable[int]) -> None:
        """Deletes templates."""
        await self._call("delete_templates", {"ids": list(ids)})

    async def submit_template(self, id: int) -> list[Review]:
        """Hands a template in for review: one review for each source of WhatsApp."""
        return [Review._read(review) for review in await self._call("submit_template", {"id": id})]

    async def set_review_status(
        self, id: int, review_id: int, status: str, *, reject_reason: str | None = None
    ) -> Review:
        """Reports what became of a review.

        Args:
            id: The template.
            review_id: Its review.
            status: ``approved``, ``paused`` or ``rejected``.
            reject_reason: Why it was rejected.
        """
        body = {"status": status} | ({} if reject_reason is None else {"reject_reason": reject_reason})
        values = {"id": id, "review_id": review_id}
        return Review._read(await self._call("set_review_status", values, body))

    # Talks

    async def talk(self, id: int) -> Talk:
        """Reads one talk."""
        return Talk._read(await self._call("talk", {"id": id}))

    async def close_talk(self, id: int, *, force: bool = False) -> None:
        """Closes a talk; with ``force`` also where a bot would first ask for a rating."""
        await self._call("close_talk", {"id": id, "force": force})

    # Webhooks of the CRM

    async def subscribe(self, destination: str, settings: Iterable[str]) -> CrmSubscription:
        """Subscribes an address to the CRM's own webhooks.

        Args:
            destination: The address.
            settings: The events, such as ``add_talk``.
        """
        body = {"destination": destination, "settings": list(settings)}
        return CrmSubscription._read(await self._call("subscribe", body=body))

    async def subscriptions(self) -> list[CrmSubscription]:
        """Reads the subscriptions to the CRM's own webhooks."""
        return [CrmSubscription._read(found) for found in await self._call("subscriptions")]

    async def unsubscribe(self, destination: str) -> None:
        """Ends the subscription of an address."""
        await self._call("unsubscribe", {"destination": destination})

    # OAuth

    async def exchange_code(self, integration: Integration, code: str) -> Tokens:
        """Trades the code of an installation for tokens; keep them."""
        values = {"integration": integration._write(), "code": code}
        return Tokens(**await self._call("exchange_code", values))

    async def refresh_tokens(self, integration: Integration, refresh_token: str) -> Tokens:
        """Trades a refresh token for the next pair; keep it, since a refresh token works once."""
        values = {"integration": integration._write(), "refresh_token": refresh_token}
        return Tokens(**await self._call("refresh_tokens", values))

    async def exchange_api_key(
        self, integration: Integration, login: str, api_key: str, *, state: str | None = None
    ) -> None:
        """Trades a user's API key of the old kind for a code, which goes to the redirect URI."""
        values = {
            "integration": integration._write(),
            "login": login,
            "api_key": api_key,
            "state": state,
        }
        await self._call("exchange_api_key", values)

    async def current_domain(self, refresh_token: str) -> Domain:
        """Asks where the account of a refresh token is now; does not use it up."""
        return Domain._read(await self._call("current_domain", {"refresh_token": refresh_token}))
