/* The CRM's API in C, against a sandbox (sandbox.py): its calls, OAuth with tokens that the program keeps, what
 * does not wait, and misuse. */
#include "support.h"

#include <poll.h>
#include <pthread.h>

static amochats_crm_options *options_for_sandbox(void) {
    amochats_crm_options *options = amochats_crm_options_new();
    REQUIRE(ok(amochats_crm_options_set_base_url(options, of(sandbox("SANDBOX_API")), NULL), NULL));
    amochats_crm_options_set_request_interval_ms(options, 1);
    return options;
}

static amochats_crm_client *opened(amochats_crm_options *options) {
    amochats_error *error = NULL;
    amochats_crm_client *client = NULL;
    amochats_result result = amochats_crm_client_open(options, &client, &error);
    amochats_crm_options_free(options);
    REQUIRE(ok(result, error));
    return client;
}

static amochats_crm_client *with_token(void) {
    amochats_crm_options *options = options_for_sandbox();
    REQUIRE(ok(amochats_crm_options_set_token(options, of(sandbox("SANDBOX_TOKEN")), NULL), NULL));
    return opened(options);
}

static void close_client(amochats_crm_client *client) {
    amochats_error *error = NULL;
    CHECK(ok(amochats_crm_client_close(client, LONG, &error), error));
    amochats_crm_client_free(client);
}

/* Makes a call that was made well and frees it; NULL where there is no answer. */
static amochats_value *answer_to(amochats_crm_client *client, amochats_result made, amochats_crm_call **call) {
    amochats_error *error = NULL;
    amochats_value *answer = NULL;
    REQUIRE(made == AMOCHATS_RESULT_OK);
    REQUIRE(ok(amochats_crm_client_call(client, *call, LONG, &answer, &error), error));
    amochats_crm_call_free(*call);
    return answer;
}

/* How a call fails; frees it. `field` may be NULL. */
static void refused(amochats_crm_client *client, amochats_result made, amochats_crm_call **call,
                    amochats_result expected, const char *field) {
    amochats_error *error = NULL;
    REQUIRE(made == AMOCHATS_RESULT_OK);
    amochats_result result = amochats_crm_client_call(client, *call, LONG, NULL, &error);
    if (field != NULL && !is(amochats_error_field(error), field)) {
        check_fail("the field is %.*s", (int)amochats_error_field(error).len, amochats_error_field(error).data);
    }
    CHECK(failed(result, &error, expected));
    amochats_crm_call_free(*call);
}

