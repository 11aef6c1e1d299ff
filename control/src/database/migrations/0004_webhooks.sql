-- Addresses that are told of events. `tenant` NULL: of the events of all tenants. `events` is a JSON list
-- of kinds; empty: all. `signer` names the key of the servers that can sign for it. `off_reason` NULL: on.
CREATE TABLE webhook (
    id TEXT PRIMARY KEY,
    tenant TEXT REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    signer TEXT NOT NULL,
    off_reason TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhook_by_tenant ON webhook (tenant, id);

-- What webhooks are to be told and were told. `next_at` is the time of the next try; NULL: there is none.
CREATE TABLE webhook_delivery (
    id TEXT PRIMARY KEY,
    webhook TEXT NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT,
    delivered_at BIGINT,
    answer TEXT,
    UNIQUE (webhook, event)
);
CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook, id);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_delivery_by_age ON webhook_delivery (created_at);
