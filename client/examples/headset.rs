//! A simulated headset. It joins a room, moves its head on a circle, and prints the positions of
//! the other peers. Run it twice, in two terminals, each with its own token:
//!
//! ```text
//! cargo run --release                                                            # the server
//! cargo run -p nucleus-client --example headset -- --name Ada --token "$(cargo run --release -- token --product atom --tenant acme --user ada)"
//! cargo run -p nucleus-client --example headset -- --name Bob --token "$(cargo run --release -- token --product atom --tenant acme --user bob)"
//! ```

#![expect(clippy::print_stdout, reason = "this program writes to the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use nucleus_client::{
    Batch, ConnectOptions, DEFAULT_SERVER, EntityId, PeerId, Pose, Presence, Room, RoomEvent,
    SendError, StateChange, To, Transform, Trust,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Poses sent per second.
const POSE_RATE: u32 = 30;
/// How often the positions of the other peers are printed.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// The channel for greetings. The application defines what its channels mean.
const GREETINGS: u8 = 1;
/// Key of a field of each peer: the headset that it wears.
const HEADSET: &str = "headset";

/// Joins a room and walks in circles.
#[derive(Parser)]
struct Options {
    /// Join token, as `nucleus token` prints it
    #[arg(long)]
    token: String,
    /// Server, host:port
    #[arg(long, default_value = DEFAULT_SERVER)]
    server: String,
    /// Room to join; default: the room that the token names, else "demo"
    #[arg(long)]
    room: Option<String>,
    /// Name that the other peers see; default: the name in the token
    #[arg(long)]
    name: Option<String>,
    /// Leave after this long (20s, 5m, 500ms); default: at Ctrl-C
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// SHA-256 of the server's certificate in hex; may be given several times; default: the pins in
    /// the token
    #[arg(long = "pin", value_parser = pin, conflicts_with = "ca")]
    pins: Vec<[u8; 32]>,
    /// PEM file of the CA that signed the server's certificate
    #[arg(long)]
    ca: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let options = Options::parse();
    let duration = options.duration;
    // The text of the error says in one line what to do.
    let room = match nucleus_client::connect(connect_options(options)?).await {
        Ok(room) => room,
        Err(error) => return Err(error.to_string().into()),
    };
    print_present_peers(&room);
    // The field is part of the room's shared state, so peers that join later receive it too.
    if let Err(error) = room.change(Batch::new().set(room.me(), HEADSET, "simulated")).await {
        println!("the room refused the headset field: {error}");
    }
    let end = async {
        match duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = run_in_room(&room) => result?,
        _ = tokio::signal::ctrl_c() => {}
        () = end => {}
    }
    // The other peers see the leave at once, instead of after a timeout.
    room.leave().await;
    println!("left");
    Ok(())
}

fn connect_options(options: Options) -> Result<ConnectOptions, Box<dyn Error>> {
    let mut connect = ConnectOptions::new(options.server, options.token);
    if let Some(room) = options.room {
        connect = connect.room(room);
    }
    if let Some(name) = options.name {
        connect = connect.name(name);
    }
    // Without a pin or a CA, the pins in a development server's token are used.
    if !options.pins.is_empty() {
        connect = connect.trust(Trust::Pins(options.pins));
    }
    if let Some(file) = options.ca {
        connect = connect.trust(Trust::ca_pem(&std::fs::read(file)?)?);
    }
    Ok(connect)
}

fn print_present_peers(room: &Room) {
    println!("joined as {}", name(room, room.me()));
    for peer in room.peers() {
        println!("{} is here", name(room, peer.id));
    }
}

/// Sends poses and prints reports at fixed intervals, and handles the room's events.
async fn run_in_room(room: &Room) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut frame = interval(Duration::from_secs(1) / POSE_RATE);
    // Skip late frames, because sending two poses at the same time is useless.
    frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut report = interval(REPORT_EVERY);
    // After the machine slept, print one report instead of all missed ones.
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poses = BTreeMap::new();
    loop {
        tokio::select! {
            _ = frame.tick() => match room.send_pose(&circle(start.elapsed())) {
                // The room's last event says why it closed.
                Ok(()) | Err(SendError::Closed) => {}
                Err(error) => return Err(error.into()),
            },
            _ = report.tick() => print_poses(room, &poses),
            event = room.next() => match event {
                Some(event) => handle_event(room, event, &mut poses).await?,
                None => return Ok(()),
            },
        }
    }
}

