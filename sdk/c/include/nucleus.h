/*
 * The C library of Nucleus: rooms in which headsets, desktops and phones meet.
 *
 * Rules that hold for every function, unless its own text says otherwise:
 *
 * - Threads: it may be called on any thread, and on several at the same time. Only nc_poll of one client
 *   is for one thread at a time. The library calls nothing of the application.
 * - Time: it returns at once. What takes longer is a request: the event NC_EVENT_KIND_DONE with the
 *   request's number (NcOp) has its result.
 * - Lifetimes: what is passed in is copied before the function returns. What nc_poll returns is valid until
 *   the next nc_poll of the same client. Clients, rooms and social sessions are numbers: a number of something
 *   that was freed is an error, and never another one's.
 * - Errors: a function returns an NcResult, or a count that is negative if it is an NcResult. The few that
 *   return something else say so. nc_last_error has the reason of the last failure in the same thread as a text.
 * - Texts are UTF-8 and end with a zero byte. Bytes of the library (NcBytes) do not.
 * - The structs that say how to begin (NcConfig, NcConnect, NcEnter) begin with their size, and may become longer
 *   in later versions. All others stay as they are in this version of the ABI. Set what you do not use to 0.
 *
 * docs/SDK.md of the project has a walk through it, and sdk/c/examples a whole program.
 */


#ifndef NUCLEUS_H
#define NUCLEUS_H

/* Made by sdk/bindgen from sdk/c/src: change the source, not this file. */

#include <stdint.h>


// The version of this ABI. A library with another one refuses `nc_client_new`.
#define NC_ABI_VERSION 1

// The result of a call, or of a request that was under way. 0 is success, everything else is
// negative. `nc_last_error` has the reason as a text.
enum NcResult
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Success.
    NC_RESULT_OK = 0,
    // An argument is outside its limits, a text is not UTF-8, or a pointer is NULL.
    NC_RESULT_INVALID_ARGUMENT = -1,
    // The client, room or social session does not exist, or was freed.
    NC_RESULT_INVALID_HANDLE = -2,
    // The library has another ABI than the header with which the application was built.
    NC_RESULT_ABI_MISMATCH = -3,
    // There is no capacity now. Nothing was sent: try again in a later frame.
    NC_RESULT_WOULD_BLOCK = -4,
    // The room or social session is still being joined.
    NC_RESULT_NOT_JOINED = -5,
    // The room or social session is closed.
    NC_RESULT_CLOSED = -6,
    // The payload is larger than allowed. Nothing was sent.
    NC_RESULT_TOO_LARGE = -7,
    // The recipient is not in the room. Nothing was sent.
    NC_RESULT_UNKNOWN_PEER = -8,
    // The server refused. `code` of the event has the reason.
    NC_RESULT_REFUSED = -9,
    // No answer came in time.
    NC_RESULT_TIMED_OUT = -10,
    // The session was lost before the answer came: it is unknown whether the request was carried out.
    NC_RESULT_INTERRUPTED = -11,
    // The session is lost and not resumed yet. Nothing was sent.
    NC_RESULT_NOT_CONNECTED = -12,
    // The server, or this library, lacks the feature.
    NC_RESULT_NOT_OFFERED = -13,
    // The buffer is too small. The call has said which size is needed.
    NC_RESULT_BUFFER_TOO_SMALL = -14,
    // There is no such field, object, peer or request.
    NC_RESULT_NOT_FOUND = -15,
    // The server cannot be reached.
    NC_RESULT_UNREACHABLE = -16,
    // The server's certificate is not trusted, or the other end is no Nucleus server.
    NC_RESULT_UNTRUSTED = -17,
    // The server broke the protocol.
    NC_RESULT_PROTOCOL = -18,
    // The other peer answered the RPC with an error. `code` of the event has its number.
    NC_RESULT_RPC_FAILED = -19,
    // The other peer has no such method.
    NC_RESULT_NO_SUCH_METHOD = -20,
    // Too many requests wait at the other peer.
    NC_RESULT_BUSY = -21,
    // The system refused a thread or a socket.
    NC_RESULT_SYSTEM = -22,
    // A fault in the library itself. Please report it, with the text of `nc_last_error`.
    NC_RESULT_INTERNAL = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcResult NcResult;
#else
typedef int32_t NcResult;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a join chooses its room.
enum NcJoinMode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Joins the named room, or creates it.
    NC_JOIN_MODE_JOIN_OR_CREATE = 0,
    // Creates the named room. Refused if it exists.
    NC_JOIN_MODE_CREATE = 1,
    // Joins the named room. Refused if it does not exist.
    NC_JOIN_MODE_JOIN = 2,
    // Joins the fullest room that fits the filters. Refused if none does.
    NC_JOIN_MODE_MATCH = 3,
    // Joins the fullest room that fits the filters, or creates one.
    NC_JOIN_MODE_MATCH_OR_CREATE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcJoinMode NcJoinMode;
#else
typedef uint32_t NcJoinMode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a room is made. Bits.
enum NcRoomFlag
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The lobby neither lists nor matches the room.
    NC_ROOM_FLAG_HIDDEN = 1,
    // Only moderators can join.
    NC_ROOM_FLAG_LOCKED = 2,
    // The room does not end when it is empty.
    NC_ROOM_FLAG_KEPT = 4,
    // Only invited users can join.
    NC_ROOM_FLAG_BY_INVITATION = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcRoomFlag NcRoomFlag;
#else
typedef uint32_t NcRoomFlag;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The type of a value.
enum NcValueKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No value: the field is removed.
    NC_VALUE_KIND_NONE = 0,
    // False or true, in `integer`.
    NC_VALUE_KIND_BOOL = 1,
    // A signed integer, in `integer`.
    NC_VALUE_KIND_INTEGER = 2,
    // A 64-bit float, in `number`. NaN is refused.
    NC_VALUE_KIND_FLOAT = 3,
    // Text in UTF-8, in `bytes`.
    NC_VALUE_KIND_TEXT = 4,
    // A byte string, in `bytes`.
    NC_VALUE_KIND_BYTES = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcValueKind NcValueKind;
#else
typedef uint32_t NcValueKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The kind of a target.
enum NcTargetKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // All peers except the sender.
    NC_TARGET_KIND_OTHERS = 0,
    // One peer.
    NC_TARGET_KIND_PEER = 1,
    // The host.
    NC_TARGET_KIND_HOST = 2,
    // The subscribers of a group, except the sender.
    NC_TARGET_KIND_GROUP = 3,
    // All peers, the sender included. For events only.
    NC_TARGET_KIND_ALL = 4,
    // The named peers. For events only.
    NC_TARGET_KIND_PEERS = 5,
    // All peers except the sender, and those who join later. For events only.
    NC_TARGET_KIND_OTHERS_AND_LATER = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcTargetKind NcTargetKind;
