<?php
// The sample of the first generation: connect an account, send a message, answer a webhook. The body
// alone is signed. Prints what the service answered as one JSON object.

function call(string $path, array $payload): array
{
    $body = json_encode($payload);
    $answer = file_get_contents(getenv('API') . '/v2/origin/custom/' . $path, false, stream_context_create([
        'http' => [
            'method' => 'POST',
            'header' => [
                'cache-control: no-cache',
                'content-type: application/json',
                'x-signature: ' . hash_hmac('sha1', $body, getenv('SECRET')),
            ],
            'content' => $body,
            'ignore_errors' => true,
        ],
    ]));
    [, $status] = explode(' ', $http_response_header[0]);
    if ($status !== '200') {
        throw new RuntimeException("$path: $status $answer");
    }
    return json_decode($answer, true);
}

function message(string $text): array
{
    return [
        'event_type' => 'new_message',
        'payload' => [
            'timestamp' => time(),
            'msgid' => uniqid(),
            'conversation_id' => 'c-1',
            'sender' => [
                'id' => 'U1',
                'avatar' => 'https://example.org/logo.png',
                'name' => 'John',
                // A number, as the first examples had it.
                'profile' => ['phone' => (int) getenv('PLANTED_PHONE'), 'email' => getenv('PLANTED_EMAIL')],
                'profile_link' => 'https://example.org/U1',
            ],
            'message' => ['type' => 'text', 'text' => $text],
        ],
    ];
}

if ($argv[1] === 'connect') {
    $connected = call(getenv('CHANNEL_ID') . '/connect', ['account_id' => getenv('ACCOUNT_ID')]);
    echo json_encode([$connected, call($connected['scope_id'], message(getenv('PLANTED_TEXT')))]);
} else {
    // A webhook on standard input, its signature as an argument.
    $hook = rtrim(file_get_contents('php://stdin'), "\r\n");
    if (!hash_equals(hash_hmac('sha1', $hook, getenv('SECRET')), $argv[2])) {
        throw new RuntimeException('the webhook is not genuine');
    }
    $hook = json_decode($hook, true);
    echo json_encode([$hook, call(getenv('SCOPE_ID'), message('You said: ' . $hook['text']))]);
}