#define ANSWER(client, name, ...) \
    answer_to(client, amochats_crm_call_##name(__VA_ARGS__ &call, NULL), &call)

/* The `place`th of a page. */
static const amochats_value *item(const amochats_value *page, size_t place) {
    return amochats_value_at(amochats_value_get(page, of("items")), place);
}

static amochats_crm_integration *integration(void) {
    amochats_error *error = NULL;
    amochats_crm_integration *made = NULL;
    amochats_result result =
        amochats_crm_integration_new(of(sandbox("SANDBOX_CLIENT_ID")), of(sandbox("SANDBOX_CLIENT_SECRET")),
                                     of(sandbox("SANDBOX_REDIRECT_URI")), &made, &error);
    REQUIRE(ok(result, error));
    return made;
}

static void accounts_and_users(void) {
    amochats_crm_client *client = with_token();
    amochats_crm_call *call = NULL;
    amochats_value *account = ANSWER(client, account, );
    CHECK(is(text_of(account, "amojo_id"), sandbox("SANDBOX_ACCOUNT")));
    amochats_value *users = ANSWER(client, users, 1, );
    bool has_next = true;
    CHECK(amochats_value_boolean(amochats_value_get(users, of("has_next")), &has_next) && !has_next);
    int64_t id = number_of(item(users, 0), "id");
    amochats_value *user = ANSWER(client, user, id, );
    CHECK(number_of(user, "id") == id && text_of(user, "name").len > 0);
    refused(client, amochats_crm_call_user(424242, &call, NULL), &call, AMOCHATS_RESULT_NOT_FOUND, NULL);

    /* In the name of a user who is none. */
    CHECK(ok(amochats_crm_call_account(&call, NULL), NULL));
    amochats_crm_call_as_user(call, 424242);
    CHECK(is(text_of(amochats_crm_call_headers(call), "X-Context-User-ID"), "424242"));
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_client_call(client, call, LONG, NULL, &error);
    CHECK(result != AMOCHATS_RESULT_OK && amochats_error_http_status(error) >= 400);
    amochats_error_free(error);
    amochats_crm_call_free(call);

    amochats_value_free(account);
    amochats_value_free(users);
    amochats_value_free(user);
    close_client(client);
}

static void sources_contacts_and_links(void) {
    amochats_crm_client *client = with_token();
    amochats_crm_call *call = NULL;
    amochats_value *added =
        ANSWER(client, add_sources, of("[{\"name\":\"Sales\",\"external_id\":\"sales-1\"}]"), );
    int64_t source = number_of(item(added, 0), "id");
    CHECK(source > 0 && is(text_of(item(added, 0), "external_id"), "sales-1"));
    char change[100];
    snprintf(change, sizeof change, "[{\"id\":%lld,\"name\":\"Support\"}]", (long long)source);
    amochats_value *changed = ANSWER(client, update_sources, of(change), );
    CHECK(is(text_of(item(changed, 0), "name"), "Support"));
    amochats_value *found = ANSWER(client, sources, of("[\"sales-1\"]"), );
    CHECK(amochats_value_count(amochats_value_get(found, of("items"))) == 1 &&
          number_of(item(found, 0), "id") == source);
    amochats_value *one = ANSWER(client, source, source, );
    CHECK(is(text_of(one, "name"), "Support"));
    CHECK(ANSWER(client, delete_sources, &source, 1, ) == NULL);
    CHECK(ANSWER(client, source, source, ) == NULL);

    amochats_value *contacts = ANSWER(client, add_contacts, of("[{\"name\":\"Anna\"}]"), );
    int64_t contact = number_of(item(contacts, 0), "id");
    CHECK(contact > 0);
    amochats_value *linked = ANSWER(client, linked_chats, &contact, 1, none, );
    CHECK(amochats_value_count(amochats_value_get(linked, of("items"))) == 0);
    char links[200];
    snprintf(links, sizeof links, "[{\"contact_id\":%lld,\"chat_id\":\"6cbab3d5-c4c1-46ff-b710-ad59ad10805f\"}]",
             (long long)contact);
    /* There is no such chat. */
    CHECK(ok(amochats_crm_call_link_chats(of(links), &call, NULL), NULL));
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_client_call(client, call, LONG, NULL, &error);
    CHECK(result >= AMOCHATS_RESULT_REJECTED && amochats_error_http_status(error) / 100 == 4);
    amochats_error_free(error);
    amochats_crm_call_free(call);

    amochats_value *const all[] = {added, changed, found, one, contacts, linked};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) amochats_value_free(all[i]);
    close_client(client);
}

static void templates_talks_and_subscriptions(void) {
    amochats_crm_client *client = with_token();
    amochats_crm_call *call = NULL;
    amochats_value *added = ANSWER(client, add_templates,
                                   of("[{\"name\":\"Hello\",\"content\":\"Hi\",\"external_id\":\"t-1\"}]"), );
    int64_t id = number_of(item(added, 0), "id");
    CHECK(id > 0);
    char change[100];
    snprintf(change, sizeof change, "[{\"id\":%lld,\"name\":\"Bye\"}]", (long long)id);
    amochats_value *changed = ANSWER(client, update_templates, of(change), );
    amochats_value *listed = ANSWER(client, templates, 1, of("t-1"), );
    CHECK(number_of(item(listed, 0), "id") == id && is(text_of(item(listed, 0), "name"), "Bye"));
    amochats_value *one = ANSWER(client, template, id, );
    CHECK(is(text_of(one, "content"), "Hi"));
    CHECK(ANSWER(client, delete_templates, &id, 1, ) == NULL);
    refused(client, amochats_crm_call_template(id, &call, NULL), &call, AMOCHATS_RESULT_NOT_FOUND, NULL);
    refused(client, amochats_crm_call_talk(7, &call, NULL), &call, AMOCHATS_RESULT_NOT_FOUND, NULL);
    refused(client, amochats_crm_call_close_talk(7, true, &call, NULL), &call, AMOCHATS_RESULT_NOT_FOUND, NULL);

    const char *wanted = "{\"destination\":\"https://example.org/hook\",\"settings\":[\"add_message\"]}";
    amochats_value *subscribed = ANSWER(client, subscribe, of(wanted), );
    CHECK(is(text_of(subscribed, "destination"), "https://example.org/hook"));
    amochats_value *all = ANSWER(client, subscriptions, );
    CHECK(amochats_value_count(amochats_value_get(all, of("items"))) == 1);
    CHECK(ANSWER(client, unsubscribe, of("https://example.org/hook"), ) == NULL);
    amochats_value_free(all);
    all = ANSWER(client, subscriptions, );
    CHECK(amochats_value_count(amochats_value_get(all, of("items"))) == 0);

    amochats_value *const values[] = {added, changed, listed, one, subscribed, all};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) amochats_value_free(values[i]);
    close_client(client);
}