#else
typedef uint32_t NcTargetKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a shown pose was found.
enum NcCertainty
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Between two poses that the peer has sent.
    NC_CERTAINTY_INTERPOLATED = 0,
    // The next pose is late: the last movement goes on for 200 ms, and then back.
    NC_CERTAINTY_EXTRAPOLATED = 1,
    // A pose as it was sent.
    NC_CERTAINTY_HELD = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcCertainty NcCertainty;
#else
typedef uint32_t NcCertainty;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What is known of a peer. Bits.
enum NcPeerFlag
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The server has received nothing from the peer for 10 s.
    NC_PEER_FLAG_AWAY = 1,
    // A moderator has muted the peer.
    NC_PEER_FLAG_MUTED = 2,
    // The peer has muted itself.
    NC_PEER_FLAG_SELF_MUTED = 4,
    // The peer may moderate.
    NC_PEER_FLAG_MODERATOR = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcPeerFlag NcPeerFlag;
#else
typedef uint32_t NcPeerFlag;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The kind of an entity.
enum NcScope
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The room itself.
    NC_SCOPE_ROOM = 0,
    // A peer.
    NC_SCOPE_PEER = 1,
    // An object.
    NC_SCOPE_OBJECT = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcScope NcScope;
#else
typedef uint32_t NcScope;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How an object is owned. `WithRoom` is added to one of the others.
enum NcObjectMode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // A claim has no effect.
    NC_OBJECT_MODE_FIXED = 0,
    // The owner is asked.
    NC_OBJECT_MODE_ASK = 1,
    // Whoever claims the object owns it.
    NC_OBJECT_MODE_TAKE = 2,
    // The object stays when its owner leaves.
    NC_OBJECT_MODE_WITH_ROOM = 128,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcObjectMode NcObjectMode;
#else
typedef uint32_t NcObjectMode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The kind of a change.
enum NcChangeKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Sets a field, or removes it if the value has no type.
    NC_CHANGE_KIND_SET = 0,
    // The same, if the field still has the given version.
    NC_CHANGE_KIND_COMPARE_AND_SET = 1,
    // Creates an object.
    NC_CHANGE_KIND_CREATE = 2,
    // Deletes an object.
    NC_CHANGE_KIND_DELETE = 3,
    // Claims an object.
    NC_CHANGE_KIND_CLAIM = 4,
    // Gives an object to a peer.
    NC_CHANGE_KIND_GIVE = 5,
    // Chooses a peer as the host.
    NC_CHANGE_KIND_HOST = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcChangeKind NcChangeKind;
#else
typedef uint32_t NcChangeKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An act of moderation.
enum NcAct
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Removes a peer; with `seconds`, bans its user from the room for that time.
    NC_ACT_KICK = 1,
    // Locks the room.
    NC_ACT_LOCK = 2,
    // Unlocks the room.
    NC_ACT_UNLOCK = 3,
    // Hides the room from the lobby.
    NC_ACT_HIDE = 4,
    // Shows the room in the lobby.
    NC_ACT_SHOW = 5,
    // Mutes a peer.
    NC_ACT_MUTE = 6,
    // Unmutes a peer.
    NC_ACT_UNMUTE = 7,
    // Mutes all peers that may not moderate.
    NC_ACT_MUTE_ALL = 8,
    // Unmutes all peers.
    NC_ACT_UNMUTE_ALL = 9,
    // Deletes all objects and the room's fields.
    NC_ACT_CLEAR = 12,
    // Hands the right to moderate to a peer.
    NC_ACT_HAND_OVER = 13,
    // Ends the room for all peers.
    NC_ACT_END = 20,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcAct NcAct;
#else
typedef uint32_t NcAct;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What to play for the next 20 ms of a speaker.
enum NcVoiceStep
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing: the speaker is silent.
    NC_VOICE_STEP_SILENCE = 0,
    // The Opus packet that was written.
    NC_VOICE_STEP_PACKET = 1,
    // A packet is missing: let the decoder conceal it.
    NC_VOICE_STEP_CONCEAL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcVoiceStep NcVoiceStep;
#else
typedef uint32_t NcVoiceStep;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A flag of a voice packet. Bits.
enum NcVoiceFlag
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The sender's encoder detected a voice.
    NC_VOICE_FLAG_SPEAKING = 1,
    // The first packet after a pause.
    NC_VOICE_FLAG_SPURT_START = 2,
    // The Opus packet is encrypted end to end.
    NC_VOICE_FLAG_END_TO_END = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcVoiceFlag NcVoiceFlag;
#else
typedef uint32_t NcVoiceFlag;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How good a connection is.
enum NcQuality
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No datagram of the server has come yet, or none comes any more.
    NC_QUALITY_UNKNOWN = 0,
    // Nobody notices the network.
    NC_QUALITY_EXCELLENT = 1,
    // Voice has short gaps, or is late.
    NC_QUALITY_GOOD = 2,
    // A conversation is difficult.
    NC_QUALITY_POOR = 3,
    // There is no session now.
    NC_QUALITY_LOST = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcQuality NcQuality;
#else
typedef uint32_t NcQuality;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Whether a user can be called.
enum NcStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The user can be called.
    NC_STATUS_ONLINE = 0,
    // The user does not want to be called, or is in a call.
    NC_STATUS_BUSY = 1,
    // The user can be called, but may not answer.
    NC_STATUS_AWAY = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcStatus NcStatus;
