//! A browser's client: WebTransport, and the protocol's bytes on it. It does as little as it can, so
//! that the generator has time for many.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nucleus_protocol::limits::LINK_ID;
use nucleus_protocol::realtime::control::{KeepAlive, Plane, PlaneChoice};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{self, Join, Joined, Schema};
use nucleus_webclient::{
    Browser, DATAGRAM, PATH, WebControlStream, WebSession, client_config, opening,
};
use quinn::Endpoint;
use tokio::sync::watch;

use crate::load::{HZ, JoinError, frames, pose};

/// Frames between two keep-alives, which also choose the plane.
const KEEP_ALIVE_FRAMES: u32 = 60;

/// A client in a room.
pub(crate) struct WebClient {
    session: WebSession,
    link_id: [u8; LINK_ID],
    /// The session's control stream, which must stay open.
    _control: WebControlStream,
}

impl WebClient {
    /// Joins a room of a server that has the certificate `pem`.
    ///
    /// # Errors
    ///
    /// The server does not admit the client.
    pub(crate) async fn join(
        server: SocketAddr,
        pem: &str,
        token: &str,
        room: &str,
    ) -> Result<Self, JoinError> {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).map_err(JoinError::of)?;
        let config = client_config(pem).map_err(JoinError::of)?;
        let connecting = endpoint.connect_with(config, server, "localhost");
        let connection = connecting.map_err(JoinError::of)?.await.map_err(JoinError::of)?;
        let browser = Browser::new(connection).await.map_err(JoinError::of)?;
        // Without an origin: as a program.
        let session = browser.open(PATH, &[]).await.map_err(JoinError::of)?;
        let join = Join {
            token: token.as_bytes().to_vec(),
            room: room.as_bytes().to_vec(),
            largest_body: 1_150,
            ..Join::default()
        };
        let opened = session.control(&opening(&join, Vec::new())).await;
        let (control, [_, (schema, body)]) = opened.map_err(JoinError::of)?;
        let Some(joined) = (schema == Schema::Joined).then(|| session::owned::<Joined>(&body))
        else {
            return Err(JoinError::of(format!("refused with {schema:?}")));
        };
        let link_id = joined.map_err(JoinError::of)?.link_id.to_le_bytes();
        Ok(Self { session, link_id, _control: control })
    }

    /// Runs the client until it is told to leave.
    pub(crate) async fn run(
        self,
        number: u32,
        mut stopped: watch::Receiver<bool>,
        gone: Arc<AtomicUsize>,
    ) {
        let (mut frames, mut frame) = (frames(), 0u32);
        loop {
            tokio::select! {
                _ = frames.tick() => {
                    // A datagram that does not fit is lost; a lost session ends below.
                    let _sent = self.session.connection().send_datagram(self.datagram(number, frame).into());
                    frame += 1;
                }
                datagram = self.session.connection().read_datagram() => {
                    if datagram.is_err() {
                        gone.fetch_add(1, Relaxed);
                        return;
                    }
                }
                _ = stopped.changed() => {
                    return self.session.connection().close(0x100u32.into(), b"");
                }
            }
        }
    }

    /// Makes the datagram of a frame: a pose, now and then behind a keep-alive.
    fn datagram(&self, number: u32, frame: u32) -> Vec<u8> {
        let mut bytes = vec![DATAGRAM];
        bytes.extend_from_slice(&self.link_id);
        if frame.is_multiple_of(KEEP_ALIVE_FRAMES) || frame < KEEP_ALIVE_FRAMES / 4 {
            let choice = Some(PlaneChoice { change: 0, plane: Plane::Session });
            KeepAlive { choice }.encode(&mut bytes);
        }
        let mut payload = Vec::new();
        pose(number, frame as f32 / HZ as f32).encode(&mut payload);
        let message = Message {
            kind: MessageKind::Pose,
            flags: NEWEST_WINS,
            peer: TARGET_OTHERS,
            channel: 0,
            key: 0,
            sequence: frame as u16,
            time: None,
            payload: &payload,
        };
        message.encode(&mut bytes);
        bytes
    }
}