/* ---- tokens that the program keeps ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char kept[4000];
    int loads, stores, ended;
    amochats_result how;
    bool gives_nothing, cannot_store, wait_for_the_end;
    amochats_result inside; /* what a call that waits returned in the callback */
    amochats_crm_client *client;
} vault_t;

static void vault_begin(vault_t *vault, const char *tokens) {
    memset(vault, 0, sizeof *vault);
    pthread_mutex_init(&vault->lock, NULL);
    pthread_cond_init(&vault->changed, NULL);
    snprintf(vault->kept, sizeof vault->kept, "%s", tokens);
}

static bool load(void *data, amochats_crm_tokens *tokens) {
    vault_t *vault = data;
    pthread_mutex_lock(&vault->lock);
    vault->loads++;
    pthread_cond_broadcast(&vault->changed);
    /* The second time is for a refresh. */
    while (vault->wait_for_the_end && vault->loads == 2 && vault->ended == 0) {
        pthread_cond_wait(&vault->changed, &vault->lock);
    }
    bool could = !vault->gives_nothing &&
                 amochats_crm_tokens_give(tokens, of(vault->kept), NULL) == AMOCHATS_RESULT_OK;
    if (vault->client != NULL) {
        amochats_crm_call *call = NULL;
        CHECK(ok(amochats_crm_call_account(&call, NULL), NULL));
        vault->inside = amochats_crm_client_call(vault->client, call, LONG, NULL, NULL);
        amochats_crm_call_free(call);
    }
    pthread_mutex_unlock(&vault->lock);
    return could;
}

static bool store(void *data, amochats_slice tokens) {
    vault_t *vault = data;
    pthread_mutex_lock(&vault->lock);
    vault->stores++;
    bool could = !vault->cannot_store && tokens.len < sizeof vault->kept;
    if (could) snprintf(vault->kept, sizeof vault->kept, "%.*s", (int)tokens.len, tokens.data);
    pthread_mutex_unlock(&vault->lock);
    return could;
}

static void note_end(void *data, amochats_result result, const amochats_value *answer, const amochats_error *error) {
    vault_t *vault = data;
    (void)answer;
    pthread_mutex_lock(&vault->lock);
    vault->ended++;
    vault->how = result;
    CHECK((result == AMOCHATS_RESULT_OK) == (error == NULL));
    pthread_cond_broadcast(&vault->changed);
    pthread_mutex_unlock(&vault->lock);
}

static void wait_for_end(vault_t *vault, int at_least) {
    pthread_mutex_lock(&vault->lock);
    while (vault->ended < at_least) pthread_cond_wait(&vault->changed, &vault->lock);
    pthread_mutex_unlock(&vault->lock);
}

static amochats_crm_client *with_vault(vault_t *vault) {
    amochats_crm_integration *of_sandbox = integration();
    amochats_crm_options *options = options_for_sandbox();
    REQUIRE(ok(amochats_crm_options_set_token_store(options, of_sandbox, load, store, vault, NULL), NULL));
    amochats_crm_integration_free(of_sandbox);
    return opened(options);
}

/* The refresh token that is kept, with an access token that is refused. */
static void spoil(vault_t *vault) {
    char refresh[2000];
    const char *found = strstr(vault->kept, "\"refresh_token\":\"");
    REQUIRE(found != NULL);
    found += strlen("\"refresh_token\":\"");
    snprintf(refresh, sizeof refresh, "%.*s", (int)strcspn(found, "\""), found);
    snprintf(vault->kept, sizeof vault->kept, "{\"access_token\":\"stale\",\"refresh_token\":\"%s\"}", refresh);
}

