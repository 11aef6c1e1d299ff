//! An example of a call between a technician and an expert. It watches users, rings, joins the room
//! of the call, sends a pointer, voice, a stroke and an answer, and hangs up. Without arguments the
//! example plays both sides on its own server:
//!
//! ```text
//! cargo run -p nucleus-client --example assist_call
//! ```
//!
//! To use a running server, give each side a token that names no room. Such a token is valid for
//! the room of the call:
//!
//! ```text
//! TECHNICIAN=$(cargo run --release -- token --product assist --tenant acme --user tess --role technician)
//! EXPERT=$(cargo run --release -- token --product assist --tenant acme --user ed --role expert)
//! cargo run -p nucleus-client --example assist_call -- --expert-token "$EXPERT" --as expert
//! cargo run -p nucleus-client --example assist_call -- --technician-token "$TECHNICIAN" --as technician
//! ```

#![expect(clippy::print_stdout, reason = "this program writes to the terminal")]

mod local;

use std::error::Error;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nucleus_client::{
    CallId, ConnectOptions, DEFAULT_SERVER, EnterOptions, Room, RoomEvent, Social, SocialEvent,
    Status, To, Voice, connect, enter,
};
use tokio::time::interval;

use local::LocalServer;

// The channels of this example. The application defines what its channels mean.
const STROKES: u8 = 1;
const ANSWERS: u8 = 2;
const POINTERS: u8 = 3;

/// Plays a technician who calls an expert, or the expert, or both.
#[derive(Parser)]
struct Options {
    /// Address of a running server, host:port; without tokens, the program starts a server and
    /// ignores this
    #[arg(long, default_value = DEFAULT_SERVER)]
    server: String,
    /// Join token of the technician
    #[arg(long)]
    technician_token: Option<String>,
    /// Join token of the expert
    #[arg(long)]
    expert_token: Option<String>,
    /// The side to play; without this, the program plays both
    #[arg(long = "as")]
    side: Option<Side>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Technician,
    Expert,
}

type ExampleResult = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExampleResult {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let Options { server, technician_token, expert_token, side } = Options::parse();
    match (side, technician_token, expert_token) {
        (None, None, None) => {
            let local = LocalServer::start().await?;
            println!("server: on {}", local.address);
            let technician = local.token("tess", "technician")?;
            let expert = local.token("ed", "expert")?;
            both(&local.address, technician, expert).await?;
            local.stop().await
        }
        (None, Some(technician), Some(expert)) => both(&server, technician, expert).await,
        (Some(Side::Technician), Some(token), _) => technician(&server, token).await,
        (Some(Side::Expert), _, Some(token)) => expert(&server, token).await,
        _ => Err("give a token for each side that is played".into()),
    }
}

async fn both(server: &str, technician_token: String, expert_token: String) -> ExampleResult {
    tokio::try_join!(expert(server, expert_token), technician(server, technician_token))?;
    Ok(())
}

async fn technician(server: &str, token: String) -> ExampleResult {
    let social = enter(EnterOptions::new(server, token.clone())).await?;
    social.watch_users(&["expert"], &[]).await?;
    println!("technician: looks for an expert");
    let expert = free_expert(&social).await?;
    println!("technician: {expert} is online, calls");
    let call = social.start(&[&expert], "pump 3 leaks").await?;
    let room = join_call_room(&social, call, "technician", server, token).await?;
    send_until_answer(&room).await?;
    println!("technician: hangs up");
    social.hang_up(call).await?;
    room.leave().await;
    social.leave().await;
    Ok(())
}

/// Waits until an expert can be called, and returns the user id.
async fn free_expert(social: &Social) -> Result<String, Box<dyn Error>> {
    loop {
        let free = social.users().into_iter().find(|user| user.status == Status::Online);
        if let Some(expert) = free {
            return Ok(expert.user);
        }
        next_event(social).await?;
    }
}

