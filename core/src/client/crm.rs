//! The HTTP client of the CRM's own API: a driver over [`Request`].

use super::answer::{self, Service};
use super::builder::Region;
use super::http::{Answer, Http, Settings};
use super::retry::{self, Pace};
use crate::crm::{
    Account, ChatLink, CreatedContact, Domain, Integration, LegacyAccount, LinkedChat, LinkedTo, NewContact,
    NewSource, NewSubscription, NewTemplate, Page, Request, Review, ReviewStatus, Source, SourceChange,
    Subscription, Talk, Template, TemplateChange, Token, Tokens, User,
};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use backon::Retryable;
use futures_util::stream::{self, Stream};
use governor::clock::MonotonicClock;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// The time between two requests of a client: the CRM takes 7 in a second, answers 429 beyond that,
/// and locks out who goes on.
pub const REQUEST_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 7 + 1);

/// How long a call may take with all its waiting and repeats.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Where an account's tokens are kept: in a database, or a file.
///
/// A refresh token works once, so what is kept here decides whether the integration still gets in
/// tomorrow.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Gives the pair that was kept last.
    ///
    /// # Errors
    /// Any; the call that needed a token fails with it.
    async fn load(&self) -> Result<Tokens>;

    /// Keeps a new pair durably, in place of the last. It is not used before this returns `Ok`.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] or another; the call that needed the pair fails with it, and the
    /// next call tries to keep the same pair again.
    async fn store(&self, tokens: &Tokens) -> Result<()>;
}

/// Calls the CRM's API for one account.
///
/// A clone is cheap and shares connections, tokens and pace. Calls need a tokio runtime.
///
/// ```no_run
/// use amochats::crm::{ChatLink, Token};
/// use amochats::{CrmClient, Region};
///
/// # async fn call() -> amochats::Result<()> {
/// let crm = CrmClient::builder().account(Region::Kommo, "example")?.token(Token::new("eyJ0…")?).build()?;
/// let account = crm.account().await?;
/// let link = ChatLink::new(3_102_959, "6cbab3d5-c4c1-46ff-b710-ad59ad10805f");
/// let linked = crm.link_chats(&[link]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # What is sent again
/// | Call | After | Why |
/// |---|---|---|
/// | all that read (`GET`) | `Unavailable`, `Timeout`, `Transport` | reading twice does no harm |
/// | all that read (`GET`) | `RateLimited`, after the delay that the CRM named | likewise |
/// | all that write | nothing | a source, template or contact would be made twice |
/// | OAuth: code and refresh | nothing | a code and a refresh token work once |
/// | any, with a [`TokenStore`] | 401, once, with a new token | 401 says that it was not carried out |
///
/// Repeats come at most 4 times, after 200 ms, doubled each time and spread at random between
/// nothing and that; none begins that could not within the deadline ([`DEADLINE`], or
/// [`with_deadline`](Self::with_deadline)). Requests are [`REQUEST_INTERVAL`] apart, since the CRM takes
/// 7 in a second; a call whose turn comes after its deadline fails with `RateLimited` and is not sent.
///
/// # Tokens
/// With a [`TokenStore`] a 401 leads to one refresh, however many calls fail at the same time: the new
/// pair is kept in the store, then used. The refresh goes on to its end even if the future of the call
/// is dropped. If another process has refreshed, its pair is taken from the store instead.
///
/// # Errors
/// As of [`Client`](super::Client); besides, 402 is `Forbidden` and 422 `Rejected`.
/// [`VendorError::problem`](crate::VendorError::problem) holds what the CRM said of each field, and
/// [`Error::field`] the path of the first.
#[derive(Clone)]
pub struct CrmClient {
    inner: Arc<Inner>,
    deadline: Duration,
    user: Option<i64>,
}

struct Inner {
    http: Http,
    access: Access,
    pace: Pace,
    retry_delay: Duration,
}

/// What proves that a call may be made.
enum Access {
    Nothing,
    Token(Token),
    Store(Box<Keeper>),
}