static void a_code_becomes_tokens_that_are_refreshed_and_kept(void) {
    amochats_crm_call *call = NULL;
    amochats_crm_integration *of_sandbox = integration();
    amochats_crm_client *anybody = opened(options_for_sandbox());
    CHECK(ok(amochats_crm_call_exchange_code(of_sandbox, of(sandbox("SANDBOX_CODE")), &call, NULL), NULL));
    amochats_value *tokens = answer_to(anybody, AMOCHATS_RESULT_OK, &call);
    CHECK(text_of(tokens, "access_token").len > 20 && number_of(tokens, "expires_in") > 0);
    amochats_slice json = amochats_value_json(tokens);
    vault_t vault;
    char text[4000];
    snprintf(text, sizeof text, "%.*s", (int)json.len, json.data);
    vault_begin(&vault, text);
    amochats_value *domain = ANSWER(anybody, current_domain, text_of(tokens, "refresh_token"), );
    CHECK(text_of(domain, "subdomain").len > 0);
    amochats_value_free(domain);
    amochats_value_free(tokens);
    /* A code works once, and without a token nothing but OAuth does. */
    refused(anybody, amochats_crm_call_exchange_code(of_sandbox, of(sandbox("SANDBOX_CODE")), &call, NULL), &call,
            AMOCHATS_RESULT_REJECTED, NULL);
    refused(anybody, amochats_crm_call_account(&call, NULL), &call, AMOCHATS_RESULT_INVALID_ARGUMENT, "token");

    /* Good tokens are loaded and not stored. */
    amochats_crm_client *client = with_vault(&vault);
    amochats_value_free(ANSWER(client, account, ));
    CHECK(vault.loads == 1 && vault.stores == 0);
    close_client(client);

    /* Stale ones are refreshed, and kept before they are used. */
    spoil(&vault);
    client = with_vault(&vault);
    amochats_value *account = ANSWER(client, account, );
    CHECK(is(text_of(account, "amojo_id"), sandbox("SANDBOX_ACCOUNT")));
    amochats_value_free(account);
    amochats_value_free(ANSWER(client, account, ));
    CHECK(vault.stores == 1 && strstr(vault.kept, "stale") == NULL);

    /* What the store does not take is not used, and is offered again. */
    close_client(client);
    spoil(&vault);
    vault.stores = 0;
    vault.cannot_store = true;
    client = with_vault(&vault);
    refused(client, amochats_crm_call_account(&call, NULL), &call, AMOCHATS_RESULT_STORE_FAILED, NULL);
    vault.cannot_store = false;
    amochats_value_free(ANSWER(client, account, ));
    CHECK(vault.stores == 2 && strstr(vault.kept, "stale") == NULL);
    close_client(client);

    /* A refresh that is under way at the end goes on until the tokens are kept. */
    spoil(&vault);
    vault.loads = vault.stores = 0;
    vault.wait_for_the_end = true;
    client = with_vault(&vault);
    amochats_error *error = NULL;
    CHECK(ok(amochats_crm_call_account(&call, NULL), NULL));
    CHECK(ok(amochats_crm_client_call_async(client, call, note_end, &vault, NULL, &error), error));
    amochats_crm_call_free(call);
    pthread_mutex_lock(&vault.lock);
    while (vault.loads < 2) pthread_cond_wait(&vault.changed, &vault.lock);
    pthread_mutex_unlock(&vault.lock);
    close_client(client);
    CHECK(vault.ended == 1 && vault.how == AMOCHATS_RESULT_CANCELLED);
    CHECK(vault.stores == 1 && strstr(vault.kept, "stale") == NULL);
    amochats_crm_integration_free(of_sandbox);
    close_client(anybody);
}

