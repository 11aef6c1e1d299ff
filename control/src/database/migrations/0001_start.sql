-- `revision`: the number of the newest change.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

-- Customers. `products` is a JSON list; empty: all products of the server. NULL: no date, or the limit
-- of the server's configuration.
CREATE TABLE tenant (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    products TEXT NOT NULL,
    starts_at BIGINT,
    ends_at BIGINT,
    max_sessions BIGINT,
    max_rooms BIGINT,
    max_kept_rooms BIGINT,
    active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- Keys of programs that use the API. `tenant` NULL: of the whole server. `scopes` is a JSON list.
CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    tenant TEXT REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_key_by_tenant ON api_key (tenant, id);

-- Who signs the join tokens of a tenant: one key (`alg`, `kid`, `public_key`), or an address of keys
-- (`jwks_url`) with the set that it gave at `keys_at`.
CREATE TABLE issuer (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    alg TEXT,
    kid TEXT,
    public_key TEXT,
    jwks_url TEXT,
    audience TEXT,
    keys TEXT,
    keys_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX issuer_by_tenant ON issuer (tenant, id);

-- Who did what. `tenant` and `actor` are copies, which outlive their rows.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    tenant TEXT,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT NOT NULL,
    ip TEXT NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant, id);

-- Answers to requests that may be sent again, for a day.
CREATE TABLE kept_answer (
    key_hash TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    request TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX kept_answer_by_age ON kept_answer (at);
