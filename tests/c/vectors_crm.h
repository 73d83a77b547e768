/* The operations of the CRM's side; part of vectors.c. */

typedef amochats_result (*make_t)(amochats_slice, amochats_crm_call **, amochats_error **);

/* What a call gave, or what it said. Frees both. */
static void check_answer(const char *key, amochats_result result, amochats_value *answer, amochats_error *error,
                         const json_t *expected) {
    const json_t *wanted = key == NULL ? expected : json_object_get(expected, key);
    if (succeeded(result, error, expected)) {
        if (answer == NULL) {
            CHECK(json_is_null(wanted));
        } else {
            check_json(key == NULL ? "answer" : key, amochats_value_json(answer), wanted);
        }
    }
    amochats_value_free(answer);
}

/* The answer of a call to which the case is one. Frees the call. */
static void check_parsed(amochats_crm_call *call, const json_t *input, const json_t *expected) {
    amochats_value *answer = NULL;
    amochats_error *error = NULL;
    REQUIRE(call != NULL);
    amochats_result result = amochats_crm_call_parse(call, body(input), &answer, &error);
    check_answer("answer", result, answer, error, expected);
    amochats_crm_call_free(call);
}

#define PARSES(name, ...)                                                       \
    static void parse_crm_##name(const json_t *input, const json_t *expected) { \
        amochats_crm_call *call = NULL;                                         \
        const amochats_slice none = {NULL, 0}, list = amochats_slice_of("[]");  \
        const int64_t id = 1;                                                   \
        (void)none, (void)list, (void)id;                                       \
        CHECK(__VA_ARGS__ == AMOCHATS_RESULT_OK);                               \
        check_parsed(call, input, expected);                                    \
    }

PARSES(account, amochats_crm_call_account(&call, NULL))
PARSES(legacy_account, amochats_crm_call_legacy_account(none, none, &call, NULL))
PARSES(user, amochats_crm_call_user(7, &call, NULL))
PARSES(talk, amochats_crm_call_talk(7, &call, NULL))
PARSES(linked_chats, amochats_crm_call_linked_chats(&id, 1, none, &call, NULL))
PARSES(created_contacts, amochats_crm_call_add_contacts(amochats_slice_of("[{\"name\":\"A\"}]"), &call, NULL))
PARSES(sources, amochats_crm_call_sources(none, &call, NULL))
PARSES(templates, amochats_crm_call_templates(1, none, &call, NULL))
PARSES(reviews, amochats_crm_call_submit_template(7, &call, NULL))

static amochats_crm_integration *integration_of(amochats_slice id, amochats_slice secret, amochats_slice uri) {
    amochats_crm_integration *integration = NULL;
    REQUIRE(amochats_crm_integration_new(id, secret, uri, &integration, NULL) == AMOCHATS_RESULT_OK);
    return integration;
}

static void parse_crm_tokens(const json_t *input, const json_t *expected) {
    amochats_crm_call *call = NULL;
    amochats_slice some = amochats_slice_of("x");
    amochats_crm_integration *integration = integration_of(some, some, some);
    CHECK(amochats_crm_call_exchange_code(integration, some, &call, NULL) == AMOCHATS_RESULT_OK);
    check_parsed(call, input, expected);
    amochats_crm_integration_free(integration);
}

static void parse_crm_problem(const json_t *input, const json_t *expected) {
    amochats_value *problem = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_problem_parse(body(input), &problem, &error);
    check_answer("answer", result, problem, error, expected);
}

static void parse_connected(const json_t *input, const json_t *expected) {
    amochats_value *connected = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_connected_parse(body(input), &connected, &error);
    check_answer("answer", result, connected, error, expected);
}

static void parse_crm_webhook(const json_t *input, const json_t *expected) {
    amochats_value *webhook = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_webhook_parse(body(input), &webhook, &error);
    check_answer("webhook", result, webhook, error, expected);
}

/* A call that was made, or why not, against method, path and body. Frees both. */
static void check_call(amochats_result result, amochats_crm_call *call, amochats_error *error,
                       const json_t *expected) {
    if (succeeded(result, error, expected)) {
        check_text("method", amochats_crm_call_method(call), json_object_get(expected, "method"));
        check_text("path", amochats_crm_call_path(call), json_object_get(expected, "path"));
        check_json("body", amochats_crm_call_body(call), json_object_get(expected, "body"));
    }
    amochats_crm_call_free(call);
}

static void encode(make_t make, const json_t *input, const json_t *expected) {
    char *json = json_dumps(json_object_get(input, "request"), JSON_ENCODE_ANY | JSON_COMPACT);
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    REQUIRE(json != NULL);
    amochats_result result = make(amochats_slice_of(json), &call, &error);
    check_call(result, call, error, expected);
    free(json);
}

#define ENCODES(name)                                                            \
    static void encode_crm_##name(const json_t *input, const json_t *expected) { \
        encode(amochats_crm_call_##name, input, expected);                       \
    }