#else
typedef uint32_t NcStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What has happened, with the fields of the event. `handle` is always the room or social session.
//
// Later versions may add kinds: ignore those that you do not know.
enum NcEventKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The room is joined. `peer`: the own peer id. `name`: the room's name.
    NC_EVENT_KIND_JOINED = 1,
    // The room could not be joined. `result`, `code`, `payload`: the reason. `duration_ms`: the pause
    // that the server wants before another attempt. The room's handle is still to be freed.
    NC_EVENT_KIND_JOIN_FAILED = 2,
    // A request is done. It comes after the events of what it has changed. `op`, `result`, `code`; `sequence`: the version of the state that has the
    // change; `id`: the call; `payload`: the answer of an RPC, or the reason as a text.
    NC_EVENT_KIND_DONE = 3,
    // A peer has joined, or was in the room when this client joined. `peer`, `name`: its display name,
    // `flags`: `NcPeerFlag`.
    NC_EVENT_KIND_PEER_JOINED = 4,
    // A peer has left. `peer`, `name`, `code`.
    NC_EVENT_KIND_PEER_LEFT = 5,
    // A peer's presence, mute or right to moderate has changed. `peer`, `flags`: `NcPeerFlag`.
    NC_EVENT_KIND_PEER_CHANGED = 6,
    // A fresh token of the same user is wanted: call `nc_room_renew`. `duration_ms`.
    NC_EVENT_KIND_TOKEN_WANTED = 7,
    // A peer has started or stopped speaking. `peer`, `flags`: 1 while it speaks, `key`: its level in
    // -dBov, 0 is loudest.
    NC_EVENT_KIND_SPEAKING = 8,
    // A voice packet, until the application has called `nc_room_voice`. `peer`, `payload`: the Opus
    // packet, `flags`: `NcVoiceFlag`, `key`: its level, `sequence`, `captured_us`, `age_us`.
    NC_EVENT_KIND_VOICE = 9,
    // A pointer. `peer`, `channel`, `key`, `payload`, `captured_us`, `age_us`.
    NC_EVENT_KIND_POINTER = 10,
    // An unreliable message. `peer`, `channel`, `key`, `sequence`, `payload`, `captured_us`, `age_us`.
    NC_EVENT_KIND_MESSAGE = 11,
    // A reliable event. `peer`, `channel`, `sequence`, `payload`.
    NC_EVENT_KIND_EVENT = 12,
    // A reliable event with a type. `peer`, `name`: its type, `sequence`, `payload`.
    NC_EVENT_KIND_TYPED_EVENT = 13,
    // A message of the bulk lane. `peer`, `channel`, `payload`.
    NC_EVENT_KIND_BULK = 14,
    // A peer asks something: answer with `nc_room_answer`. `peer`, `id`, `name`: the method,
    // `payload`, `duration_ms`: how long the peer waits.
    NC_EVENT_KIND_RPC_REQUEST = 15,
    // A moderator has acted. `by`, `peer`, `name`: the user, `key`: `NcAct`, `duration_ms`: of a ban.
    NC_EVENT_KIND_MODERATED = 16,
    // The server delays or drops messages of this client. `key`: `NcThrottle`.
    NC_EVENT_KIND_THROTTLED = 17,
    // A field has changed. `entity`, `name`: the key, `value`, `by`.
    NC_EVENT_KIND_FIELD_CHANGED = 18,
    // An object was created. `id`, `peer`: its owner, `flags`: `NcObjectMode`, `by`.
    NC_EVENT_KIND_OBJECT_CREATED = 19,
    // An object was deleted, or all fields of a peer. `entity`, `id`, `by`.
    NC_EVENT_KIND_DELETED = 20,
    // An object has another owner. `id`, `peer`: the owner or 0, `by`.
    NC_EVENT_KIND_OWNER_CHANGED = 21,
    // A peer asks for an object of this client. `id`, `by`.
    NC_EVENT_KIND_CLAIMED = 22,
    // Another peer is the host. `peer`, or 0.
    NC_EVENT_KIND_HOST_CHANGED = 23,
    // The session is lost, and the client tries to come back. `code`, `payload`.
    NC_EVENT_KIND_INTERRUPTED = 24,
    // The session is resumed. `flags`: 1 if the oldest missed events are lost.
    NC_EVENT_KIND_RESUMED = 25,
    // The room was joined again as a new peer. `peer`: the new peer id of this client.
    NC_EVENT_KIND_REJOINED = 26,
    // Realtime messages have changed their way. `flags`: 1 if they travel inside the session.
    NC_EVENT_KIND_FALLBACK = 27,
    // The connection became better or worse. `flags`: `NcQuality`.
    NC_EVENT_KIND_QUALITY = 28,
    // The server's clock is another one: times from before cannot be compared with those from now on.
    NC_EVENT_KIND_CLOCK_CHANGED = 30,
    // The room or social session is closed. This is its last event. `code`, `payload`.
    NC_EVENT_KIND_CLOSED = 29,
    // The social session is open. `name`: the user.
    NC_EVENT_KIND_ENTERED = 40,
    // The social session could not be opened. As `JoinFailed`.
    NC_EVENT_KIND_ENTER_FAILED = 41,
    // A watched room is new or has changed. `name`: the room, `flags`: 1 if it is locked, 2 if it has a
    // password, `key`: its peers, `channel`: its capacity. Its fields follow as `RoomField`.
    NC_EVENT_KIND_ROOM_LISTED = 42,
    // A listed field of the room before. `name`: the key, `value`.
    NC_EVENT_KIND_ROOM_FIELD = 43,
    // A watched room has ended or no longer fits. `name`.
    NC_EVENT_KIND_ROOM_GONE = 44,
    // A watched user is new or has changed. `name`: the user, `payload`: the display name, `flags`:
    // `NcStatus`.
    NC_EVENT_KIND_USER_CHANGED = 45,
    // A watched user is gone. `name`.
    NC_EVENT_KIND_USER_GONE = 46,
    // A user calls this user. `id`: the call, `name`: the caller, `payload`: its text.
    NC_EVENT_KIND_CALL_INCOMING = 47,
    // The call no longer rings here. `id`, `code`.
    NC_EVENT_KIND_RINGING_ENDED = 48,
    // This user has started a call. `id`.
    NC_EVENT_KIND_CALLING = 49,
    // The call was accepted: join its room. `id`, `name`: the room, `flags`: 1 if on this device.
    NC_EVENT_KIND_CALL_ACCEPTED = 50,
    // A user has joined the call. `id`, `name`: the user, `payload`: the display name.
    NC_EVENT_KIND_MEMBER_JOINED = 51,
    // A member has left the call. `id`, `name`, `code`.
    NC_EVENT_KIND_MEMBER_LEFT = 52,
    // A called user did not join, and the call goes on. If nobody is left, `CallEnded` comes instead.
    // `id`, `name`, `code`.
    NC_EVENT_KIND_MEMBER_PASSED = 53,
    // The call has ended. `id`, `code`.
    NC_EVENT_KIND_CALL_ENDED = 54,
    // The social session is back after `Interrupted`. A call that continues is reported again.
    NC_EVENT_KIND_RETURNED = 55,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcEventKind NcEventKind;
#else
typedef uint32_t NcEventKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the server delays or drops.
enum NcThrottle
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Something that this version does not know.
    NC_THROTTLE_OTHER = 0,
    // Events are delayed.
    NC_THROTTLE_EVENTS = 1,
    // Bulk messages are delayed.
    NC_THROTTLE_BULK = 2,
    // Requests are delayed.
    NC_THROTTLE_REQUESTS = 3,
    // Realtime messages were dropped.
    NC_THROTTLE_REALTIME = 4,
    // Voice was dropped, because too many peers speak.
    NC_THROTTLE_SPEAKER_LIMIT = 5,
    // Voice was dropped, because this client is muted.
    NC_THROTTLE_MUTED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcThrottle NcThrottle;