struct Keeper {
    store: Arc<dyn TokenStore>,
    integration: Integration,
    /// Held during a refresh, so that there is one at a time.
    pair: Mutex<Pair>,
}

#[derive(Default)]
struct Pair {
    /// As it is in the store.
    kept: Option<Tokens>,
    /// What the CRM gave but the store did not take. The refresh token before it is used up.
    unkept: Option<Tokens>,
    /// Whether no refresh begins any more.
    closed: bool,
}

impl CrmClient {
    /// Begins to build a client; say where the account is with [`CrmClientBuilder::account`] or
    /// [`CrmClientBuilder::base_url`], and what opens it.
    pub fn builder() -> CrmClientBuilder {
        CrmClientBuilder {
            http: Settings::default(),
            access: Access::Nothing,
            interval: REQUEST_INTERVAL,
            retry_delay: Duration::from_millis(200),
            deadline: DEADLINE,
        }
    }

    /// The same client with another deadline for each call.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The same client in the name of another user of the account (`X-Context-User-ID`), by the number
    /// in the CRM. Works with a token that an administrator granted.
    pub fn as_user(&self, user: i64) -> Self {
        Self { user: Some(user), ..self.clone() }
    }

    /// Where it calls, without a final slash.
    pub fn base_url(&self) -> &str {
        self.inner.http.base_url()
    }

    /// Waits for a refresh of tokens that is under way, and lets no other begin, of this client and its
    /// clones. Before a runtime is shut down: cut off between the CRM's answer and the store, a pair is lost.
    pub async fn close(&self) {
        if let Some(keeper) = self.inner.keeper() {
            keeper.pair.lock().await.closed = true;
        }
    }

