//! What is known of a room: its peers, its time, its connection.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use nucleus_client::{PeerId, PeerInfo};

use crate::client::ROOMS;
use crate::convert::{micros, peer_flags, quality};
use crate::failure::{Failure, counted, entry};
use crate::input;
use crate::types::{NcResult, NcRoom};
use crate::types_room::{NcConnection, NcPeer};

/// Returns the peer id of this client; 0 while the room is not joined. It changes with
/// `NC_EVENT_KIND_REJOINED`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_me(room: NcRoom) -> u32 {
    let me = counted(|| Ok(ROOMS.get(room)?.joined()?.me().0 as usize));
    u32::try_from(me).unwrap_or(0)
}

/// Returns the server's time in us, which is the same for all peers of the room. It never goes backwards,
/// and makes up for errors of its estimate without jumps. -1 while the room is not joined.
/// `NC_EVENT_KIND_CLOCK_CHANGED` reports another clock.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_server_time_us(room: NcRoom) -> i64 {
    let mut time = -1;
    entry(|| {
        time = micros(ROOMS.get(room)?.joined()?.server_time());
        Ok(())
    });
    time
}

/// Writes the ids of the other peers to `peers`, at most `capacity`, and returns how many there are.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `peers` must point to memory for `capacity` numbers; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_peers(room: NcRoom, peers: *mut u32, capacity: i32) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let to = unsafe { input::output(peers, capacity, "peers") }?;
        let room = ROOMS.get(room)?;
        let peers = room.joined()?.peers();
        to.iter_mut().zip(&peers).for_each(|(to, peer)| _ = to.write(peer.id.0));
        Ok(peers.len())
    })
}

/// Writes what is known of a peer to `info`.
///
/// Errors: `NC_RESULT_NOT_FOUND` if the peer is not in the room; `NC_RESULT_INVALID_HANDLE`,
/// `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `info` must point to memory for an `NcPeer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_peer(room: NcRoom, peer: u32, info: *mut NcPeer) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        let found = room.joined()?.peer(PeerId(peer));
        let missing =
            || Failure::new(NcResult::NotFound, format!("peer {peer} is not in the room"));
        let found = found.ok_or_else(missing)?;
        let PeerInfo { ref user, ref name, ref role, .. } = found;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            let (user, name, role) = (text(user), text(name), text(role));
            input::write(info, NcPeer { peer, flags: peer_flags(&found), user, name, role }, "info")
        }
    })
}

fn text(from: &str) -> [c_char; 132] {
    let mut to = [MaybeUninit::new(0); 132];
    input::copy_text(from, &mut to);
    // SAFETY: every element was written above.
    to.map(|c| unsafe { c.assume_init() })
}

/// Returns the host's peer id; 0 if there is none, or the room is not joined.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_host(room: NcRoom) -> u32 {
    let host = counted(|| Ok(ROOMS.get(room)?.joined()?.host().map_or(0, |host| host.0 as usize)));
    u32::try_from(host).unwrap_or(0)
}

/// Writes how good the room's connection is to `connection`.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `connection` must point to memory for an `NcConnection`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_connection(
    room: NcRoom,
    connection: *mut NcConnection,
) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        let room = room.joined()?;
        let figures = room.connection();
        let round_trip =
            figures.round_trip.map_or(-1, |rtt| i32::try_from(rtt.as_micros()).unwrap_or(i32::MAX));
        let known = NcConnection {
            quality: quality(figures.quality),
            round_trip_us: round_trip,
            loss_down: figures.loss_down.unwrap_or(-1.0),
            loss_up: figures.loss_up.unwrap_or(-1.0),
            on_fallback: room.stats().on_fallback.into(),
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { input::write(connection, known, "connection") }
    })
}
