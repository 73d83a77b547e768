"""The client of the CRM's own API against a sandbox, in both forms: calls, OAuth and kept tokens."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import amochats
import pytest
from amochats import AsyncCrmClient, Client, CreateChat, CrmClient, Integration, NewMessage, Sender, Text, Tokens
from sandbox import Sandbox

ANNA = Sender("u-1", "Anna", phone="+15550100")


class Crm(Sandbox):
    """A sandbox whose CRM does not slow its callers down, with its integration."""

    def __init__(self) -> None:
        super().__init__("--switch", "crm_requests_per_second=null")
        known = self.control("GET", "/api/crm/integrations")["integrations"][0]
        names = ("client_id", "client_secret", "redirect_uri")
        self.integration = Integration(**{name: known[name] for name in names})

    def issue(self, what: str, **values: Any) -> str:
        """A `token`, or a `code` of an installation."""
        path = f"/api/crm/integrations/{self.integration.client_id}/{what}"
        return str(self.control("POST", path, values)[what])

    def account(self) -> dict[str, Any]:
        """What the CRM knows of the account."""
        found: dict[str, Any] = self.control("GET", "/api/crm")["accounts"][0]
        return found

    def chats_client(self) -> Client:
        client = Client(self.channel_id, self.secret, base_url=self.api, requests_per_second=0)
        client.connect(self.account_id, title="Shop")
        return client


@pytest.fixture
def crm() -> Iterator[Crm]:
    started = Crm()
    yield started
    started.close()


@pytest.fixture
def client(crm: Crm, form: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a client; with a token of an administrator unless told otherwise."""

    def of(**settings: Any) -> Any:
        if not settings:
            settings = {"token": crm.issue("token")}
        return form(CrmClient, AsyncCrmClient, base_url=crm.api, request_interval=0.0, **settings)

    return of


def test_the_account_and_its_users(crm: Crm, client: Callable[..., Any]) -> None:
    calls = client()
    account = calls.account()
    assert account.amojo_id == crm.account_id
    user = list(calls.users())[0]
    assert calls.user(user.id) == user and user.amojo_id is not None
    assert user.id == account.current_user_id
    known = crm.account()["users"][0]
    legacy = calls.legacy_account(known["login"], known["api_key"])
    assert (legacy.id, legacy.amojo_id) == (account.id, account.amojo_id)
    with pytest.raises(amochats.ForbiddenError) as caught:
        calls.legacy_account(known["login"], "wrong")
    assert caught.value.http_status == 401 and known["login"] not in str(caught.value)
    with pytest.raises(amochats.ForbiddenError):
        client(token="wrong").account()


def test_a_call_in_the_name_of_another_user(crm: Crm) -> None:
    with CrmClient(base_url=crm.api, token=crm.issue("token"), request_interval=0.0) as calls:
        user = next(calls.users())
        assert calls.as_user(user.id).user(user.id) == user
        with pytest.raises(amochats.ForbiddenError):
            calls.as_user(5).account()
    with pytest.raises(amochats.ClosedError):
        calls.account()


def test_contacts_and_their_chats(crm: Crm, client: Callable[..., Any]) -> None:
    calls = client()
    chat = crm.chats_client().create_chat(crm.scope_id, CreateChat("c-1", ANNA)).conversation_ref_id
    [contact] = calls.add_contacts([amochats.NewContact("Anna")])
    [link] = calls.link_chats([amochats.ChatLink(contact.id, chat)])
    assert (link.contact_id, link.chat_id) == (contact.id, chat)
    assert [found.chat_id for found in calls.linked_chats(contacts=[contact.id])] == [chat]
    assert [found.contact_id for found in calls.linked_chats(chats=[chat])] == [contact.id]


def test_sources(client: Callable[..., Any]) -> None:
    calls = client()
    [source] = calls.add_sources([amochats.NewSource("Shop", "15550199")])
    assert calls.source(source.id).external_id == "15550199"
    [changed] = calls.update_sources([amochats.SourceChange(source.id, name="Shop 2")])
    assert changed.name == "Shop 2"
    assert [found.id for found in calls.sources(["15550199"])] == [source.id]
    calls.delete_sources([source.id])
    assert source.id not in [found.id for found in calls.sources()]


