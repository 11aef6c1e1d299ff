-- Lists of the history take their rows in the order of `id` from one index, whatever is asked for.
CREATE INDEX room_history_by_tenant_name ON room_history (tenant_name, id);
CREATE INDEX room_history_by_name ON room_history (name, id);
CREATE INDEX session_history_by_tenant_name ON session_history (tenant_name, id);
CREATE INDEX session_history_by_room_name ON session_history (room_name, id);
CREATE INDEX session_history_in_room ON session_history (room, id);
CREATE INDEX session_history_of_user ON session_history (user_id, id);
CREATE INDEX call_history_by_tenant_name ON call_history (tenant_name, id);
CREATE INDEX call_party_of_user ON call_party (user_id, call);
-- These take their place.
DROP INDEX session_history_by_user;
DROP INDEX session_history_by_room;
DROP INDEX call_party_by_user;

-- When the webhook was deleted; NULL: it was not. Its deliveries are deleted in many small steps, and the
-- row behind them.
ALTER TABLE webhook ADD COLUMN deleted_at BIGINT;