    /// Reads the account, with its id inside the chat service.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn account(&self) -> Result<Account> {
        self.call_for(&Request::account(), Account::from_json).await
    }

    /// Reads the account in the first generation's way, with a user's login and API key.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn legacy_account(&self, login: &str, api_key: &str) -> Result<LegacyAccount> {
        self.call_for(&Request::legacy_account(login, api_key), LegacyAccount::from_json).await
    }

    /// Reads a page of the users, with their ids inside the chat service; the first is page 1.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn users(&self, page: u32) -> Result<Page<User>> {
        self.call_for(&Request::users(page), Page::from_json).await
    }

    /// Reads all users, page by page. The stream is lazy, and ends after its first error.
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn call(crm: amochats::CrmClient) -> amochats::Result<()> {
    /// let mut users = std::pin::pin!(crm.users_all());
    /// while let Some(user) = users.try_next().await? {
    ///     println!("{} {:?}", user.id, user.amojo_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the stream's items: see [`CrmClient`].
    pub fn users_all(&self) -> impl Stream<Item = Result<User>> + Send + use<> {
        self.pages(Request::users)
    }

    /// Reads one user.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn user(&self, id: i64) -> Result<User> {
        self.call_for(&Request::user(id), User::from_json).await
    }

    /// Links chats to contacts.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn link_chats(&self, links: &[ChatLink]) -> Result<Vec<LinkedChat>> {
        self.items(&Request::link_chats(links)?).await
    }

    /// Reads what is linked to contacts or to chats.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn linked_chats(&self, to: LinkedTo<'_>) -> Result<Vec<LinkedChat>> {
        self.items(&Request::linked_chats(to)?).await
    }

    /// Makes contacts.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn add_contacts(&self, contacts: &[NewContact]) -> Result<Vec<CreatedContact>> {
        self.items(&Request::add_contacts(contacts)?).await
    }

    /// Reads the integration's sources: all, at most 100, or those with these ids of its own.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn sources(&self, external_ids: &[&str]) -> Result<Vec<Source>> {
        self.items(&Request::sources(external_ids)).await
    }

    /// Reads one source, if there is one.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn source(&self, id: i64) -> Result<Option<Source>> {
        let read = |body: &[u8]| (!body.is_empty()).then(|| Source::from_json(body)).transpose();
        self.call_for(&Request::source(id), read).await
    }

    /// Makes sources.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn add_sources(&self, sources: &[NewSource]) -> Result<Vec<Source>> {
        self.items(&Request::add_sources(sources)?).await
    }

    /// Changes sources.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn update_sources(&self, changes: &[SourceChange]) -> Result<Vec<Source>> {
        self.items(&Request::update_sources(changes)?).await
    }

    /// Changes one source.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn update_source(&self, change: &SourceChange) -> Result<Source> {
        self.call_for(&Request::update_source(change)?, Source::from_json).await
    }

    /// Deletes one source.
    ///
    /// # Errors
    /// See [`CrmClient`]; `NotFound` where it is not there.
    pub async fn delete_source(&self, id: i64) -> Result<()> {
        self.call(&Request::delete_source(id)).await.map(drop)
    }

    /// Deletes sources.
    ///
    /// # Errors
    /// See [`CrmClient`]; `Rejected` with the code `EntityNotFound` for one that is not there.
    pub async fn delete_sources(&self, sources: &[i64]) -> Result<()> {
        self.call(&Request::delete_sources(sources)?).await.map(drop)
    }

    /// Reads a page of the templates with their reviews; the first is page 1.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn templates(&self, page: u32, external_id: Option<&str>) -> Result<Page<Template>> {
        self.call_for(&Request::templates(page, external_id), Page::from_json).await
    }

    /// Reads all templates with their reviews, or those with an id of the integration's own, page by
    /// page. The stream is lazy, and ends after its first error.
    ///
    /// # Errors
    /// Of the stream's items: see [`CrmClient`].
    pub fn templates_all(
        &self,
        external_id: Option<&str>,
    ) -> impl Stream<Item = Result<Template>> + Send + use<> {
        let external_id = external_id.map(str::to_owned);
        self.pages(move |page| Request::templates(page, external_id.as_deref()))
    }

    /// Reads one template with its reviews.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn template(&self, id: i64) -> Result<Template> {
        self.call_for(&Request::template(id), Template::from_json).await
    }

    /// Makes templates.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn add_templates(&self, templates: &[NewTemplate]) -> Result<Vec<Template>> {
        self.items(&Request::add_templates(templates)?).await
    }

    /// Changes templates.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn update_templates(&self, changes: &[TemplateChange]) -> Result<Vec<Template>> {
        self.items(&Request::update_templates(changes)?).await
    }

    /// Changes one template.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn update_template(&self, change: &TemplateChange) -> Result<Template> {
        self.call_for(&Request::update_template(change)?, Template::from_json).await
    }

    /// Deletes one template.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn delete_template(&self, id: i64) -> Result<()> {
        self.call(&Request::delete_template(id)).await.map(drop)
    }

    /// Deletes templates.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn delete_templates(&self, templates: &[i64]) -> Result<()> {
        self.call(&Request::delete_templates(templates)?).await.map(drop)
    }

    /// Hands a template in for review: one review for each source of WhatsApp.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn submit_template(&self, template: i64) -> Result<Vec<Review>> {
        self.items(&Request::submit_template(template)).await
    }

    /// Reports what became of a review.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn set_review_status(
        &self,
        template: i64,
        review: i64,
        status: &ReviewStatus,
    ) -> Result<Review> {
        self.call_for(&Request::set_review_status(template, review, status)?, Review::from_json).await
    }

    /// Reads one talk.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn talk(&self, id: i64) -> Result<Talk> {
        self.call_for(&Request::talk(id), Talk::from_json).await
    }

    /// Closes a talk.
    ///
    /// # Errors
    /// See [`CrmClient`]; `Rejected` where it is closed already.
    pub async fn close_talk(&self, id: i64, force: bool) -> Result<()> {
        self.call(&Request::close_talk(id, force)).await.map(drop)
    }

    /// Subscribes an address to the CRM's own webhooks.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn subscribe(&self, subscription: &NewSubscription) -> Result<Subscription> {
        self.call_for(&Request::subscribe(subscription)?, Subscription::from_json).await
    }

    /// Reads the subscriptions to the CRM's own webhooks.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.items(&Request::subscriptions()).await
    }

    /// Ends the subscription of an address.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn unsubscribe(&self, destination: &str) -> Result<()> {
        self.call(&Request::unsubscribe(destination)?).await.map(drop)
    }

    /// Trades the code of an installation for tokens. They are not put into the store: keep them, then
    /// build a client that uses the store.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn exchange_code(&self, integration: &Integration, code: &str) -> Result<Tokens> {
        self.call_for(&Request::exchange_code(integration, code), Tokens::from_json).await
    }

    /// Trades a user's API key of the old kind for a code, which goes to the redirect URI; once in 5
    /// minutes.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn exchange_api_key(
        &self,
        integration: &Integration,
        login: &str,
        api_key: &str,
        state: Option<&str>,
    ) -> Result<()> {
        self.call(&Request::exchange_api_key(integration, login, api_key, state)).await.map(drop)
    }

    /// Asks where the account of a refresh token is now: it may have got another name. Does not use
    /// the refresh token up.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn current_domain(&self, refresh_token: &Token) -> Result<Domain> {
        self.call_for(&Request::current_domain(refresh_token), Domain::from_json).await
    }

    /// All items of a list that comes in pages.
    fn pages<T: crate::crm::Listed + Send + 'static, F>(
        &self,
        request: F,
    ) -> impl Stream<Item = Result<T>> + Send + use<T, F>
    where
        F: Fn(u32) -> Request + Send + 'static,
    {
        struct Reader<F, T> {
            client: CrmClient,
            request: F,
            next: Option<u32>,
            /// What was read and not yet given out.
            read: VecDeque<T>,
        }
        let reader = Reader { client: self.clone(), request, next: Some(1), read: VecDeque::new() };
        stream::try_unfold(reader, async |mut reader| {
            while reader.read.is_empty() {
                let Some(page) = reader.next else { return Ok(None) };
                let request = (reader.request)(page);
                let Page { items, has_next } = reader.client.call_for(&request, Page::from_json).await?;
                // A page without items is the last one, whatever it links to.
                reader.next = (has_next && !items.is_empty()).then(|| page + 1);
                reader.read = items.into();
            }
            Ok(reader.read.pop_front().map(|item| (item, reader)))
        })
    }

    async fn items<T: crate::crm::Listed>(&self, request: &Request) -> Result<Vec<T>> {
        self.call_for(request, Page::from_json).await.map(|page| page.items)
    }

    /// Sends any request and gives the body of a 2xx answer, which may be empty.
    ///
    /// # Errors
    /// See [`CrmClient`].
    pub async fn call(&self, request: &Request) -> Result<Vec<u8>> {
        self.exchange(request).await.map(|(_status, body)| body)
    }

    /// Sends any request and reads the body of a 2xx answer.
    ///
    /// # Errors
    /// See [`CrmClient`], and those of `read`.
    pub async fn call_for<T>(&self, request: &Request, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let (status, body) = self.exchange(request).await?;
        let changes = request.method != "GET";
        read(&body).map_err(|error| error.with_http_status(status).with_may_have_been_applied(changes))
    }

    async fn exchange(&self, request: &Request) -> Result<(u16, Vec<u8>)> {
        let deadline = Instant::now() + self.deadline;
        let in_the_name_of;
        let request = match self.user.filter(|_| request.needs_token) {
            Some(user) => {
                in_the_name_of = request.clone().as_user(user);
                &in_the_name_of
            }
            None => request,
        };
        let attempt = || self.attempt(request, deadline);
        if request.method != "GET" {
            return attempt().await;
        }
        attempt
            .retry(retry::backoff(self.inner.retry_delay))
            .when(retry::is_passing)
            .adjust(|error, planned| retry::delay(error, planned, deadline))
            .await
    }

    async fn attempt(&self, request: &Request, deadline: Instant) -> Result<(u16, Vec<u8>)> {
        let Some(token) = self.token(request, deadline).await? else {
            return self.inner.send(request, None, deadline).await;
        };
        match self.inner.send(request, Some(&token), deadline).await {
            Err(error) if error.http_status() == Some(401) && self.inner.keeper().is_some() => {
                let token = self.renew(token, deadline).await?;
                self.inner.send(request, Some(&token), deadline).await
            }
            sent => sent,
        }
    }

    async fn token(&self, request: &Request, deadline: Instant) -> Result<Option<Token>> {
        match &self.inner.access {
            _ if !request.needs_token => Ok(None),
            Access::Nothing => Err(Error::invalid("token", "is missing: build the client with one")),
            Access::Token(token) => Ok(Some(token.clone())),
            Access::Store(keeper) => in_time(deadline, keeper.token()).await.map(Some),
        }
    }

    /// A token other than this one, which was refused.
    async fn renew(&self, refused: Token, deadline: Instant) -> Result<Token> {
        // In a task of its own: a refresh that is cut off half-way could lose the only pair.
        let inner = Arc::clone(&self.inner);
        let renewal = tokio::spawn(async move { inner.renew(&refused).await });
        let ended = |_| {
            let said = "the refresh did not end: the runtime stops, or the token store panicked";
            Err(Error::new(ErrorKind::Closed, said))
        };
        in_time(deadline, async { renewal.await.unwrap_or_else(ended) }).await
    }
}

