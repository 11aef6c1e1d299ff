//! The requests of the devices to each other. Each ends exactly once, with the right answer or an
//! error that its end explains, and is carried out at most once.

use std::collections::BTreeSet;
use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::RoomClient;
use nucleus_client_core::roster::PeerId;
use nucleus_client_core::rpc::{
    AnswerError, RpcCall, RpcError, RpcFault, RpcId, RpcNumber, RpcResult,
};
use nucleus_client_core::session::SendError;
use nucleus_protocol::time::Time;

use crate::network::Network;
use crate::sightings::Sightings;

/// The methods: one is answered, one fails, one does not exist.
const METHODS: [&str; 3] = ["echo", "fail", "dance"];

/// The requests of all devices.
#[derive(Default)]
pub(crate) struct RpcRecords {
    /// Number of requests so far.
    made: u64,
    /// The requests that applications have taken.
    taken: BTreeSet<u64>,
}

/// A request whose result an application wants.
struct AskedRpc {
    number: RpcNumber,
    serial: u64,
    method: &'static str,
    /// Whether nothing can go wrong.
    must_succeed: bool,
}

/// A request that an application has taken and not answered.
struct TakenRpc {
    id: RpcId,
    serial: u64,
    method: String,
}

/// The requests of one application.
#[derive(Default)]
pub(crate) struct ApplicationRpcs {
    asked: Vec<AskedRpc>,
    unanswered: Vec<TakenRpc>,
}

fn answer_to(serial: u64) -> [u8; 8] {
    (!serial).to_le_bytes()
}

impl ApplicationRpcs {
    /// Asks a peer at random, sometimes so often that the peer is busy.
    pub(crate) fn ask_somebody(
        &mut self,
        network: &mut Network,
        client: &mut RoomClient,
        records: &mut RpcRecords,
    ) {
        let others: Vec<PeerId> = others(client).collect();
        let Some(to) = others.get(network.rng.usize(..others.len().max(1))) else { return };
        let count = if network.chance(10) { network.rng.usize(30..70) } else { 1 };
        for _ in 0..count {
            let method = METHODS[network.rng.usize(..METHODS.len())];
            let timeout = Duration::from_millis(network.rng.u64(1..20_000));
            if let Err(error) = self.ask(network.now, client, records, (*to, method, timeout)) {
                let is_expected = matches!(
                    error,
                    RpcError::TooMany | RpcError::Closed | RpcError::Send(SendError::WouldBlock)
                );
                assert!(is_expected, "{error}");
                return;
            }
        }
    }

