-- The sessions of a room, and those of the whole server, by their ends.
CREATE INDEX session_history_by_room_end ON session_history (room, left_at, id);
CREATE INDEX session_history_by_end ON session_history (left_at, id);