/// Waits for what comes before a request is sent.
async fn in_time<T>(deadline: Instant, wait: impl Future<Output = Result<T>>) -> Result<T> {
    timeout_at(deadline, wait).await.unwrap_or_else(|_| {
        let error = Error::new(ErrorKind::Timeout, "no token in time");
        Err(error.with_may_have_been_applied(false))
    })
}

impl Inner {
    fn keeper(&self) -> Option<&Keeper> {
        match &self.access {
            Access::Store(keeper) => Some(keeper),
            _ => None,
        }
    }

    /// Sends a request once.
    async fn send(
        &self,
        request: &Request,
        token: Option<&Token>,
        deadline: Instant,
    ) -> Result<(u16, Vec<u8>)> {
        let url = self.http.url(&request.path)?;
        self.pace.turn(deadline).await?;
        let bearer = token.map(|token| format!("Bearer {}", token.expose()));
        let content_type = (!request.body.is_empty()).then_some(crate::signing::CONTENT_TYPE);
        let headers = [("Authorization", bearer.as_deref()), ("Content-Type", content_type)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let headers = headers.chain(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let sent_at = SystemTime::now();
        let exchange = self.http.exchange(request.method, &url, headers, request.body.clone());
        let Answer { status, headers, body } = timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer before the deadline")))?;
        if status.is_success() {
            return Ok((status.as_u16(), body.map_err(|error| error.with_http_status(status.as_u16()))?));
        }
        Err(answer::refusal(&Service::Crm, status, &headers, &body.unwrap_or_default(), sent_at))
    }

    async fn renew(&self, refused: &Token) -> Result<Token> {
        let keeper = self.keeper().expect("only what is kept is renewed");
        let mut pair = keeper.pair.lock().await;
        if pair.closed {
            return Err(Error::new(
                ErrorKind::Closed,
                "the client is closed: tokens are not refreshed any more",
            ));
        }
        // Another call was first, or another process that shares the store.
        if let Some(token) = pair.current(keeper).await?.filter(|token| token != refused) {
            return Ok(token);
        }
        let loaded = keeper.store.load().await?;
        let current = pair.kept.insert(loaded);
        if current.access_token != *refused {
            return Ok(current.access_token.clone());
        }
        let refresh_token = current.refresh_token.as_ref().ok_or_else(|| {
            let said =
                "the CRM refused the token, and the store has no refresh token: install the integration anew";
            Error::new(ErrorKind::Forbidden, said).with_http_status(401)
        })?;
        let request = Request::refresh(&keeper.integration, refresh_token);
        let (status, body) =
            self.send(&request, None, Instant::now() + DEADLINE).await.map_err(of_refresh)?;
        let tokens = Tokens::from_json(&body).map_err(|error| of_refresh(error.with_http_status(status)))?;
        pair.unkept = Some(tokens);
        pair.keep(keeper).await
    }
}

/// A refresh that failed: the call itself, which is what the caller asks about, was refused before.
fn of_refresh(error: Error) -> Error {
    error.with_may_have_been_applied(false)
}

impl Keeper {
    async fn token(&self) -> Result<Token> {
        let mut pair = self.pair.lock().await;
        if let Some(token) = pair.current(self).await? {
            return Ok(token);
        }
        let loaded = self.store.load().await?;
        Ok(pair.kept.insert(loaded).access_token.clone())
    }
}

impl Pair {
    /// The pair in use, if one was loaded; first of all, one that the store did not take yet.
    async fn current(&mut self, keeper: &Keeper) -> Result<Option<Token>> {
        if self.unkept.is_some() {
            return self.keep(keeper).await.map(Some);
        }
        Ok(self.kept.as_ref().map(|tokens| tokens.access_token.clone()))
    }

    /// Puts the new pair into the store, and only then into use.
    async fn keep(&mut self, keeper: &Keeper) -> Result<Token> {
        let tokens = self.unkept.as_ref().expect("there is a new pair");
        keeper.store.store(tokens).await?;
        let tokens = self.kept.insert(self.unkept.take().expect("it was there above"));
        Ok(tokens.access_token.clone())
    }
}

impl fmt::Debug for CrmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrmClient").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}

/// Builds a [`CrmClient`]; see [`CrmClient::builder`].
///
/// Proxies and certificates are as of [`ClientBuilder`](super::ClientBuilder).
#[must_use]
pub struct CrmClientBuilder {
    http: Settings,
    access: Access,
    interval: Duration,
    retry_delay: Duration,
    deadline: Duration,
}

impl CrmClientBuilder {
    /// Calls an account by its region and the first label of its host.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what is no such label.
    pub fn account(self, region: Region, subdomain: &str) -> Result<Self> {
        Ok(self.base_url(region.crm_url(subdomain)?))
    }

    /// Calls another address: the `referer` of an installation with `https://` before it, or a sandbox.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.http.base_url = Some(base_url.into());
        self
    }

    /// Calls with a token that does not change: a long-lived one.
    pub fn token(mut self, token: Token) -> Self {
        self.access = Access::Token(token);
        self
    }

    /// Calls with tokens that are kept in a store, and refreshed for this integration.
    pub fn token_store(mut self, store: Arc<dyn TokenStore>, integration: Integration) -> Self {
        self.access = Access::Store(Box::new(Keeper { store, integration, pair: Mutex::default() }));
        self
    }

    /// Limits a single request from its start to the last byte of the answer; 10 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// Limits the making of a connection, TLS included; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.connect_timeout = timeout;
        self
    }

    /// Limits a call with all its waiting and repeats; [`DEADLINE`] unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps requests this far apart; [`REQUEST_INTERVAL`] unless set. The CRM counts what all programs
    /// of an integration send, so several that share an account need longer ones.
    pub fn request_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Plans the first repeat after this delay; 200 ms unless set.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Adds the caller's own product to the `User-Agent`: `amochats/0.1.0 shop-bot/2`.
    pub fn user_agent_suffix(mut self, product: impl Into<String>) -> Self {
        self.http.user_agent_suffix = Some(product.into());
        self
    }

    /// Trusts the certificates in a PEM file, too.
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.push(pem.into());
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] that names the setting.
    pub fn build(self) -> Result<CrmClient> {
        let inner = Inner {
            http: self.http.build("https://example.amocrm.ru")?,
            access: self.access,
            pace: Pace::new(self.interval, MonotonicClock),
            retry_delay: self.retry_delay,
        };
        Ok(CrmClient { inner: Arc::new(inner), deadline: self.deadline, user: None })
    }
}

impl fmt::Debug for CrmClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrmClientBuilder").field("base_url", &self.http.base_url).finish_non_exhaustive()
    }
}