    fn ask(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        records: &mut RpcRecords,
        (to, method, timeout): (PeerId, &'static str, Duration),
    ) -> Result<(), RpcError> {
        let serial = records.made;
        let call = RpcCall { to, method, payload: &serial.to_le_bytes(), timeout };
        let number = client.rpc(now, &call)?;
        records.made += 1;
        self.asked.push(AskedRpc { number, serial, method, must_succeed: false });
        Ok(())
    }

    /// Asks all others, while nothing goes wrong.
    pub(crate) fn ask_everybody(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        records: &mut RpcRecords,
    ) {
        for to in others(client).collect::<Vec<_>>() {
            let asked = self.ask(now, client, records, (to, "echo", Duration::from_secs(20)));
            assert_eq!(asked, Ok(()));
        }
        self.asked.iter_mut().for_each(|asked| asked.must_succeed = true);
    }

    /// Takes the request of a peer.
    pub(crate) fn take(&mut self, event: RoomEvent, records: &mut RpcRecords) {
        let RoomEvent::RpcRequest { id, method, payload, timeout, .. } = event else { return };
        assert!(!timeout.is_zero(), "nobody waits");
        let serial = u64::from_le_bytes(payload.try_into().unwrap());
        assert!(records.taken.insert(serial), "request {serial} comes twice");
        self.unanswered.push(TakenRpc { id, serial, method });
    }

    /// Answers the requests that wait, or leaves them for later.
    pub(crate) fn answer(
        &mut self,
        network: &mut Network,
        client: &mut RoomClient,
        sightings: &mut Sightings,
    ) {
        self.unanswered.retain(|TakenRpc { id, serial, method }| {
            if !network.is_healed && network.chance(30) {
                return true;
            }
            let (right, fault) = (answer_to(*serial), RpcFault::new(300, "on purpose"));
            let unknown = RpcFault::no_such_method();
            let answer = match method.as_str() {
                "echo" => Ok(&right[..]),
                "fail" => Err(&fault),
                _ => Err(&unknown),
            };
            match client.answer_rpc(network.now, *id, answer) {
                Ok(()) => {
                    let again = client.answer_rpc(network.now, *id, answer);
                    assert_eq!(again, Err(AnswerError::NotWaiting));
                    false
                }
                Err(AnswerError::NotWaiting) => {
                    sightings.note("rpc: answered too late");
                    false
                }
                Err(AnswerError::Send(SendError::WouldBlock)) => true,
                Err(error) => {
                    assert_eq!(error, AnswerError::Send(SendError::Closed));
                    false
                }
            }
        });
    }

    /// Takes the results. Some applications lose their interest before.
    pub(crate) fn take_results(
        &mut self,
        client: &mut RoomClient,
        records: &RpcRecords,
        sightings: &mut Sightings,
    ) {
        self.asked.retain(|asked| {
            let Some(result) = client.take_rpc_result(asked.number) else { return true };
            assert_eq!(client.take_rpc_result(asked.number), None, "a second result");
            assert!(result.is_ok() || !asked.must_succeed, "{result:?}");
            sightings.note(format!("rpc: {}", checked(asked, &result, records)));
            false
        });
    }

    /// Forgets a request without a result.
    pub(crate) fn forget_one(&mut self, network: &mut Network, client: &mut RoomClient) {
        if !self.asked.is_empty() && network.chance(10) {
            let asked = self.asked.swap_remove(network.rng.usize(..self.asked.len()));
            client.forget_rpc(asked.number);
            assert_eq!(client.take_rpc_result(asked.number), None);
        }
    }

    /// Checks that every request has its result.
    pub(crate) fn check_results(&self) {
        let serials: Vec<u64> = self.asked.iter().map(|asked| asked.serial).collect();
        assert_eq!(serials, Vec::<u64>::new(), "these requests to peers have no result");
    }
}

/// Checks a result, and returns a name for it.
fn checked(asked: &AskedRpc, result: &RpcResult, records: &RpcRecords) -> String {
    let AskedRpc { serial, method, .. } = asked;
    let is_carried_out = records.taken.contains(serial);
    match result {
        Ok(answer) => {
            assert!(*method == "echo" && is_carried_out);
            assert_eq!(answer[..], answer_to(*serial), "the answer to another request");
            "answered".to_owned()
        }
        Err(RpcError::Fault(fault)) => {
            assert!(*method == "fail" && is_carried_out);
            assert_eq!(*fault, RpcFault::new(300, "on purpose"));
            "fault".to_owned()
        }
        Err(RpcError::NoSuchMethod) => {
            assert!(*method == "dance" && is_carried_out);
            "no such method".to_owned()
        }
        Err(RpcError::Busy) => {
            assert!(!is_carried_out, "a busy peer carries nothing out");
            "busy".to_owned()
        }
        Err(
            error @ (RpcError::TimedOut
            | RpcError::PeerLeft
            | RpcError::Interrupted
            | RpcError::Closed),
        ) => format!("{error:?}"),
        Err(error) => panic!("{error}"),
    }
}

fn others(client: &RoomClient) -> impl Iterator<Item = PeerId> {
    let me = client.me();
    client.roster().iter().map(|peer| peer.id).filter(move |peer| *peer != me)
}