def test_templates_and_their_reviews(client: Callable[..., Any]) -> None:
    calls = client()
    whatsapp = amochats.SourceService("whatsapp", params={"waba": True})
    [source] = calls.add_sources([amochats.NewSource("Shop", "15550199", services=(whatsapp,))])
    buttons = (
        amochats.TemplateButton("Yes"),
        amochats.TemplateButton("Open", type="url", url="https://example.org"),
    )
    waba = amochats.NewTemplate(
        "Hello", "Hi {{contact.name}}", external_id="hello", type="waba", waba_category="UTILITY", buttons=buttons
    )
    reviewed, plain = calls.add_templates([waba, amochats.NewTemplate("Bye", "Bye")])
    assert (reviewed.type, reviewed.external_id) == ("waba", "hello")
    assert [found.id for found in calls.templates("hello")] == [reviewed.id]
    assert {found.id for found in calls.templates()} == {reviewed.id, plain.id}
    calls.update_templates([amochats.TemplateChange(plain.id, name="Bye again")])
    assert calls.template(plain.id).name == "Bye again"

    [review] = calls.submit_template(reviewed.id)
    assert (review.status, review.source_id) == ("review", source.id)
    assert calls.template(reviewed.id).is_on_review is True
    ended = calls.set_review_status(reviewed.id, review.id, "rejected", reject_reason="private words")
    assert (ended.status, ended.reject_reason) == ("rejected", "private words")
    assert "private" not in repr(ended)
    stored = calls.template(reviewed.id)
    assert (stored.review_status, stored.is_on_review, stored.reviews) == ("rejected", False, (ended,))
    assert calls.set_review_status(reviewed.id, review.id, "approved").status == "approved"
    with pytest.raises(amochats.RejectedError):
        calls.set_review_status(reviewed.id, 5, "approved")
    with pytest.raises(amochats.InvalidArgumentError):
        calls.set_review_status(reviewed.id, review.id, "eaten")
    with pytest.raises(amochats.RejectedError) as caught:
        calls.add_templates([replace(waba, waba_category="SPAM")])
    assert (caught.value.http_status, caught.value.field) == (400, "waba_category")
    calls.delete_templates([reviewed.id, plain.id])
    with pytest.raises(amochats.NotFoundError):
        calls.template(plain.id)


def test_talks(crm: Crm, client: Callable[..., Any]) -> None:
    calls = client()
    chats = crm.chats_client()
    sent = chats.send_message(crm.scope_id, NewMessage("c-1", "m-1", ANNA, Text("hi")))
    talk = calls.talk(crm.account()["talks"][0]["id"])
    assert (talk.chat_id, talk.entity_type, talk.is_in_work) == (sent.conversation_ref_id, "lead", True)
    assert talk.began_at is not None and talk.began_at.timestamp() == talk.created_at
    calls.close_talk(talk.talk_id)
    assert calls.talk(talk.talk_id).is_in_work is False
    with pytest.raises(amochats.RejectedError) as caught:
        calls.close_talk(talk.talk_id, force=True)
    assert caught.value.http_status == 422
    for call in (calls.talk, calls.close_talk):
        with pytest.raises(amochats.NotFoundError):
            call(5)


def test_webhooks_of_the_crm(client: Callable[..., Any]) -> None:
    calls = client()
    made = calls.subscribe("http://127.0.0.1:9/crm", ["add_message"])
    assert (made.settings, made.disabled) == (("add_message",), False)
    assert [found.destination for found in calls.subscriptions()] == ["http://127.0.0.1:9/crm"]
    calls.unsubscribe("http://127.0.0.1:9/crm")
    with pytest.raises(amochats.NotFoundError):
        calls.unsubscribe("http://127.0.0.1:9/crm")


# OAuth


