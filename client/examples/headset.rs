//! A headset without a headset: joins a room, moves its head on a circle, and tells what it sees of
//! the others. Run it twice, in two terminals, with a token each:
//!
//! ```text
//! cargo run --release                                                            # the server
//! cargo run -p nucleus-client --example headset -- --name Ada --token "$(cargo run --release -- token --product atom --tenant acme --user ada)"
//! cargo run -p nucleus-client --example headset -- --name Bob --token "$(cargo run --release -- token --product atom --tenant acme --user bob)"
//! ```

#![expect(clippy::print_stdout, reason = "the terminal is this program's whole purpose")]

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

/// Poses a second.
const POSE_RATE: u32 = 30;
/// How often the others' positions are printed.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// The application's channel for greetings; what channels mean is for the application to say.
const GREETINGS: u8 = 1;
/// A field of each peer: what it wears.
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
    /// Room; default: the one the token names, else "demo"
    #[arg(long)]
    room: Option<String>,
    /// Name that the others see; default: the token's
    #[arg(long)]
    name: Option<String>,
    /// Leave after this long (20s, 5m, 500ms); default: at Ctrl-C
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// SHA-256 of the server's certificate in hex; default: the pin in the token
    #[arg(long, value_parser = pin, conflicts_with = "ca")]
    pin: Option<[u8; 32]>,
    /// PEM file of the CA that signed the server's certificate
    #[arg(long)]
    ca: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let options = Options::parse();
    let duration = options.duration;
    // A failed join says in one line what to do about it.
    let room = match nucleus_client::connect(connect_options(options)?).await {
        Ok(room) => room,
        Err(error) => return Err(error.to_string().into()),
    };
    greet_the_present(&room);
    // Part of the room's shared state: whoever joins later finds it there, too.
    if let Err(error) = room.change(Batch::new().set(room.me(), HEADSET, "simulated")).await {
        println!("the room did not take what headset this is: {error}");
    }
    let end = async {
        match duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = live(&room) => result?,
        _ = tokio::signal::ctrl_c() => {}
        () = end => {}
    }
    // Everybody is told at once, instead of after the silence of a timeout.
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
    // Without either, the pin in a development server's token is used.
    if let Some(pin) = options.pin {
        connect = connect.trust(Trust::Pin(pin));
    }
    if let Some(file) = options.ca {
        connect = connect.trust(Trust::ca_pem(&std::fs::read(file)?)?);
    }
    Ok(connect)
}

fn greet_the_present(room: &Room) {
    println!("joined as {}", name(room, room.me()));
    for peer in room.peers() {
        println!("{} is here", name(room, peer.id));
    }
}

/// The application's loop: what it does by the clock, and what it hears.
async fn live(room: &Room) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut frame = interval(Duration::from_secs(1) / POSE_RATE);
    // A late frame is late; sending two poses at once would help nobody.
    frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut report = interval(REPORT_EVERY);
    // After a sleep there is one report to print, not one for every second of it.
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            _ = frame.tick() => match room.send_pose(&circle(begin.elapsed())) {
                // The room says why it closed, in its last event.
                Ok(()) | Err(SendError::Closed) => {}
                Err(error) => return Err(error.into()),
            },
            _ = report.tick() => print_seen(room, &seen),
            event = room.next() => match event {
                Some(event) => hear(room, event, &mut seen).await?,
                None => return Ok(()),
            },
        }
    }
}

/// The last pose of a peer, and how old it was on arrival.
struct Seen {
    pose: Pose,
    age: Option<Duration>,
    arrived: Instant,
}

async fn hear(
    room: &Room,
    event: RoomEvent,
    seen: &mut BTreeMap<PeerId, Seen>,
) -> Result<(), Box<dyn Error>> {
    match event {
        RoomEvent::PeerJoined(peer) => {
            println!("{} joined", name(room, peer.id));
            // Reliable: it arrives, and in order. Addressed: only the newcomer gets it.
            let hello = format!("welcome, {}!", peer.name);
            room.send_event(To::Peers(vec![peer.id]), GREETINGS, hello.as_bytes()).await?;
        }
        RoomEvent::PeerLeft { peer, code } => {
            seen.remove(&peer.id);
            let why = code.map_or("unknown reason", |code| code.name());
            println!("{} {} left ({why})", peer.id, peer.name);
        }
        RoomEvent::PresenceChanged { peer, presence } => match presence {
            Presence::Away => {
                seen.remove(&peer);
                println!("{} is away", name(room, peer));
            }
            Presence::Present => println!("{} is back", name(room, peer)),
        },
        RoomEvent::Pose { from, pose, age, .. } => {
            seen.insert(from, Seen { pose, age, arrived: Instant::now() });
        }
        RoomEvent::Event { from, channel: GREETINGS, payload } => {
            println!("{} says: {}", name(room, from), String::from_utf8_lossy(&payload));
        }
        RoomEvent::State(change) => hear_change(room, change),
        RoomEvent::Interrupted { text, .. } => println!("interrupted ({text}), coming back"),
        RoomEvent::Resumed { .. } => println!("back as the same peer"),
        RoomEvent::Rejoined { me } => {
            seen.clear();
            println!("back as {}", name(room, me));
        }
        RoomEvent::Fallback(true) => println!("realtime port silent, going on inside the session"),
        RoomEvent::Fallback(false) => println!("realtime port open again"),
        RoomEvent::Closed { code, text } => {
            let why = code.map_or("connection lost", |code| code.name());
            return Err(format!("the room closed ({why}): {text}").into());
        }
        // Voice, pointers and messages: this headset neither speaks nor points.
        _ => {}
    }
    Ok(())
}

fn hear_change(room: &Room, change: StateChange) {
    match change {
        StateChange::Field { entity: EntityId::Peer(peer), key, value: Some(value), .. }
            if key == HEADSET =>
        {
            let headset = value.as_text().unwrap_or("something else than text");
            println!("{} wears: {headset}", name(room, peer));
        }
        StateChange::Host { host: Some(host) } => println!("{} is the host", name(room, host)),
        // Objects: there are none in this room.
        _ => {}
    }
}

fn print_seen(room: &Room, seen: &BTreeMap<PeerId, Seen>) {
    for (peer, Seen { pose, age, arrived }) in seen {
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

/// A metre around the middle of the room in eight seconds, at eye height, looking ahead.
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
    let whole = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    whole.ok_or_else(|| "a pin is 64 hexadecimal digits".to_owned())
}
