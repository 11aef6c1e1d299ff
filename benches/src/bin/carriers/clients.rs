//! The clients of a measurement. Each sends a pose [`HZ`] times a second, and reads what comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use nucleus_client::session::Trust;
use nucleus_client::{Capabilities, ConnectOptions, Room, RoomEvent, connect};
use nucleus_loadgen::embedded::Embedded;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Product, TokenRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::CarrierKind;
use crate::load::{HZ, JoinError, frames, pose};
use crate::web::WebClient;

/// Clients in a room.
pub(crate) const ROOM_SIZE: u32 = 10;

/// Clients in their rooms.
pub(crate) struct Clients {
    /// Tells the clients to leave.
    stop: watch::Sender<bool>,
    /// Clients that have lost their session.
    gone: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Joins `count` clients, in rooms of [`ROOM_SIZE`].
    ///
    /// # Errors
    ///
    /// A client could not join.
    pub(crate) async fn join(
        server: &Embedded,
        carrier: CarrierKind,
        count: u32,
    ) -> Result<Self, JoinError> {
        let dir = DataDir::open(server.data_dir()).map_err(JoinError::of)?;
        let minter = dir.minter();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (stop, stopped) = watch::channel(false);
        // Rooms of their own: participants of an earlier measurement may be there for a while.
        let measurement = format!("{now} {}", carrier.name());
        let mut clients = Self { stop, gone: Arc::default(), tasks: JoinSet::new() };
        for number in 0..count {
            let request = TokenRequest::new(Product::ATOM, "carriers", format!("c{number}"));
            let token = minter.mint(request, now).map_err(JoinError::of)?;
            let room = format!("{measurement} {}", number / ROOM_SIZE);
            let (stopped, gone) = (stopped.clone(), clients.gone.clone());
            if carrier == CarrierKind::Web {
                let pem = dir.certificates().in_service().cert_pem();
                let client = WebClient::join(server.session, pem, &token, &room).await?;
                clients.tasks.spawn(client.run(number, stopped, gone));
            } else {
                let realtime_port = carrier == CarrierKind::Realtime;
                let capabilities = Capabilities { realtime_port, ..Capabilities::default() };
                let pins = Trust::Pins(nucleus_client::token::pins_in(&token));
                let options = ConnectOptions::new(server.session.to_string(), token)
                    .room(room)
                    .trust(pins)
                    .capabilities(capabilities);
                let room = connect(options).await.map_err(JoinError::of)?;
                clients.tasks.spawn(run(room, number, stopped, gone));
            }
        }
        Ok(clients)
    }

    /// Returns how many clients have lost their session.
    pub(crate) fn gone(&self) -> usize {
        self.gone.load(Relaxed)
    }

    /// Leaves the rooms.
    pub(crate) async fn leave(mut self) {
        // Fails only if no client is left.
        let _told = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs a program's client until it is told to leave.
async fn run(room: Room, number: u32, mut stopped: watch::Receiver<bool>, gone: Arc<AtomicUsize>) {
    let (mut frames, mut frame) = (frames(), 0.0);
    loop {
        tokio::select! {
            _ = frames.tick() => {
                frame += 1.0;
                // A lost session is counted below.
                let _sent = room.send_pose(&pose(number, frame / HZ as f32));
                room.for_each_pose(|_| {});
                let ended = |event: &RoomEvent| {
                    matches!(event, RoomEvent::Interrupted { .. } | RoomEvent::Closed { .. })
                };
                if room.poll().any(|event| ended(&event)) {
                    gone.fetch_add(1, Relaxed);
                    return;
                }
            }
            _ = stopped.changed() => return room.leave().await,
        }
    }
}