/// Sends a stroke, and then pointers and voice until the expert answers. The stroke is reliable.
/// Pointers and voice may be lost, and are sent repeatedly, as a real application does.
async fn send_until_answer(room: &Room) -> ExampleResult {
    while room.peers().is_empty() {
        next_room_event(room).await?;
    }
    room.send_event(To::Others, STROKES, b"a circle around the valve").await?;
    let mut frame = interval(Duration::from_millis(33));
    loop {
        tokio::select! {
            _ = frame.tick() => {
                room.send_pointer(To::Others, POINTERS, 0, &[0; 24])?;
                room.send_voice(&Voice { level: 30, speaking: true, flags: 0, opus: &[0xf8; 75] })?;
            }
            event = next_room_event(room) => {
                if let RoomEvent::Event { channel: ANSWERS, payload, .. } = event? {
                    println!("technician: hears \"{}\"", String::from_utf8_lossy(&payload));
                    return Ok(());
                }
            }
        }
    }
}

async fn expert(server: &str, token: String) -> ExampleResult {
    let social = enter(EnterOptions::new(server, token.clone())).await?;
    println!("expert: waits for a call");
    let call = loop {
        if let SocialEvent::Incoming { call, name, text, .. } = next_event(&social).await? {
            println!("expert: {name} calls, \"{text}\"");
            break call;
        }
    };
    social.accept(call).await?;
    let room = join_call_room(&social, call, "expert", server, token).await?;
    receive_and_answer(&room).await?;
    // Stay in the room until the call ends.
    loop {
        match next_event(&social).await? {
            SocialEvent::Ended { call: ended, .. } if ended == call => break,
            _ => {}
        }
    }
    println!("expert: the call is over");
    room.leave().await;
    social.leave().await;
    Ok(())
}

/// Waits until a pointer, a voice packet and a stroke have arrived, then answers.
async fn receive_and_answer(room: &Room) -> ExampleResult {
    let (mut pointer, mut voice, mut stroke) = (false, false, false);
    while !(pointer && voice && stroke) {
        match next_room_event(room).await? {
            RoomEvent::Pointer { payload, .. } if !pointer => {
                pointer = true;
                println!("expert: sees the pointer, {} bytes", payload.len());
            }
            RoomEvent::Voice { voice: packet, .. } if !voice => {
                voice = true;
                println!("expert: hears a voice, {} bytes of Opus", packet.opus.len());
            }
            RoomEvent::Event { channel: STROKES, payload, .. } => {
                stroke = true;
                println!("expert: sees {}", String::from_utf8_lossy(&payload));
            }
            _ => {}
        }
    }
    println!("expert: answers");
    room.send_event(To::Others, ANSWERS, b"close the upper valve").await?;
    Ok(())
}

/// Waits until the call is accepted, and joins its room.
async fn join_call_room(
    social: &Social,
    call: CallId,
    side: &str,
    server: &str,
    token: String,
) -> Result<Room, Box<dyn Error>> {
    loop {
        match next_event(social).await? {
            SocialEvent::Accepted { call: accepted, room, members, .. } if accepted == call => {
                println!("{side}: the call is accepted, {} meet in {room}", members.join(" and "));
                let room = connect(ConnectOptions::new(server, token).room(room)).await?;
                println!("{side}: is in the room");
                return Ok(room);
            }
            SocialEvent::Ended { call: ended, code } if ended == call => {
                let why = code.map_or("unknown reason", |code| code.name());
                return Err(format!("the call was not accepted: {why}").into());
            }
            _ => {}
        }
    }
}

async fn next_event(social: &Social) -> Result<SocialEvent, Box<dyn Error>> {
    match social.next().await {
        Some(SocialEvent::Closed { text, .. }) => {
            Err(format!("the social session closed: {text}").into())
        }
        Some(event) => Ok(event),
        None => Err("the social session is closed".into()),
    }
}

async fn next_room_event(room: &Room) -> Result<RoomEvent, Box<dyn Error>> {
    match room.next().await {
        Some(RoomEvent::Closed { text, .. }) => Err(format!("the room closed: {text}").into()),
        Some(event) => Ok(event),
        None => Err("the room is closed".into()),
    }
}
