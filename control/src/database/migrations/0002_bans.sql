-- Users of a tenant who may not join any room. NULL in `ends_at`: until the ban is lifted.
CREATE TABLE ban (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    ends_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (tenant, user_id)
);