#else
typedef uint32_t NcThrottle;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What to do with a call.
enum NcCallAct
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Accepts a call that rings. `NC_EVENT_KIND_CALL_ACCEPTED` names the room.
    NC_CALL_ACT_ACCEPT = 0,
    // Rejects a call that rings.
    NC_CALL_ACT_REJECT = 1,
    // Stops calling.
    NC_CALL_ACT_CANCEL = 2,
    // Leaves the call.
    NC_CALL_ACT_HANG_UP = 3,
    // Calls one more user, named by `user`.
    NC_CALL_ACT_ADD = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum NcCallAct NcCallAct;
#else
typedef uint32_t NcCallAct;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the library works. Set `size` and `abi_version`, and everything else to 0.
typedef struct NcConfig {
    // `sizeof(NcConfig)`.
    uint32_t size;
    // `NC_ABI_VERSION`.
    uint32_t abi_version;
} NcConfig;

// A client: one thread with its network, and the rooms and social sessions that were opened with it.
// 0 is no client. A number is never used again, so a stale one is an error and nothing worse.
typedef uint64_t NcClient;

// Names an entity of the shared state.
typedef struct NcEntity {
    // `NcScope`.
    uint32_t scope;
    // Unused; 0.
    uint32_t reserved;
    // 0 for the room, the peer's id, or the object's id.
    uint64_t id;
} NcEntity;

// Bytes that the library owns. They stay valid until the next `nc_poll` of the client. A text is UTF-8,
// and does not end with a zero byte.
typedef struct NcBytes {
    // The first byte; may be NULL if `len` is 0.
    const uint8_t *data;
    // Number of bytes.
    uint32_t len;
} NcBytes;

// A typed value of at most 4 KiB.
typedef struct NcValue {
    // The type: `NcValueKind`.
    uint32_t kind;
    // The text or the bytes.
    struct NcBytes bytes;
    // The integer; 0 or 1 for a boolean.
    int64_t integer;
    // The float.
    double number;
} NcValue;

// What has happened. Which fields an event has stands at its kind; the others are 0, or -1 for times
// and codes.
typedef struct NcEvent {
    // What has happened: `NcEventKind`.
    uint32_t kind;
    // The result: `NcResult`.
    int32_t result;
    // The room or social session in which it has happened.
    uint64_t handle;
    // The request that is done.
    uint64_t op;
    // The position of an event in the room's order; the version of the state.
    uint64_t sequence;
    // The object, the call, or the request of an RPC.
    uint64_t id;
    // The moment of the capture, by the server's clock, in us; -1: unknown.
    int64_t captured_us;
    // Time from the capture to the arrival, in us; -1: unknown.
    int64_t age_us;
    // A duration in ms; -1: unknown.
    int64_t duration_ms;
    // The sender, or the peer that is concerned.
    uint32_t peer;
    // The peer that has done it; the new owner; the new host. 0: nobody.
    uint32_t by;
    // The reason, as the protocol's document numbers it; -1: unknown or none.
    int32_t code;
    // The key of a realtime message.
    uint32_t key;
    // The channel of a message.
    uint32_t channel;
    // Bits or a number, see the kind.
    uint32_t flags;
    // What has changed in the shared state.
    struct NcEntity entity;
    // The new value of a field.
    struct NcValue value;
    // A name: the key of a field, the type of an event, the method of an RPC, a user.
    struct NcBytes name;
    // The data of a message, or a text for a person.
    struct NcBytes payload;
} NcEvent;

// A condition on a field that rooms list.
typedef struct NcFilter {
    // The field's key.
    const char *key;
    // The field must have one of these values, at most 16.
    const struct NcValue *values;
    // Number of `values`. 0: the field must be a number from `low` to `high`.
    uint32_t value_count;
    // Unused; 0.
    uint32_t reserved;
    // The smallest number; of kind `NC_VALUE_KIND_NONE` if there is no lower limit.
    struct NcValue low;
    // The largest number; of kind `NC_VALUE_KIND_NONE` if there is no upper limit.
    struct NcValue high;
} NcFilter;

// A field: a key and its value.
typedef struct NcField {
    // The key, 1 to 64 bytes.
    const char *key;
    // The value.
    struct NcValue value;
} NcField;

// Which room to join, and how. Set `size`, `server` and `token`, and everything that stays at its
// default to 0. The call copies what the pointers point to.
typedef struct NcConnect {
    // `sizeof(NcConnect)`.
    uint32_t size;
    // How the room is chosen: `NcJoinMode`.
    uint32_t mode;
    // `host:port`, or `host` for port 5055.
    const char *server;
    // The join token, from the application's backend or from `nucleus token`.
    const char *token;
    // The room's name. NULL: the room that the token names, or else "demo".
    const char *room;
    // The display name. NULL: the name in the token.
    const char *name;
    // The application's version: clients of different versions are never in the same room.
    const char *version;
    // The room's password. NULL: none.
    const char *password;
    // Name and version of the application, for the server's operator.
    const char *agent;
    // What `nc_room_ticket` returned in an earlier process, to resume its session. NULL: none. Whoever has a
    // ticket is its user, whatever the token says: delete it when another user signs in.
    const char *ticket;
    // CA certificates in PEM that are trusted. NULL: the pins in the token, or else public
    // certificates.
    const char *ca_pem;
    // Fields that a room must have in the modes `NC_JOIN_MODE_MATCH` and `..._MATCH_OR_CREATE`.
    const struct NcFilter *filters;
    // Number of `filters`, at most 8.
    uint32_t filter_count;
    // How the room is made, if this join creates it: bits of `NcRoomFlag`.
    uint32_t room_flags;
    // Most peers in a room that this join creates. 0: the server's default.
    uint32_t capacity;
    // How long a room that this join creates stays when it is empty, in ms.
    uint32_t empty_ttl_ms;
    // Fields of a room that this join creates.
    const struct NcField *fields;
    // Number of `fields`.
    uint32_t field_count;
    // Number of `listed`.
    uint32_t listed_count;
    // Keys of the fields that the lobby shows of a room that this join creates, at most 8.
    const char *const *listed;
    // How long the client tries to resume a lost session, in ms. 0: two minutes. 1: not at all.
    uint32_t patience_ms;
    // 1: the client has no realtime port, and its realtime messages travel inside the session.
    uint32_t no_realtime_port;
    // Ids of users for whom seats are reserved for a minute, at most 16. Each must still join.
    const char *const *expected;
    // Number of `expected`.
    uint32_t expected_count;
    // Unused; 0.
    uint32_t reserved;
} NcConnect;

