// npm's @mobilon-dev/amotop, all that its clients of the chats API can do. Prints what it sent and got
// as one JSON object.
'use strict';

const assert = require('node:assert');
const { AmoJoChannelClient, AmoJoScopeClient } = require('@mobilon-dev/amotop');

const { API, CHANNEL_ID, SECRET, ACCOUNT_ID, SCOPE_ID, BOT_REF_ID, MANAGER_REF_ID } = process.env;

// Private helpers count, too: whoever is not called was not tried.
const methods = new Set();
const called = new Set();
for (const Class of [AmoJoChannelClient, AmoJoScopeClient]) {
    for (const name of Object.getOwnPropertyNames(Class.prototype)) {
        if (name === 'constructor') continue;
        const full = `${Class.name}.${name}`;
        const method = Class.prototype[name];
        methods.add(full);
        Class.prototype[name] = function (...args) {
            called.add(full);
            return method.apply(this, args);
        };
    }
}

// The service's own words, which axios keeps to itself.
function explained(instance) {
    instance.interceptors.response.use(undefined, (error) => {
        const { config, response } = error;
        throw new Error(`${config?.method} ${config?.url} ${config?.data}: ${JSON.stringify(response?.data)}`);
    });
    return instance;
}

async function main() {
    const channel = new AmoJoChannelClient({ channelId: CHANNEL_ID, channelSecret: SECRET });
    explained(channel.instance).defaults.baseURL = `${API}/v2/origin/custom`;
    const scope = new AmoJoScopeClient({ scopeId: SCOPE_ID, channelSecret: SECRET });
    explained(scope.instance).defaults.baseURL = `${API}/v2/origin/custom`;

    assert.equal(channel.getChannelId(), CHANNEL_ID);
    assert.equal(scope.getScopeId(), SCOPE_ID);
    assert.equal(channel.getAmoChatDomain(), scope.getAmoChatDomain());

    const connected = await channel.connectChannel(ACCOUNT_ID, 'Shop');
    // Only the id of a CRM user, neither an own one nor a name.
    const created = await scope.createChat(scope.getChatDto(MANAGER_REF_ID));
    const conversationId = created.id;

    const media = { mediaUrl: 'https://example.org/f', conversationId };
    const bot = { channelBotId: BOT_REF_ID };
    const user = { amojoUserId: MANAGER_REF_ID };
    const contact = { senderName: 'Anna' };
    const sent = [];
    for (const payload of [
        scope.getTextPayloadFromContact({ ...contact, conversationId, message: `hi ${process.env.PLANTED_TEXT}` }),
        scope.getTextPayloadFromBot({ ...bot, conversationId, message: 'hi', silent: true }),
        scope.getTextPayloadFromUser({ ...user, conversationId, message: 'hi', sourceExternalId: '15550199' }),
        scope.getImagePayloadFromContact({ ...contact, ...media }),
        scope.getImagePayloadFromBot({ ...bot, ...media, message: 'receipt' }),
        scope.getImagePayloadFromUser({ ...user, ...media }),
        scope.getVideoPayloadFromContact({ ...contact, ...media }),
        scope.getVideoPayloadFromBot({ ...bot, ...media }),
        scope.getVideoPayloadFromUser({ ...user, ...media }),
        scope.getAudioPayloadFromContact({ ...contact, ...media }),
        scope.getAudioPayloadFromBot({ ...bot, ...media }),
        scope.getAudioPayloadFromUser({ ...user, ...media }),
    ]) {
        sent.push(await scope.sendMessage(payload));
    }
    for (const quote of [
        scope.getQuoteTextMessage({ ...contact, message: 'before' }),
        scope.getQuoteImageMessage({ ...contact, mediaUrl: media.mediaUrl }),
        scope.getQuoteVideoMessage({ ...contact, mediaUrl: media.mediaUrl }),
    ]) {
        const payload = scope.getTextPayloadFromContact({ ...contact, conversationId, message: 'after' });
        sent.push(await scope.sendMessage({ ...payload, ...quote }));
    }

    const outgoing = sent[1].new_message.msgid;
    await scope.updateMessageStatus(outgoing, 1);
    await scope.updateMessageStatus(outgoing, 2);
    await scope.updateMessageStatus(outgoing, -1, 905, 'No route');
    const history = await scope.getChatHistory(conversationId);
    await channel.disconnectChannel(ACCOUNT_ID);

    assert.deepEqual([...methods].filter((name) => !called.has(name)), [], 'every method is tried');
    console.log(JSON.stringify({ connected, conversationId, sent, history, methods: methods.size }));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