/// The last pose of a peer, with its age on arrival.
struct LastPose {
    pose: Pose,
    age: Option<Duration>,
    arrived: Instant,
}

async fn handle_event(
    room: &Room,
    event: RoomEvent,
    poses: &mut BTreeMap<PeerId, LastPose>,
) -> Result<(), Box<dyn Error>> {
    match event {
        RoomEvent::PeerJoined(peer) => {
            println!("{} joined", name(room, peer.id));
            // Send a reliable, ordered event to the new peer only.
            let hello = format!("welcome, {}!", peer.name);
            room.send_event(To::Peers(vec![peer.id]), GREETINGS, hello.as_bytes()).await?;
        }
        RoomEvent::PeerLeft { peer, code } => {
            poses.remove(&peer.id);
            let why = code.map_or("unknown reason", |code| code.name());
            println!("{} {} left ({why})", peer.id, peer.name);
        }
        RoomEvent::PresenceChanged { peer, presence } => match presence {
            Presence::Away => {
                poses.remove(&peer);
                println!("{} is away", name(room, peer));
            }
            Presence::Present => println!("{} is back", name(room, peer)),
        },
        RoomEvent::Pose { from, pose, age, .. } => {
            poses.insert(from, LastPose { pose, age, arrived: Instant::now() });
        }
        RoomEvent::Event { from, channel: GREETINGS, payload, .. } => {
            println!("{} says: {}", name(room, from), String::from_utf8_lossy(&payload));
        }
        RoomEvent::State(change) => handle_change(room, change),
        RoomEvent::Interrupted { text, .. } => println!("session lost ({text}), reconnecting"),
        RoomEvent::Resumed { .. } => println!("resumed as the same peer"),
        RoomEvent::Rejoined { me } => {
            poses.clear();
            println!("rejoined as {}", name(room, me));
        }
        RoomEvent::Fallback(true) => println!("realtime port does not answer, using the session"),
        RoomEvent::Fallback(false) => println!("realtime port answers again"),
        RoomEvent::Closed { code, text } => {
            let why = code.map_or("connection lost", |code| code.name());
            return Err(format!("the room closed ({why}): {text}").into());
        }
        // This example ignores voice, pointers and messages.
        _ => {}
    }
    Ok(())
}

fn handle_change(room: &Room, change: StateChange) {
    match change {
        StateChange::Field { entity: EntityId::Peer(peer), key, value: Some(value), .. }
            if key == HEADSET =>
        {
            let headset = value.as_text().unwrap_or("an unknown headset");
            println!("{} wears: {headset}", name(room, peer));
        }
        StateChange::Host { host: Some(host) } => println!("{} is the host", name(room, host)),
        // This example uses no objects.
        _ => {}
    }
}

fn print_poses(room: &Room, poses: &BTreeMap<PeerId, LastPose>) {
    for (peer, LastPose { pose, age, arrived }) in poses {
        let [x, y, z] = pose.head.position;
        let age = age.map_or("unknown".to_owned(), |age| {
            format!("{} ms", (age + arrived.elapsed()).as_millis())
        });
        println!("{}: head at ({x:+.2}, {y:+.2}, {z:+.2}) m, age {age}", name(room, *peer));
    }
}

fn name(room: &Room, peer: PeerId) -> String {
    match room.peer(peer) {
        Some(info) => format!("{peer} {}", info.name),
        None => peer.to_string(),
    }
}

/// Returns the pose on a circle of 1 m radius around the middle of the room, at eye height. One
/// round takes eight seconds.
fn circle(elapsed: Duration) -> Pose {
    let angle = elapsed.as_secs_f32() * std::f32::consts::TAU / 8.0;
    let half = -angle / 2.0;
    let position = [angle.cos(), 1.65, angle.sin()];
    let rotation = [0.0, half.sin(), 0.0, half.cos()];
    Pose { head: Transform { position, rotation }, left: None, right: None }
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .unwrap_or((text, &1.0));
    let seconds: f64 = number.parse().map_err(|_| "use a number and ms, s, m or h".to_owned())?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|error| error.to_string())
}

fn pin(text: &str) -> Result<[u8; 32], String> {
    let byte = |i: usize| text.get(2 * i..2 * i + 2).and_then(|b| u8::from_str_radix(b, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let pin = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    pin.ok_or_else(|| "a pin is 64 hexadecimal digits".to_owned())
}
