-- People who sign in to the dashboard. `tenant` NULL: of the whole server. `email` is in lower case.
-- `totp` is the sealed secret of the person's authenticator, `totp_step` the newest time step of which a
-- code was used. `disabled_at` NULL: the person may sign in.
CREATE TABLE person (
    id TEXT PRIMARY KEY,
    tenant TEXT REFERENCES tenant (id) ON DELETE CASCADE,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT,
    totp TEXT,
    totp_step BIGINT,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    disabled_at BIGINT,
    UNIQUE (oidc_issuer, oidc_subject)
);
CREATE INDEX person_by_tenant ON person (tenant, id);

-- Browsers in which somebody is signed in. The cookie holds a secret, of which only the hash is here.
CREATE TABLE console_session (
    id TEXT PRIMARY KEY,
    id_hash TEXT NOT NULL UNIQUE,
    person TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ip TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX console_session_by_person ON console_session (person, id);
CREATE INDEX console_session_by_age ON console_session (expires_at);

-- Links that work once. `person` NULL: the link makes the first administrator.
CREATE TABLE one_time_link (
    hash TEXT PRIMARY KEY,
    person TEXT REFERENCES person (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX one_time_link_by_person ON one_time_link (person);
CREATE INDEX one_time_link_by_age ON one_time_link (ends_at);
