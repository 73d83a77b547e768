-- The inbox of amochats, version 5: what webhooks v1 brought, by conversation, for the backfill.

-- A webhook v2 names its message, so that to keep one goes on changing no index.
CREATE INDEX event_by_v1 ON event (scope, conversation_id, received_at)
    WHERE kind = 'message' AND origin = 'webhook' AND message_ref_id IS NULL;