ENCODES(link_chats)
ENCODES(add_contacts)
ENCODES(add_sources)
ENCODES(update_sources)
ENCODES(add_templates)
ENCODES(subscribe)

/* The vendor's form of a list of numbers: [{"id": 1}]. */
static size_t ids_of(const json_t *input, int64_t *ids, size_t most) {
    const json_t *list = json_object_get(input, "request");
    size_t count = json_array_size(list);
    REQUIRE(count <= most);
    for (size_t i = 0; i < count; i++) ids[i] = json_integer_value(json_object_get(json_array_get(list, i), "id"));
    return count;
}

static void encode_crm_delete_sources(const json_t *input, const json_t *expected) {
    int64_t ids[16];
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_call_delete_sources(ids, ids_of(input, ids, COUNT(ids)), &call, &error);
    check_call(result, call, error, expected);
}

static void encode_crm_delete_templates(const json_t *input, const json_t *expected) {
    int64_t ids[16];
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_call_delete_templates(ids, ids_of(input, ids, COUNT(ids)), &call, &error);
    check_call(result, call, error, expected);
}

static void encode_crm_set_review_status(const json_t *input, const json_t *expected) {
    const json_t *request = json_object_get(input, "request");
    const json_t *reason = json_object_get(request, "reject_reason");
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    amochats_result result =
        amochats_crm_call_set_review_status(7351, 367, text(request, "status"), slice(reason), &call, &error);
    check_call(result, call, error, expected);
}

static void encode_crm_exchange_code(const json_t *input, const json_t *expected) {
    const json_t *request = json_object_get(input, "request");
    amochats_crm_integration *integration = integration_of(
        text(request, "client_id"), text(request, "client_secret"), text(request, "redirect_uri"));
    amochats_crm_call *call = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_call_exchange_code(integration, text(request, "code"), &call, &error);
    CHECK(!amochats_crm_call_needs_token(call));
    check_call(result, call, error, expected);
    amochats_crm_integration_free(integration);
}

static void verify_disable_hook(const json_t *input, const json_t *expected) {
    amochats_slice uri = amochats_slice_of("https://example.org");
    amochats_crm_integration *integration = integration_of(text(input, "client_uuid"), text(input, "secret"), uri);
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_verify_disable_hook(
        integration, text(input, "account_id"), slice(json_object_get(input, "signature")), &error);
    if (succeeded(result, error, expected)) CHECK(json_is_true(json_object_get(expected, "valid")));
    amochats_crm_integration_free(integration);
}

static void verify_one_time_token(const json_t *input, const json_t *expected) {
    const amochats_slice none = {NULL, 0};
    amochats_crm_integration *integration =
        integration_of(text(input, "client_uuid"), text(input, "secret"), text(input, "redirect_uri"));
    uint64_t now = (uint64_t)json_integer_value(json_object_get(input, "now"));
    amochats_value *claims = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_crm_verify_one_time_token(integration, text(input, "token"), none, none, now,
                                                                &claims, &error);
    check_answer("claims", result, claims, error, expected);
    amochats_crm_integration_free(integration);
}

/* clang-format off */
#define CRM_OPERATIONS                                             \
    {"parse_connected", parse_connected, 0},                       \
    {"parse_crm_account", parse_crm_account, 0},                   \
    {"parse_crm_legacy_account", parse_crm_legacy_account, 0},     \
    {"parse_crm_user", parse_crm_user, 0},                         \
    {"parse_crm_talk", parse_crm_talk, 0},                         \
    {"parse_crm_linked_chats", parse_crm_linked_chats, 0},         \
    {"parse_crm_created_contacts", parse_crm_created_contacts, 0}, \
    {"parse_crm_sources", parse_crm_sources, 0},                   \
    {"parse_crm_templates", parse_crm_templates, 0},               \
    {"parse_crm_reviews", parse_crm_reviews, 0},                   \
    {"parse_crm_problem", parse_crm_problem, 0},                   \
    {"parse_crm_tokens", parse_crm_tokens, 0},                     \
    {"parse_crm_webhook", parse_crm_webhook, 0},                   \
    {"encode_crm_link_chats", encode_crm_link_chats, 0},           \
    {"encode_crm_add_contacts", encode_crm_add_contacts, 0},       \
    {"encode_crm_add_sources", encode_crm_add_sources, 0},         \
    {"encode_crm_update_sources", encode_crm_update_sources, 0},   \
    {"encode_crm_delete_sources", encode_crm_delete_sources, 0},   \
    {"encode_crm_add_templates", encode_crm_add_templates, 0},     \
    {"encode_crm_delete_templates", encode_crm_delete_templates, 0}, \
    {"encode_crm_set_review_status", encode_crm_set_review_status, 0}, \
    {"encode_crm_subscribe", encode_crm_subscribe, 0},             \
    {"encode_crm_exchange_code", encode_crm_exchange_code, 0},     \
    {"verify_disable_hook", verify_disable_hook, 0},               \
    {"verify_one_time_token", verify_one_time_token, 0}