static void a_token_store_that_cannot(void) {
    amochats_crm_call *call = NULL;
    vault_t vault;
    vault_begin(&vault, "{\"access_token\":");
    amochats_crm_client *client = with_vault(&vault);
    refused(client, amochats_crm_call_account(&call, NULL), &call, AMOCHATS_RESULT_STORE_FAILED, NULL);
    vault.gives_nothing = true;
    refused(client, amochats_crm_call_account(&call, NULL), &call, AMOCHATS_RESULT_STORE_FAILED, NULL);
    vault.client = client;
    refused(client, amochats_crm_call_account(&call, NULL), &call, AMOCHATS_RESULT_STORE_FAILED, NULL);
    CHECK(vault.loads == 3 && vault.stores == 0 && vault.inside == AMOCHATS_RESULT_MISUSE);
    close_client(client);
}

static void a_widget_proves_who_asks(void) {
    amochats_crm_integration *of_sandbox = integration();
    amochats_slice token = of(sandbox("SANDBOX_ONE_TIME_TOKEN")), api = of(sandbox("SANDBOX_API"));
    amochats_value *claims = NULL;
    amochats_error *error = NULL;
    CHECK(ok(amochats_crm_verify_one_time_token(of_sandbox, token, api, api, 0, &claims, &error), error));
    CHECK(is(text_of(claims, "client_uuid"), sandbox("SANDBOX_CLIENT_ID")) && number_of(claims, "account_id") > 0);
    CHECK(text_of(claims, "jti").len > 10);
    amochats_value_free(claims);
    claims = NULL;
    error = NULL;
    amochats_result result = amochats_crm_verify_one_time_token(of_sandbox, token, none, none, 0, &claims, &error);
    CHECK(is(amochats_error_field(error), "iss"));
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNAUTHENTICATED));
    result = amochats_crm_verify_one_time_token(of_sandbox, token, of("https://other.example"), api, 0, &claims, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNAUTHENTICATED));
    result = amochats_crm_verify_one_time_token(of_sandbox, token, api, api, 4102444800u, &claims, &error);
    CHECK(is(amochats_error_field(error), "exp"));
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNAUTHENTICATED));
    result = amochats_crm_verify_one_time_token(of_sandbox, of("\xff.."), api, api, 0, &claims, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNAUTHENTICATED) && claims == NULL);
    amochats_crm_integration_free(of_sandbox);
}

/* ---- without waiting ---- */

static pthread_t here;
static int ran_here;

static void note_thread(void *data, amochats_result result, const amochats_value *answer, const amochats_error *error) {
    CHECK(result == AMOCHATS_RESULT_OK && error == NULL && text_of(answer, "amojo_id").len > 0);
    CHECK(pthread_equal(pthread_self(), here));
    ++*(int *)data;
}

static void completions_come_once_and_where_they_are_wanted(void) {
    /* A channel for its consumer's descriptor alone. */
    char store_path[400];
    snprintf(store_path, sizeof store_path, "%s/store.db", folder);
    amochats_config *config = amochats_config_new();
    CHECK(ok(amochats_config_set(config, of("store.path"), of(store_path), NULL), NULL));
    CHECK(ok(amochats_config_set(config, of("listener.address"), of("127.0.0.1:0"), NULL), NULL));
    CHECK(ok(amochats_config_set(config, of("admin.address"), of("127.0.0.1:0"), NULL), NULL));
    CHECK(ok(amochats_config_add_channel(config, of("c"), of("s"), of("http://127.0.0.1:9"), NULL), NULL));
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_consumer *consumer = NULL;
    REQUIRE(ok(amochats_channel_open(config, LONG, &channel, &error), error));
    amochats_config_free(config);
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_consumer_options_set_create(options, true);
    REQUIRE(ok(amochats_consumer_open(channel, of("crm"), options, LONG, &consumer, &error), error));
    amochats_consumer_options_free(options);

    amochats_crm_client *client = with_token();
    amochats_crm_call *call = NULL;
    CHECK(ok(amochats_crm_client_set_dispatcher(client, consumer, &error), error));
    CHECK(ok(amochats_crm_call_account(&call, NULL), NULL));
    here = pthread_self();
    CHECK(ok(amochats_crm_client_call_async(client, call, note_thread, &ran_here, NULL, &error), error));
    while (ran_here == 0) {
        struct pollfd waiting = {amochats_consumer_fd(consumer), POLLIN, 0};
        REQUIRE(poll(&waiting, 1, LONG) == 1);
        CHECK(ok(amochats_consumer_dispatch(consumer, 10, NULL, &error), error));
    }
    CHECK(ran_here == 1);
    close_client(client);

    /* Once also when it is cancelled, and when the client ends. */
    vault_t vault;
    vault_begin(&vault, "");
    client = with_token();
    amochats_token *token = NULL;
    CHECK(ok(amochats_crm_client_call_async(client, call, note_end, &vault, &token, &error), error));
    amochats_token_cancel(token);
    wait_for_end(&vault, 1);
    amochats_token_free(token);
    CHECK(ok(amochats_crm_client_call_async(client, call, note_end, &vault, NULL, &error), error));
    CHECK(ok(amochats_crm_client_close(client, LONG, &error), error));
    CHECK(vault.ended == 2);
    CHECK(failed(amochats_crm_client_call_async(client, call, note_end, &vault, NULL, &error), &error,
                 AMOCHATS_RESULT_CLOSED));
    CHECK(failed(amochats_crm_client_call(client, call, LONG, NULL, &error), &error, AMOCHATS_RESULT_CLOSED));
    CHECK(ok(amochats_crm_client_close(client, LONG, &error), error));
    amochats_crm_client_free(client);
    CHECK(vault.ended == 2);
    amochats_crm_call_free(call);
    amochats_consumer_free(consumer);
    amochats_channel_free(channel);
}

