//! The datagrams of a client on the fallback, whose realtime plane travels inside its session.

use std::sync::atomic::Ordering;

use nucleus_core::limits;
use nucleus_protocol::session::Code;
use tokio::time::timeout;

use super::carrier::Connection;
use super::joined::JoinedSession;
use super::lanes::until_connection_ends;
use crate::queue::QueueReceiver;
use crate::shard::QueuedDatagram;

/// Hands the realtime datagrams of a client on the fallback to the room's shard, within the peer's
/// rate.
pub(super) async fn read_datagrams(session: JoinedSession<'_>) -> Code {
    let JoinedSession { id, connection, room, budgets, context } = session;
    while let Ok(datagram) = connection.read_datagram().await {
        match budgets.with(|now, budgets| budgets.datagrams.try_take(now)) {
            true => room.datagram(id, datagram),
            false => drop(context.counters.datagrams_over_rate.fetch_add(1, Ordering::Relaxed)),
        }
    }
    until_connection_ends().await
}

/// Sends the shard's datagrams to a client on the fallback, as QUIC datagrams.
///
/// Drops a datagram that has waited longer than [`limits::SESSION_DATAGRAM_AGE`], so that a path
/// that was slow or dark for a while does not deliver a backlog. QUIC itself buffers only a few.
pub(super) async fn write_datagrams(
    connection: &Connection,
    mut queue: QueueReceiver<QueuedDatagram>,
) -> Code {
    while let Some(QueuedDatagram { queued, bytes }) = queue.pop().await {
        let left = limits::SESSION_DATAGRAM_AGE.saturating_sub(queued.elapsed());
        if left.is_zero() {
            continue;
        }
        // A datagram that becomes too old while it waits for QUIC is dropped, as any datagram may
        // be lost.
        let _in_time = Box::pin(timeout(left, connection.send_datagram(bytes))).await;
    }
    until_connection_ends().await
}
