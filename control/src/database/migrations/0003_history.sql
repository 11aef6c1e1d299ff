-- The past. `id` sorts by the time of the first event. `tenant_name` is a copy, which outlives its row;
-- `tenant` NULL: the tenant was not in the table. Times of the end are NULL while it goes on, or if the
-- server was killed meanwhile. Other columns are NULL if nothing is known.
CREATE TABLE room_history (
    id TEXT PRIMARY KEY,
    room TEXT NOT NULL UNIQUE,
    tenant TEXT,
    tenant_name TEXT NOT NULL,
    product TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    joins BIGINT,
    most_peers BIGINT
);
CREATE INDEX room_history_by_tenant ON room_history (tenant, id);
CREATE INDEX room_history_by_age ON room_history (started_at);

CREATE TABLE session_history (
    id TEXT PRIMARY KEY,
    peer TEXT NOT NULL UNIQUE,
    room TEXT NOT NULL,
    tenant TEXT,
    tenant_name TEXT NOT NULL,
    product TEXT NOT NULL,
    room_name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    code TEXT,
    resumes BIGINT,
    fallback_ms BIGINT,
    rtt_p50_us BIGINT,
    rtt_p95_us BIGINT,
    loss_ppm BIGINT,
    withheld BIGINT,
    bytes_in BIGINT,
    bytes_out BIGINT
);
CREATE INDEX session_history_by_tenant ON session_history (tenant, id);
CREATE INDEX session_history_by_user ON session_history (tenant_name, user_id, id);
CREATE INDEX session_history_by_room ON session_history (room, user_id);
CREATE INDEX session_history_by_age ON session_history (joined_at);

-- `members` and `missed` are JSON lists of user ids.
CREATE TABLE call_history (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL UNIQUE,
    tenant TEXT,
    tenant_name TEXT NOT NULL,
    product TEXT NOT NULL,
    caller TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    talked_ms BIGINT,
    members TEXT NOT NULL,
    missed TEXT NOT NULL
);
CREATE INDEX call_history_by_tenant ON call_history (tenant, id);
CREATE INDEX call_history_by_age ON call_history (started_at);

-- Everybody who was called or a member, one row for each user of a call.
CREATE TABLE call_party (
    call TEXT NOT NULL,
    tenant_name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (call, user_id)
);
CREATE INDEX call_party_by_user ON call_party (tenant_name, user_id);
