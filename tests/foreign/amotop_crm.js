// npm's @mobilon-dev/amotop, what its client of the CRM can do for a channel. The rest of it is leads,
// tasks and the like, which the sandbox does not play. Prints what it got as one JSON object.
'use strict';

const assert = require('node:assert');
const { AmoApiClient } = require('@mobilon-dev/amotop');

const { API, CHAT_ID, CRM_TOKEN, MANAGER_REF_ID } = process.env;

async function main() {
    const crm = new AmoApiClient('sandbox.example', CRM_TOKEN);
    crm.axios.defaults.baseURL = API;
    crm.axios.interceptors.response.use(undefined, (error) => {
        const { config, response } = error;
        throw new Error(`${config?.method} ${config?.url}: ${response?.status} ${JSON.stringify(response?.data)}`);
    });

    const account = await crm.getAccount({ amojo_id: true });
    const user = (await crm.getUsers())._embedded.users.find(({ amojo_id }) => amojo_id === MANAGER_REF_ID);
    assert.equal((await crm.getUserById(user.id)).amojo_id, MANAGER_REF_ID);

    const [source] = (await crm.addSource([{ name: 'Shop', external_id: '15550199' }]))._embedded.sources;
    assert.equal((await crm.getSourceById(source.id)).external_id, '15550199');
    assert.ok((await crm.getSources())._embedded.sources.some(({ id }) => id === source.id));
    await crm.deleteSourceById(source.id);

    const [template] = (await crm.addTemplate([{ name: 'Hello', content: 'Hi {{contact.name}}' }]))._embedded
        .chat_templates;
    await crm.updateTemplateById(template.id, { name: 'Hello again', content: 'Hi' });
    assert.equal((await crm.getTemplateById(template.id)).name, 'Hello again');
    assert.equal((await crm.getTemplates())._embedded.chat_templates.length, 1);
    await crm.deleteTemplateById(template.id);

    const hook = { destination: 'http://127.0.0.1:9/crm', settings: ['add_message'] };
    await crm.setWebhook(hook);
    assert.equal((await crm.getWebhooks())._embedded.webhooks[0].destination, hook.destination);
    await crm.deleteWebhook(hook);

    const contact = (await crm.addContact({ name: 'Anna' }))._embedded.contacts[0];
    await crm.attachChatToContact(CHAT_ID, contact.id);
    const linked = (await crm.getContactChats(contact.id))._embedded.chats;
    console.log(JSON.stringify({ amojo_id: account.amojo_id, linked: linked.map(({ chat_id }) => chat_id) }));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
