//! Writes events into the tables of the history. Each statement may be repeated: events that were
//! written before change nothing.

use std::time::Duration;

use nucleus_core::ids::ProductKey;
use nucleus_core::plane_event::{
    CallRef, CallTotals, LinkTotals, PlaneEvent, RoomRef, RoomTotals, RoomVisitor, Visit,
};

use super::stored_moments::StoredMoments;
use crate::database::{DatabaseError, DatabaseTransaction, Value};
use crate::events::RecordedEvent;
use crate::room_id::{PeerAddress, RoomAddress};
use crate::timestamp::Timestamp;

/// Writes a batch of events. What else belongs to a recorded event, such as deliveries to webhooks,
/// is written here too, in the same transaction, and must bear repetition as well.
///
/// # Errors
///
/// The database cannot be reached, or refuses a row.
pub(super) async fn write(
    transaction: &mut DatabaseTransaction,
    events: &[RecordedEvent],
) -> Result<(), DatabaseError> {
    for event in events {
        write_event(transaction, event).await?;
    }
    Ok(())
}

async fn write_event(
    transaction: &mut DatabaseTransaction,
    event: &RecordedEvent,
) -> Result<(), DatabaseError> {
    let RecordedEvent { id, at, what } = event;
    match what {
        PlaneEvent::RoomStarted(room) => write_room(transaction, id, *at, room, None).await,
        PlaneEvent::RoomEnded(room, totals) => {
            write_room(transaction, id, *at, room, Some(totals)).await
        }
        PlaneEvent::PeerJoined(room, visitor) => {
            write_session(transaction, id, *at, (room, visitor), None).await
        }
        PlaneEvent::PeerLeft(room, visitor, visit) => {
            write_session(transaction, id, *at, (room, visitor), Some(visit)).await
        }
        PlaneEvent::CallStarted(call) => write_call(transaction, id, *at, call, None).await,
        PlaneEvent::CallEnded(call, totals) => {
            write_call(transaction, id, *at, call, Some(totals)).await
        }
    }
}