// A room of a client. 0 is no room.
typedef uint64_t NcRoom;

// A request that is under way. The event `NC_EVENT_KIND_DONE` with the same number has its result.
typedef uint64_t NcOp;

// A position and a rotation.
typedef struct NcTransform {
    // Position in metres: x, y, z.
    float position[3];
    // Rotation as a quaternion: x, y, z, w.
    float rotation[4];
} NcTransform;

// Head and hands, in the room's coordinates. Axes are those of OpenXR: right-handed, y points up, and the
// identity rotation looks along -z. An engine with other axes converts its poses. The head may be 8,388.607 m from the origin in each axis,
// a hand 2.047 m from the head.
typedef struct NcPose {
    // The head.
    struct NcTransform head;
    // The left hand, if it is tracked.
    struct NcTransform left;
    // The right hand, if it is tracked.
    struct NcTransform right;
    // 1 if the left hand is tracked, otherwise 0.
    uint32_t has_left;
    // 1 if the right hand is tracked, otherwise 0.
    uint32_t has_right;
} NcPose;

// A pose of another peer, to show in this frame.
typedef struct NcShownPose {
    // The sender.
    uint32_t peer;
    // The body of a sender with several; otherwise 0.
    uint32_t key;
    // Head and hands.
    struct NcPose pose;
    // How the pose was found: `NcCertainty`.
    uint32_t certainty;
    // The channel on which the sender sends it; usually 0.
    uint32_t channel;
    // The moment that the pose shows, by the server's clock, in us. Never earlier than in the frame
    // before.
    int64_t shown_us;
    // When the newest pose of this sender was captured, by the server's clock, in us. Tells how long
    // the peer has been silent.
    int64_t newest_us;
} NcShownPose;

// The recipients of a message.
typedef struct NcTarget {
    // `NcTargetKind`.
    uint32_t kind;
    // The peer, or the group (0 to 239).
    uint32_t id;
    // The peers of `NC_TARGET_KIND_PEERS`, at most 1,024.
    const uint32_t *peers;
    // Number of `peers`.
    uint32_t peer_count;
} NcTarget;

// A peer of a room. The texts end with a zero byte.
typedef struct NcPeer {
    // The peer's id.
    uint32_t peer;
    // Bits of `NcPeerFlag`.
    uint32_t flags;
    // The user's id from the token.
    char user[132];
    // The display name.
    char name[132];
    // The role from the token.
    char role[132];
} NcPeer;

// How good a room's connection is.
typedef struct NcConnection {
    // `NcQuality`.
    uint32_t quality;
    // Round trip of the realtime plane in us; -1: unknown, also in silence.
    int32_t round_trip_us;
    // Share of the datagrams from the server that were lost, 0 to 1; -1: unknown.
    float loss_down;
    // The same of the datagrams to the server.
    float loss_up;
    // 1 if the realtime port does not answer and realtime messages travel inside the session.
    uint32_t on_fallback;
} NcConnection;

// How to open a social session. Set `size`, `server` and `token`, and everything that stays at its default
// to 0. The call copies what the pointers point to.
typedef struct NcEnter {
    // `sizeof(NcEnter)`.
    uint32_t size;
    // The first status: `NcStatus`.
    uint32_t status;
    // `host:port`, or `host` for port 5055.
    const char *server;
    // The join token. Its room has no effect here.
    const char *token;
    // The display name. NULL: the name in the token.
    const char *name;
    // Name and version of the application, for the server's operator.
    const char *agent;
    // As in `NcConnect`.
    const char *ca_pem;
    // As in `NcConnect`.
    uint32_t patience_ms;
    // Unused; 0.
    uint32_t reserved;
} NcEnter;

// A social session of a client. 0 is none.
typedef uint64_t NcSocial;

// A change of the shared state.
typedef struct NcChange {
    // `NcChangeKind`.
    uint32_t kind;
    // The peer that gets an object or becomes the host.
    uint32_t peer;
    // What is changed.
    struct NcEntity entity;
    // The field's key.
    const char *key;
    // The field's new value.
    struct NcValue value;
    // The version that the field must still have, for the kinds that compare. 0: it must not exist.
    uint64_t version;
    // How the new object is owned: `NcObjectMode`.
    uint32_t mode;
    // Unused; 0.
    uint32_t reserved;
} NcChange;

// An object of the shared state.
typedef struct NcObject {
    // The object's id.
    uint64_t id;
    // The owner; 0 if there is none.
    uint32_t owner;
    // `NcObjectMode`, plus `NC_OBJECT_MODE_WITH_ROOM`.
    uint32_t mode;
} NcObject;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library's ABI: compare it with `NC_ABI_VERSION`.
uint32_t nc_abi_version(void);

// Returns the version of the library, as a text that stays valid.
const char *nc_version(void);

// Copies the text of the last failure in this thread to `text`, with a zero byte at its end, and returns
// its length. What does not fit is cut off. The text is for a person, and may change.
//
// # Safety
// `text` must be NULL, or point to `capacity` bytes.
int32_t nc_last_error(char *text,
                      int32_t capacity);

// Starts a client, with a thread of its own, and writes its number to `client`. One is enough for a
// program.
//
// Errors: `NC_RESULT_ABI_MISMATCH`, `NC_RESULT_INVALID_ARGUMENT`, `NC_RESULT_SYSTEM`.
//
// # Safety
// `config` must point to an `NcConfig`, and `client` to memory for a number.
NcResult nc_client_new(const struct NcConfig *config, NcClient *client);

// Frees a client with all its rooms and social sessions, and leaves these. Returns at once; the goodbye
// goes out within 3 s, if the process lives on. To be sure that it does, call `nc_room_leave` before,
// and wait for `NC_EVENT_KIND_CLOSED`.
//
// May be called on any thread, also by a finalizer, also while other calls are under way: these end
// with an error. What `nc_poll` has returned must not be read any more.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, also if the client was freed before.
NcResult nc_client_free(NcClient client);

// Writes the next events to `events`, at most `capacity`, and returns their number; 0 if there are none
// now. Call it once a frame, and again while it returns `capacity`.
//
// What the events point to stays valid until the next call for this client, on whichever thread, or
// until the client is freed. So one thread polls a client. Who does not poll for long is put out by the
// server: after about 2 MiB of events the client reads no further ones, and what came meanwhile may be lost.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `events` must point to memory for `capacity` events.
int32_t nc_poll(NcClient client,
                struct NcEvent *events,
                int32_t capacity);