/* ---- misuse ---- */

static void what_is_wrong_is_told_by_its_name(void) {
    static const struct {
        amochats_result (*make)(amochats_slice, amochats_crm_call **, amochats_error **);
        const char *field;
    } of_json[] = {
        {amochats_crm_call_link_chats, "links"},        {amochats_crm_call_add_contacts, "contacts"},
        {amochats_crm_call_add_sources, "sources"},     {amochats_crm_call_update_sources, "changes"},
        {amochats_crm_call_add_templates, "templates"}, {amochats_crm_call_update_templates, "changes"},
        {amochats_crm_call_subscribe, "subscription"},  {amochats_crm_call_sources, "external_ids"},
    };
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    const amochats_slice broken = {NULL, 3};
    for (size_t i = 0; i < sizeof of_json / sizeof *of_json; i++) {
        amochats_result result = of_json[i].make(of("{\"a private word\":"), &call, &error);
        CHECK(is(amochats_error_field(error), of_json[i].field) && !has(amochats_error_message(error), "private"));
        CHECK(failed(result, &error, AMOCHATS_RESULT_INVALID_ARGUMENT) && call == NULL);
        CHECK(failed(of_json[i].make(broken, &call, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
        CHECK(failed(of_json[i].make(of("[]"), NULL, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    }
    const amochats_result missing = AMOCHATS_RESULT_NULL_POINTER, invalid = AMOCHATS_RESULT_INVALID_ARGUMENT;
    CHECK(failed(amochats_crm_call_account(NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_users(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_user(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_source(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_templates(1, none, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_template(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_submit_template(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_talk(1, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_close_talk(1, false, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_subscriptions(NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_unsubscribe(of("https://a.example"), NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_call_unsubscribe(of("no address"), &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_legacy_account(broken, none, &call, &error), &error, missing));
    CHECK(failed(amochats_crm_call_current_domain(none, &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_exchange_code(NULL, of("c"), &call, &error), &error, missing));
    CHECK(failed(amochats_crm_call_refresh_tokens(NULL, of("c"), &call, &error), &error, missing));
    CHECK(failed(amochats_crm_call_exchange_api_key(NULL, none, none, none, &call, &error), &error, missing));
    CHECK(failed(amochats_crm_call_linked_chats(NULL, 3, none, &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_delete_sources(NULL, 3, &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_delete_templates(NULL, 0, &call, &error), &error, invalid));
    const int64_t id = 1;
    CHECK(failed(amochats_crm_call_delete_sources(&id, (size_t)-1, &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_set_review_status(1, 1, of("maybe"), none, &call, &error), &error, invalid));
    CHECK(failed(amochats_crm_call_parse(NULL, none, NULL, &error), &error, missing));
    CHECK(amochats_crm_call_method(NULL).data == NULL && amochats_crm_call_path(NULL).data == NULL);
    CHECK(amochats_crm_call_body(NULL).data == NULL && amochats_crm_call_headers(NULL) == NULL);
    CHECK(!amochats_crm_call_needs_token(NULL));
    amochats_crm_call_as_user(NULL, 1);
    amochats_crm_call_free(NULL);

    amochats_value *value = NULL;
    CHECK(ok(amochats_crm_call_account(&call, NULL), NULL));
    CHECK(failed(amochats_crm_call_parse(call, of("[]"), &value, &error), &error,
                 AMOCHATS_RESULT_UNEXPECTED_RESPONSE));
    CHECK(failed(amochats_crm_call_parse(call, none, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_webhook_parse(none, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_problem_parse(none, NULL, &error), &error, missing));
    CHECK(failed(amochats_connected_parse(none, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_verify_one_time_token(NULL, none, none, none, 0, &value, &error), &error, missing));
    CHECK(failed(amochats_crm_verify_disable_hook(NULL, none, none, &error), &error, missing));
    amochats_crm_integration *made = NULL;
    CHECK(failed(amochats_crm_integration_new(of("i"), of("with blank"), of("u"), &made, &error), &error, invalid));
    CHECK(failed(amochats_crm_integration_new(of("i"), of("s"), of("u"), NULL, &error), &error, missing));
    amochats_crm_integration_free(NULL);

    amochats_crm_client *client = NULL;
    amochats_crm_options *options = amochats_crm_options_new();
    CHECK(failed(amochats_crm_client_open(NULL, &client, &error), &error, missing));
    CHECK(failed(amochats_crm_client_open(options, NULL, &error), &error, missing));
    amochats_result result = amochats_crm_client_open(options, &client, &error);
    CHECK(is(amochats_error_field(error), "base_url") && failed(result, &error, invalid));
    CHECK(failed(amochats_crm_options_set_account(options, of("mars"), of("a"), &error), &error, invalid));
    CHECK(failed(amochats_crm_options_set_account(options, of("ru"), of("no/label"), &error), &error, invalid));
    CHECK(ok(amochats_crm_options_set_account(options, of("kommo"), of("example"), &error), error));
    CHECK(failed(amochats_crm_options_set_token(options, of("with blank"), &error), &error, invalid));
    CHECK(failed(amochats_crm_options_set_threads(options, 0, &error), &error, invalid));
    CHECK(failed(amochats_crm_options_set_base_url(NULL, none, &error), &error, missing));
    amochats_crm_integration *of_sandbox = integration();
    CHECK(failed(amochats_crm_options_set_token_store(options, of_sandbox, NULL, store, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_options_set_token_store(options, of_sandbox, load, NULL, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_options_set_token_store(options, NULL, load, store, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_tokens_give(NULL, none, &error), &error, missing));
    CHECK(ok(amochats_crm_options_add_root_certificate(options, of("no certificate"), &error), error));
    CHECK(failed(amochats_crm_client_open(options, &client, &error), &error, invalid));
    amochats_crm_options_set_timeout_ms(NULL, 1);
    amochats_crm_options_free(options);
    amochats_crm_options_free(NULL);
    amochats_crm_integration_free(of_sandbox);

    /* Another kind of object, and no call. */
    client = with_token();
    const amochats_client *other = (const amochats_client *)(const void *)client;
    CHECK(failed(amochats_client_call(other, NULL, LONG, NULL, &error), &error, AMOCHATS_RESULT_MISUSE));
    CHECK(failed(amochats_crm_client_call(client, NULL, LONG, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_client_call(NULL, call, LONG, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_client_call_async(NULL, call, note_end, NULL, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_client_set_dispatcher(client, NULL, &error), &error, missing));
    CHECK(failed(amochats_crm_client_close(NULL, LONG, &error), &error, missing));
    amochats_crm_call_free(call);
    close_client(client);
    amochats_crm_client_free(NULL);
}

int main(void) {
    RUN(accounts_and_users);
    RUN(sources_contacts_and_links);
    RUN(templates_talks_and_subscriptions);
    RUN(a_token_store_that_cannot);
    RUN(a_widget_proves_who_asks);
    RUN_IN_FOLDER(completions_come_once_and_where_they_are_wanted);
    RUN(what_is_wrong_is_told_by_its_name);
    /* Last: it ends the tokens of before. */
    RUN(a_code_becomes_tokens_that_are_refreshed_and_kept);
    return check_result();
}
