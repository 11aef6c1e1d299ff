-- What happened in a session: a JSON object, written at its end. It names no other user: a moderator is a
-- peer of the room, whose name is in that peer's own row. So the row holds nothing of others that would
-- have to be forgotten with them. NULL: the session goes on, or an older server has written the row.
ALTER TABLE session_history ADD COLUMN moments TEXT;