// Begins to join a room, and writes its number to `room`. `NC_EVENT_KIND_JOINED` or
// `NC_EVENT_KIND_JOIN_FAILED` follows, within a minute. Free the number in both cases.
//
// Errors: `NC_RESULT_INVALID_HANDLE`; `NC_RESULT_INVALID_ARGUMENT` if an argument is NULL, no text in UTF-8, or
// unknown; `NC_RESULT_WOULD_BLOCK` if the client has 64 rooms and social sessions. Texts that are too long, and
// servers that are no `host:port`, are reported by `NC_EVENT_KIND_JOIN_FAILED`.
//
// # Safety
// `connect` must point to an `NcConnect` whose pointers are NULL or point to what their fields say, and
// `room` to memory for a number.
NcResult nc_connect(NcClient client,
                    const struct NcConnect *connect_options,
                    NcRoom *room);

// Leaves a room: events that were sent before still arrive, and the others see the leave at once.
// `NC_EVENT_KIND_CLOSED` follows, after 2 s at the latest.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`.
NcResult nc_room_leave(NcRoom room);

// Frees a room, and leaves it. Its events that were not taken are lost; results of its requests
// (`NC_EVENT_KIND_DONE`) may still come. May be called on any thread, also while the room is being joined.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, also if the room was freed before.
NcResult nc_room_free(NcRoom room);

// Copies the ticket of the room's session to `ticket`, with a zero byte at its end, and returns its
// length; 0 if there is no ticket. Pass it as `NcConnect.ticket` in a later process to resume the
// session, with the events that were not taken. It is as secret as a password. Copy it anew after each
// event that must not come again, and at least every two minutes.
//
// If `capacity` is not above the length, nothing is written: call again with a larger buffer.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `ticket` must point to `capacity` bytes; it may be NULL if `capacity` is 0.
int32_t nc_room_ticket(NcRoom room,
                       char *ticket,
                       int32_t capacity);

// Hands in a fresh token of the same user, after `NC_EVENT_KIND_TOKEN_WANTED`. The event of `op` has the
// server's answer. `op` may be NULL.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
// `NC_RESULT_WOULD_BLOCK`.
//
// # Safety
// `token` must point to a text, and `op` to memory for a number or be NULL.
NcResult nc_room_renew(NcRoom room,
                       const char *token,
                       NcOp *op);

// Writes the poses of the others to `poses`, at most `capacity`, and returns how many there are: those to show
// in this frame, interpolated, evenly in time, and a little later than they arrive. Call it once a frame.
// Allocates nothing once everybody has sent.
//
// They are in no order. A peer may have several bodies: show only those with the channel and key that your
// application uses, usually 0. If the result is above `capacity`, use a larger array in the next frame.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `poses` must point to memory for `capacity` poses.
int32_t nc_room_poses(NcRoom room,
                      struct NcShownPose *poses,
                      int32_t capacity);

// Copies the bytes that travel with the newest pose of a peer to `rest`, and returns their number; 0 if there
// are none. `key` is 0, unless the peer has several bodies. If they do not fit, nothing is copied: 900 bytes are
// always enough. They belong to a pose that is a little newer than the shown one.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `rest` must point to `capacity` bytes.
int32_t nc_room_pose_rest(NcRoom room,
                          uint32_t peer,
                          uint16_t key,
                          uint8_t *rest,
                          int32_t capacity);

// Sends the pose of head and hands; the newest one wins. `to` may be NULL: to all others. `key` is 0,
// unless this client has several bodies. The `rest_len` bytes at `rest` travel with the pose, for example
// fingers and buttons: at most 867. The others read them with `nc_room_pose_rest`.
//
// Errors: `NC_RESULT_INVALID_ARGUMENT` if a number is NaN, infinite or out of range;
// `NC_RESULT_TOO_LARGE`, `NC_RESULT_UNKNOWN_PEER`, `NC_RESULT_CLOSED`, `NC_RESULT_NOT_JOINED`,
// `NC_RESULT_INVALID_HANDLE`.
//
// # Safety
// `to` must be NULL or point to a target, `pose` to a pose, and `rest` to `rest_len` bytes.
NcResult nc_room_send_pose(NcRoom room,
                           const struct NcTarget *to,
                           uint16_t key,
                           const struct NcPose *pose,
                           const uint8_t *rest,
                           uint32_t rest_len);

// Sends an Opus packet of 20 ms, at most 898 bytes. `level` is its loudness in -dBov: 0 is loudest, 127 is
// silence. `flags` are bits of `NcVoiceFlag`. Does nothing while this client has muted itself.
//
// Errors: as `nc_room_send_pose`.
//
// # Safety
// `to` must be NULL or point to a target, and `opus` to `opus_len` bytes.
NcResult nc_room_send_voice(NcRoom room,
                            const struct NcTarget *to,
                            uint8_t level,
                            uint32_t flags,
                            const uint8_t *opus,
                            uint32_t opus_len);

// Writes what to play for the next 20 ms of a speaker to `step` (`NcVoiceStep`), the Opus packet to
// `opus`, and returns the packet's length. Call it for each speaker every 20 ms, by the clock of the sound
// device; it may be called on the sound device's thread. 1,000 bytes are enough for every packet.
//
// From the first call on, voice of this room no longer comes as `NC_EVENT_KIND_VOICE`.
//
// Errors: `NC_RESULT_BUFFER_TOO_SMALL`: the packet is lost. `NC_RESULT_INVALID_HANDLE`,
// `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `opus` must point to `capacity` bytes, and `step` to memory for a number.
int32_t nc_room_voice(NcRoom room,
                      uint32_t peer,
                      uint8_t *opus,
                      int32_t capacity,
                      uint32_t *step);

// Mutes or unmutes this client. It stops sending voice at once; the event of `op` says that the server
// knows. `op` may be NULL.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_WOULD_BLOCK`.
//
// # Safety
// `op` must be NULL, or point to memory for a number.
NcResult nc_room_set_muted(NcRoom room,
                           uint32_t muted,
                           NcOp *op);

// Sends a pointer or cursor of at most 900 bytes. The newest one of each `channel` and `key` wins.
//
// Errors: as `nc_room_send_pose`.
//
// # Safety
// `to` must be NULL or point to a target, and `payload` to `len` bytes.
NcResult nc_room_send_pointer(NcRoom room,
                              const struct NcTarget *to,
                              uint8_t channel,
                              uint16_t key,
                              const uint8_t *payload,
                              uint32_t len);

