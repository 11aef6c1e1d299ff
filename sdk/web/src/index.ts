/** The public API of the Nucleus client for browsers. */

export { connect, type ConnectOptions, type ServerOptions } from "./connect.js";
export { enter, type EnterOptions, Social } from "./social.js";
export { Room, type RoomStats } from "./room.js";
export type { MessageOptions } from "./room-messages.js";
export type { Clock } from "./clock.js";
export type { TokenProvider } from "./provider.js";
export type {
  Carrier,
  Connection,
  ConnectionEnd,
  ControlStream,
  ReceiveStream,
  SendStream,
} from "./carrier/carrier.js";
export { DialError, StreamError } from "./carrier/carrier.js";
export { WebTransportCarrier } from "./carrier/webtransport.js";
export { type ErrorDetails, type LocalErrorCode, NucleusError } from "./session/error.js";
export type { To } from "./session/to.js";
export type { RoomEvent, VoicePacket } from "./room/event.js";
export type { Audit } from "./room/moderation.js";
export type { Peer, PeerId } from "./room/roster.js";
export type { RoomFilter, RoomOptions, SelectionOptions } from "./room/selection.js";
export type { RpcFault } from "./rpc/error.js";
export { Batch } from "./state/batch.js";
export type { StateChange } from "./state/change.js";
export {
  type EntityId,
  makerOf,
  objectId,
  type ObjectId,
  type ObjectMode,
  type Ownership,
  sceneObject,
} from "./state/entity.js";
export type { Field, StateObject } from "./state/replica.js";
export type { Value } from "./state/value.js";
export { StateViews, type ViewChange, type WatchCallback } from "./state/views.js";
export type { CallId, ListedRoom, SocialEvent, Status, User } from "./social/index.js";
export type { ShownPose } from "./playback/interpolation.js";
export type { Certainty } from "./playback/track.js";
export type { VoiceStep } from "./playback/voice.js";
export type { PeerPose, RealtimeCounters } from "./realtime/message.js";
export type { ConnectionFigures, ConnectionQuality } from "./realtime/quality.js";
export { CODES, type CodeName } from "./wire/code.js";
export type { ActName, ThrottledName } from "./wire/messaging.js";
export type { Pose, Transform } from "./wire/pose.js";
export type { JoinMode } from "./wire/rooms.js";