async fn write_room(
    transaction: &mut DatabaseTransaction,
    id: &str,
    at: Timestamp,
    room: &RoomRef,
    totals: Option<&RoomTotals>,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO room_history \
               (id, room, tenant, tenant_name, product, name, started_at, ended_at, joins, most_peers) \
               VALUES ($1, $2, (SELECT id FROM tenant WHERE name = $3), $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (room) DO UPDATE SET \
               ended_at = COALESCE(excluded.ended_at, room_history.ended_at), \
               joins = COALESCE(excluded.joins, room_history.joins), \
               most_peers = COALESCE(excluded.most_peers, room_history.most_peers)";
    let ProductKey { tenant, product } = &room.key.owner;
    let begun = totals.map_or(at, |totals| before(at, totals.lasted));
    let values = vec![
        id.into(),
        RoomAddress(room.instance).to_string().into(),
        tenant.as_str().into(),
        product.name().into(),
        room.key.name.as_str().into(),
        begun.micros().into(),
        totals.map(|_| at.micros()).into(),
        totals.map(|totals| number(totals.joins)).into(),
        totals.map(|totals| i64::from(totals.most_peers)).into(),
    ];
    transaction.run(sql, values).await?;
    Ok(())
}

async fn write_session(
    transaction: &mut DatabaseTransaction,
    id: &str,
    at: Timestamp,
    (room, visitor): (&RoomRef, &RoomVisitor),
    visit: Option<&Visit>,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO session_history \
               (id, peer, room, tenant, tenant_name, product, room_name, user_id, name, role, \
               joined_at, left_at, code, resumes, fallback_ms, rtt_p50_us, rtt_p95_us, loss_ppm, \
               withheld, bytes_in, bytes_out, moments) \
               VALUES ($1, $2, $3, (SELECT id FROM tenant WHERE name = $4), $4, $5, $6, $7, $8, $9, \
               $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
               ON CONFLICT (peer) DO UPDATE SET \
               left_at = COALESCE(excluded.left_at, session_history.left_at), \
               code = COALESCE(excluded.code, session_history.code), \
               resumes = COALESCE(excluded.resumes, session_history.resumes), \
               fallback_ms = COALESCE(excluded.fallback_ms, session_history.fallback_ms), \
               rtt_p50_us = COALESCE(excluded.rtt_p50_us, session_history.rtt_p50_us), \
               rtt_p95_us = COALESCE(excluded.rtt_p95_us, session_history.rtt_p95_us), \
               loss_ppm = COALESCE(excluded.loss_ppm, session_history.loss_ppm), \
               withheld = COALESCE(excluded.withheld, session_history.withheld), \
               bytes_in = COALESCE(excluded.bytes_in, session_history.bytes_in), \
               bytes_out = COALESCE(excluded.bytes_out, session_history.bytes_out), \
               moments = COALESCE(excluded.moments, session_history.moments)";
    let ProductKey { tenant, product } = &room.key.owner;
    let address = RoomAddress(room.instance);
    let joined = visit.map_or(at, |visit| before(at, visit.lasted));
    let mut values: Vec<Value> = vec![
        id.into(),
        PeerAddress { room: address, peer: visitor.peer }.to_string().into(),
        address.to_string().into(),
        tenant.as_str().into(),
        product.name().into(),
        room.key.name.as_str().into(),
        visitor.user.as_str().into(),
        visitor.name.as_str().into(),
        visitor.role.as_str().into(),
        joined.micros().into(),
        visit.map(|_| at.micros()).into(),
        visit.map(|visit| visit.code.name().to_owned()).into(),
        visit.map(|visit| visit.resumes).into(),
    ];
    values.extend(link_values(visit.and_then(|visit| visit.links.as_ref())));
    // This type can always be written.
    let moments = visit.map(|visit| &visit.moments).filter(|log| !log.moments().is_empty());
    let moments = moments.map(|log| serde_json::to_string(&StoredMoments::from(log)));
    values.push(moments.and_then(Result::ok).into());
    transaction.run(sql, values).await?;
    Ok(())
}

/// Returns the values of the columns from `fallback_ms` on.
fn link_values(links: Option<&LinkTotals>) -> [Value; 7] {
    let micros = |time: Duration| number(time.as_micros().try_into().unwrap_or(u64::MAX));
    [
        links.map(|l| number(l.on_fallback.as_millis().try_into().unwrap_or(u64::MAX))).into(),
        links.and_then(|links| links.rtt_p50).map(micros).into(),
        links.and_then(|links| links.rtt_p95).map(micros).into(),
        links.and_then(|links| links.loss_ppm).into(),
        links.map(|links| number(links.withheld)).into(),
        links.map(|links| number(links.bytes_in)).into(),
        links.map(|links| number(links.bytes_out)).into(),
    ]
}

async fn write_call(
    transaction: &mut DatabaseTransaction,
    id: &str,
    at: Timestamp,
    call: &CallRef,
    totals: Option<&CallTotals>,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO call_history \
               (id, call, tenant, tenant_name, product, caller, started_at, ended_at, talked_ms, \
               members, missed) \
               VALUES ($1, $2, (SELECT id FROM tenant WHERE name = $3), $3, $4, $5, $6, $7, $8, $9, $10) \
               ON CONFLICT (call) DO UPDATE SET ended_at = excluded.ended_at, \
               talked_ms = excluded.talked_ms, members = excluded.members, missed = excluded.missed \
               WHERE excluded.ended_at IS NOT NULL";
    let name = format!("{:016x}", call.call);
    let ProductKey { tenant, product } = call.owner.as_ref();
    let begun = totals.map_or(at, |totals| before(at, totals.lasted));
    let talked = totals.and_then(|totals| totals.talked).map(|time| time.as_millis());
    let caller = [call.caller.clone()];
    let members = totals.map_or(&caller[..], |totals| &totals.members);
    let missed = totals.map_or(&[][..], |totals| &totals.missed);
    let values = vec![
        id.into(),
        name.as_str().into(),
        tenant.as_str().into(),
        product.name().into(),
        call.caller.as_str().into(),
        begun.micros().into(),
        totals.map(|_| at.micros()).into(),
        talked.map(|millis| number(millis.try_into().unwrap_or(u64::MAX))).into(),
        serde_json::Value::from(members).to_string().into(),
        serde_json::Value::from(missed).to_string().into(),
    ];
    transaction.run(sql, values).await?;
    let sql = "INSERT INTO call_party (call, tenant_name, user_id) VALUES ($1, $2, $3) \
               ON CONFLICT (call, user_id) DO NOTHING";
    for user in members.iter().chain(missed) {
        let values = vec![name.as_str().into(), tenant.as_str().into(), user.as_str().into()];
        transaction.run(sql, values).await?;
    }
    Ok(())
}

fn before(at: Timestamp, time: Duration) -> Timestamp {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_sub(micros))
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