// Sends an unreliable message of at most 900 bytes: it may be lost, and does not replace others.
//
// Errors: as `nc_room_send_pose`.
//
// # Safety
// As for `nc_room_send_pointer`.
NcResult nc_room_send_unreliable(NcRoom room,
                                 const struct NcTarget *to,
                                 uint8_t channel,
                                 uint16_t key,
                                 const uint8_t *payload,
                                 uint32_t len);

// Sends an unreliable message of at most 900 bytes that replaces earlier ones of its `channel` and `key`,
// for example an object's movement.
//
// Errors: as `nc_room_send_pose`.
//
// # Safety
// As for `nc_room_send_pointer`.
NcResult nc_room_send_newest(NcRoom room,
                             const struct NcTarget *to,
                             uint8_t channel,
                             uint16_t key,
                             const uint8_t *payload,
                             uint32_t len);

// Sends a reliable, ordered event of at most 16 KiB on a channel below 240. It arrives once, also over a
// lost session.
//
// Peers that are not in the room are left out, without an error.
//
// Errors: `NC_RESULT_WOULD_BLOCK` if too many events wait: try again in a later frame;
// `NC_RESULT_TOO_LARGE`, `NC_RESULT_CLOSED`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
// `NC_RESULT_INVALID_HANDLE`.
//
// # Safety
// As for `nc_room_send_pointer`.
NcResult nc_room_send_event(NcRoom room,
                            const struct NcTarget *to,
                            uint8_t channel,
                            const uint8_t *payload,
                            uint32_t len);

// Sends a reliable message of at most 64 KiB on the bulk lane, so that no event waits for it.
//
// Errors: as `nc_room_send_event`.
//
// # Safety
// As for `nc_room_send_pointer`.
NcResult nc_room_send_bulk(NcRoom room,
                           const struct NcTarget *to,
                           uint8_t channel,
                           const uint8_t *payload,
                           uint32_t len);

// Returns the peer id of this client; 0 while the room is not joined. It changes with
// `NC_EVENT_KIND_REJOINED`.
uint32_t nc_room_me(NcRoom room);

// Returns the server's time in us, which is the same for all peers of the room. It never goes backwards,
// and makes up for errors of its estimate without jumps. -1 while the room is not joined.
// `NC_EVENT_KIND_CLOCK_CHANGED` reports another clock.
int64_t nc_room_server_time_us(NcRoom room);

// Writes the ids of the other peers to `peers`, at most `capacity`, and returns how many there are.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `peers` must point to memory for `capacity` numbers; it may be NULL if `capacity` is 0.
int32_t nc_room_peers(NcRoom room, uint32_t *peers, int32_t capacity);

// Writes what is known of a peer to `info`.
//
// Errors: `NC_RESULT_NOT_FOUND` if the peer is not in the room; `NC_RESULT_INVALID_HANDLE`,
// `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `info` must point to memory for an `NcPeer`.
NcResult nc_room_peer(NcRoom room, uint32_t peer, struct NcPeer *info);

// Returns the host's peer id; 0 if there is none, or the room is not joined.
uint32_t nc_room_host(NcRoom room);

// Writes how good the room's connection is to `connection`.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `connection` must point to memory for an `NcConnection`.
NcResult nc_room_connection(NcRoom room, struct NcConnection *connection);

// Sends a reliable, ordered event with a type of 1 to 64 bytes, for example `door_opened`. It needs no
// channel, and arrives as `NC_EVENT_KIND_TYPED_EVENT`. `to` may be NULL: to all others. The payload may have
// 16,383 bytes less the length of the type.
//
// Errors: as `nc_room_send_event`.
//
// # Safety
// `to` must be NULL or point to a target, `event_type` to a text, and `payload` to `len` bytes.
NcResult nc_room_send_typed_event(NcRoom room,
                                  const struct NcTarget *to,
                                  const char *event_type,
                                  const uint8_t *payload,
                                  uint32_t len);

// Asks a peer: calls its `method`, a name of 1 to 64 bytes, with a payload of at most 16,374 bytes less the
// length of the method. The event of `op` has the
// answer in `payload`, or the reason why there is none, after `timeout_ms` (1 to 60,000) at the latest.
//
// The other peer gets `NC_EVENT_KIND_RPC_REQUEST`, at most once. With `NC_RESULT_TIMED_OUT` and
// `NC_RESULT_INTERRUPTED` it is unknown whether it has carried the call out.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
// `NC_RESULT_WOULD_BLOCK`. Limits of the method, the payload and the timeout are reported by the event of `op`.
//
// # Safety
// `method` must point to a text, `payload` to `len` bytes, and `op` to memory for a number or be NULL.
NcResult nc_room_rpc(NcRoom room,
                     uint32_t peer,
                     const char *method,
                     const uint8_t *payload,
                     uint32_t len,
                     uint32_t timeout_ms,
                     NcOp *op);

// Answers an `NC_EVENT_KIND_RPC_REQUEST`, named by its `id`. `code` 0: the payload is the answer. `code` 1:
// there is no such method. `code` 256 to 65,535: an error of the application, with a text as payload.
//
// Errors: `NC_RESULT_NOT_FOUND` if the peer no longer waits; otherwise as `nc_room_send_event`.
//
// # Safety
// `payload` must point to `len` bytes.
NcResult nc_room_answer(NcRoom room,
                        uint64_t id,
                        uint16_t code,
                        const uint8_t *payload,
                        uint32_t len);

// Begins to open a social session for the token's user, and writes its number to `social`.
// `NC_EVENT_KIND_ENTERED` or `NC_EVENT_KIND_ENTER_FAILED` follows. Free the number in both cases.
//
// Errors: as `nc_connect`.
//
// # Safety
// `enter_options` must point to an `NcEnter` whose pointers are NULL or point to texts, and `social` to
// memory for a number.
NcResult nc_enter(NcClient client,
                  const struct NcEnter *enter_options,
                  NcSocial *social);

// Frees a social session, and leaves it. May be called on any thread.
//
// Errors: `NC_RESULT_INVALID_HANDLE`.
NcResult nc_social_free(NcSocial social);

// Says whether this user can be called: an `NcStatus`.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
NcResult nc_social_set_status(NcSocial social, uint32_t new_);

// Watches the rooms of an application's `version` that fit the `count` filters; replaces the rooms that
// were watched before. `NC_EVENT_KIND_ROOM_LISTED` follows for each. `version` and `op` may be NULL.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
// `NC_RESULT_WOULD_BLOCK`.
//
// # Safety
// `version` must be NULL or point to a text, `filters` to `count` filters, and `op` to memory for a number
// or be NULL.
NcResult nc_social_watch_rooms(NcSocial social,
                               const char *version,
                               const struct NcFilter *filters,
                               uint32_t count,
                               NcOp *op);