def test_a_code_becomes_tokens_once(crm: Crm, client: Callable[..., Any]) -> None:
    calls, code = client(token=None), crm.issue("code")
    with pytest.raises(amochats.RejectedError):
        calls.exchange_code(replace(crm.integration, redirect_uri="https://example.org"), code)
    tokens = calls.exchange_code(crm.integration, code)
    assert tokens.expires_in == 86_400 and tokens.server_time is not None
    assert tokens.access_token not in repr(tokens) and tokens.refresh_token not in repr(tokens)
    assert crm.integration.client_secret not in repr(crm.integration)
    assert client(token=tokens.access_token).account().amojo_id == crm.account_id
    with pytest.raises(amochats.RejectedError) as caught:
        calls.exchange_code(crm.integration, code)
    assert code not in str(caught.value)

    domain = calls.current_domain(tokens.refresh_token)
    assert domain.domain is not None and crm.api.endswith(domain.domain)
    following = calls.refresh_tokens(crm.integration, tokens.refresh_token)
    assert following.refresh_token not in (None, tokens.refresh_token)
    assert client(token=following.access_token).account().amojo_id == crm.account_id
    with pytest.raises(amochats.ForbiddenError):
        calls.current_domain("unknown")


def test_an_api_key_of_the_old_kind_is_traded(crm: Crm, client: Callable[..., Any]) -> None:
    calls, user = client(token=None), crm.account()["users"][0]
    with pytest.raises(amochats.ForbiddenError):
        calls.exchange_api_key(crm.integration, user["login"], "wrong")
    calls.exchange_api_key(crm.integration, user["login"], user["api_key"], state="s")
    patient = client(token=None, deadline=1.0)
    with pytest.raises(amochats.RateLimitedError) as caught:
        patient.exchange_api_key(crm.integration, user["login"], user["api_key"])
    assert caught.value.retry_after == 300


class Store:
    """A pair in memory, as `TokenStore` wants it kept."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.kept: list[Tokens] = []
        self.threads: set[int] = set()

    def load(self) -> Tokens:
        self.threads.add(threading.get_ident())
        return self.tokens

    def store(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.kept.append(tokens)


def installed(crm: Crm) -> Tokens:
    with CrmClient(base_url=crm.api, request_interval=0.0) as calls:
        return calls.exchange_code(crm.integration, crm.issue("code"))


def test_a_refused_token_is_refreshed_and_kept(crm: Crm, client: Callable[..., Any]) -> None:
    first = installed(crm)
    store = Store(replace(first, access_token="stale"))
    calls = client(tokens=store, integration=crm.integration)
    assert calls.account().amojo_id == crm.account_id
    [new] = store.kept
    assert new.access_token != "stale" and new.refresh_token not in (None, first.refresh_token)
    assert new.expires_in == 86_400
    # A thread of amochats: a store that takes its time stops no event loop.
    assert threading.get_ident() not in store.threads
    # What was kept is used, and by the next process, too.
    calls.account()
    client(tokens=store, integration=crm.integration).account()
    assert store.kept == [new]


def test_many_calls_refresh_once(crm: Crm) -> None:
    store = Store(replace(installed(crm), access_token="stale"))
    with (
        CrmClient(base_url=crm.api, tokens=store, integration=crm.integration, request_interval=0.0) as calls,
        ThreadPoolExecutor(8) as pool,
    ):
        accounts = list(pool.map(lambda _: calls.account().amojo_id, range(8)))
    assert accounts == [crm.account_id] * 8 and len(store.kept) == 1


def test_a_store_that_fails_is_reported_without_its_words(crm: Crm, client: Callable[..., Any]) -> None:
    class Broken(Store):
        def store(self, tokens: Tokens) -> None:
            raise OSError(f"cannot keep {tokens.access_token}")

    class Locked(Store):
        def load(self) -> Tokens:
            raise LookupError("private words")

    broken = Broken(replace(installed(crm), access_token="stale"))
    for store, said in [(broken, "OSError"), (Locked(broken.tokens), "LookupError")]:
        with pytest.raises(amochats.StoreError, match=f"the token store raised .*{said}.* in") as caught:
            client(tokens=store, integration=crm.integration).account()
        assert "cannot" not in str(caught.value) and "private" not in str(caught.value)


def test_what_does_not_go_together_is_refused(crm: Crm) -> None:
    store = Store(Tokens(access_token="a"))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"tokens": store}, "integration"),
        ({"tokens": store, "token": "a", "integration": crm.integration}, "token"),
        ({"region": "ru"}, "base_url"),
    ]
    for settings, field in wrong:
        with pytest.raises(amochats.InvalidArgumentError) as caught:
            CrmClient(base_url=crm.api, **settings)
        assert caught.value.field == field