// Watches the users with one of the `role_count` roles, and the `user_count` named ones; replaces the users
// that were watched before. `NC_EVENT_KIND_USER_CHANGED` follows for each. `op` may be NULL.
//
// Errors: as `nc_social_watch_rooms`.
//
// # Safety
// `roles` and `users` must point to so many texts, and `op` to memory for a number or be NULL.
NcResult nc_social_watch_users(NcSocial social,
                               const char *const *roles,
                               uint32_t role_count,
                               const char *const *users,
                               uint32_t user_count,
                               NcOp *op);

// Calls the `count` users at `users`, 1 to 16, on all of their devices. `text`, at most 256 bytes, is shown
// to them; it may be NULL. The event of `op` has the call in `id`.
//
// Errors: as `nc_social_watch_rooms`.
//
// # Safety
// `users` must point to `count` texts, `text` to a text or be NULL, and `op` to memory for a number or be
// NULL.
NcResult nc_social_call(NcSocial social,
                        const char *const *users,
                        uint32_t count,
                        const char *text,
                        NcOp *op);

// Acts on a call: `act` is an `NcCallAct`. The device that acts gets the event of `op`, and no other event
// about its own act. `user` is NULL, except for `NC_CALL_ACT_ADD`. `op` may be NULL.
//
// Errors: as `nc_social_watch_rooms`.
//
// # Safety
// `user` must be NULL or point to a text, and `op` to memory for a number or be NULL.
NcResult nc_social_call_act(NcSocial social,
                            uint64_t call,
                            uint32_t act,
                            const char *user,
                            NcOp *op);

// Requests the `count` changes at `changes`, which the server applies all together or not at all. The
// event of `op` has the version of the state that contains them (`sequence`), or the reason of a refusal.
// `op` may be NULL.
//
// The role and the grants in the token say what a client may change: everybody its own fields and objects,
// some also the room's fields. The events of the changes come before that of `op`. Unlike an event, a request is not repeated after a
// lost session.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_WOULD_BLOCK`;
// `NC_RESULT_INVALID_ARGUMENT` if a change is over a limit, for example a NaN, or if there is none.
//
// # Safety
// `changes` must point to `count` changes with their keys and values, and `op` to memory for a number or
// be NULL.
NcResult nc_room_change(NcRoom room,
                        const struct NcChange *changes,
                        uint32_t count,
                        NcOp *op);

// Writes a field to `field`, its text or bytes to `buffer`, and its version to `version`. The state may be
// newer than the events that were taken. `version` may be NULL.
//
// Errors: `NC_RESULT_NOT_FOUND` if there is no such field; `NC_RESULT_BUFFER_TOO_SMALL` if the bytes do
// not fit (`field.bytes.len` says how many there are; 4,096 are always enough);
// `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `key` must point to a text, `field` to memory for a value, `buffer` to `capacity` bytes, and `version`
// to memory for a number or be NULL. `field` points into `buffer` afterwards.
NcResult nc_room_field(NcRoom room,
                       struct NcEntity of,
                       const char *key,
                       struct NcValue *field,
                       uint8_t *buffer,
                       int32_t capacity,
                       uint64_t *version);

// Writes the objects of the room to `objects`, at most `capacity`, and returns how many there are; at most
// 4,096.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `objects` must point to memory for `capacity` objects; it may be NULL if `capacity` is 0.
int32_t nc_room_objects(NcRoom room,
                        struct NcObject *objects,
                        int32_t capacity);

// Returns an id for an object that this client will create; 0 while the room is not joined. Do not use an
// id from before an `NC_EVENT_KIND_REJOINED`.
uint64_t nc_room_new_object_id(NcRoom room);

// Writes the version of the shared state to `version`, and its SHA-256 digest to the 32 bytes at
// `digest`. All clients at the same version have the same digest. Both may be NULL.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`.
//
// # Safety
// `version` must be NULL or point to memory for a number, and `digest` be NULL or point to 32 bytes.
NcResult nc_room_state(NcRoom room,
                       uint64_t *version,
                       uint8_t *digest);

// Subscribes to the `count` groups at `groups`, and unsubscribes from all others. `op` may be NULL.
//
// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
// `NC_RESULT_WOULD_BLOCK`.
//
// # Safety
// `groups` must point to `count` numbers, and `op` to memory for a number or be NULL.
NcResult nc_room_subscribe(NcRoom room, const uint32_t *groups, uint32_t count, NcOp *op);

// Acts as a moderator: `act` is an `NcAct`. `peer` is the peer that the act is on, and `seconds` how long a
// kicked user is banned; otherwise both are 0. `op` may be NULL.
//
// Errors: as `nc_room_subscribe`. Without the right to moderate, the event of `op` has
// `NC_RESULT_REFUSED`.
//
// # Safety
// `op` must be NULL, or point to memory for a number.
NcResult nc_room_moderate(NcRoom room,
                          uint32_t act,
                          uint32_t peer,
                          uint32_t seconds,
                          NcOp *op);

// Speaks: encodes 20 ms of sound, and sends them if they are not silent. `samples` are 960 numbers from -1
// to 1, one channel at 48 kHz. `to` may be NULL: to all others. May be called on the microphone's thread.
//
// Errors: `NC_RESULT_NOT_OFFERED` in a library without Opus; `NC_RESULT_INVALID_ARGUMENT` if `count` is not
// 960; otherwise as `nc_room_send_voice`.
//
// # Safety
// `to` must be NULL or point to a target, and `samples` to `count` numbers.
NcResult nc_room_speak(NcRoom room,
                       const struct NcTarget *to,
                       const float *samples,
                       uint32_t count);

// Plays the next 20 ms of a speaker: writes 960 samples to `samples`, and how they were found to `step`
// (`NcVoiceStep`). They are 0 while the speaker is silent. Returns 960. Call it for each speaker every
// 20 ms, by the clock of the sound device; it may be called on the sound device's thread. `step` may be NULL.
//
// Errors: `NC_RESULT_NOT_OFFERED` in a library without Opus; `NC_RESULT_BUFFER_TOO_SMALL` if `capacity` is
// below 960; `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
//
// # Safety
// `samples` must point to memory for `capacity` numbers, and `step` to memory for a number or be NULL.
int32_t nc_room_play(NcRoom room,
                     uint32_t peer,
                     float *samples,
                     int32_t capacity,
                     uint32_t *step);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NUCLEUS_H */
