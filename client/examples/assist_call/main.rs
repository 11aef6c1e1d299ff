//! A technician calls an expert: who is there, ringing, a room for the two, a pointer, a voice packet and
//! a stroke, an answer, hanging up. Without any argument it plays both sides, on a server of its own:
//!
//! ```text
//! cargo run -p nucleus-client --example assist_call
//! ```
//!
//! On a running server, each side with a token that names no room, so that it admits to the call's:
//!
//! ```text
//! TECHNICIAN=$(cargo run --release -- token --product assist --tenant acme --user tess --role technician)
//! EXPERT=$(cargo run --release -- token --product assist --tenant acme --user ed --role expert)
//! cargo run -p nucleus-client --example assist_call -- --expert-token "$EXPERT" --as expert
//! cargo run -p nucleus-client --example assist_call -- --technician-token "$TECHNICIAN" --as technician
//! ```

#![expect(clippy::print_stdout, reason = "the terminal is this program's whole purpose")]

mod local;

use std::error::Error;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nucleus_client::{
    CallId, ConnectOptions, DEFAULT_SERVER, EnterOptions, Room, RoomEvent, Social, SocialEvent,
    Status, Target, To, Voice, connect, enter,
};
use tokio::time::interval;

use local::LocalServer;

/// The application's channels; what they mean is for the application to say.
const STROKES: u8 = 1;
const ANSWERS: u8 = 2;
const POINTERS: u8 = 3;

/// Plays a technician who calls an expert, or the expert, or both.
#[derive(Parser)]
struct Options {
    /// Server, host:port; without tokens the program starts one of its own
    #[arg(long, default_value = DEFAULT_SERVER)]
    server: String,
    /// Join token of the technician
    #[arg(long)]
    technician_token: Option<String>,
    /// Join token of the expert
    #[arg(long)]
    expert_token: Option<String>,
    /// Play one side alone, against a person or another machine
    #[arg(long = "as")]
    side: Option<Side>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Technician,
    Expert,
}

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let Options { server, technician_token, expert_token, side } = Options::parse();
    match (side, technician_token, expert_token) {
        (None, None, None) => {
            let local = LocalServer::start().await?;
            println!("server: on {}", local.address);
            let tokens = (local.token("tess", "technician")?, local.token("ed", "expert")?);
            both(&local.address, tokens).await?;
            local.stop().await
        }
        (None, Some(technician), Some(expert)) => both(&server, (technician, expert)).await,
        (Some(Side::Technician), Some(token), _) => technician(&server, token).await,
        (Some(Side::Expert), _, Some(token)) => expert(&server, token).await,
        _ => Err("give a token for each side that is played".into()),
    }
}

async fn both(server: &str, (technician_token, expert_token): (String, String)) -> Outcome {
    tokio::try_join!(expert(server, expert_token), technician(server, technician_token))?;
    Ok(())
}

async fn technician(server: &str, token: String) -> Outcome {
    let social = enter(EnterOptions::new(server, token.clone())).await?;
    social.watch_users(&["expert"], &[]).await?;
    println!("technician: looks for an expert");
    let expert = free_expert(&social).await?;
    println!("technician: {expert} is online, calls");
    let call = social.start(&[&expert], "pump 3 leaks").await?;
    let room = meet(&social, call, "technician", server, token).await?;
    show(&room).await?;
    println!("technician: hangs up");
    social.hang_up(call).await?;
    room.leave().await;
    social.leave().await;
    Ok(())
}

/// The first expert who can be called.
async fn free_expert(social: &Social) -> Result<String, Box<dyn Error>> {
    loop {
        let free = social.users().into_iter().find(|user| user.status == Status::Online);
        if let Some(expert) = free {
            return Ok(expert.user);
        }
        next(social).await?;
    }
}

/// Shows the expert what it is about, until he answers: pointer and voice may be lost and are repeated, as
/// they would be in life; the stroke is reliable.
async fn show(room: &Room) -> Outcome {
    while room.peers().is_empty() {
        next_in(room).await?;
    }
    room.send_event(To::Others, STROKES, b"a circle around the valve").await?;
    let mut frame = interval(Duration::from_millis(33));
    loop {
        tokio::select! {
            _ = frame.tick() => {
                room.send_pointer(Target::Others, POINTERS, 0, &[0; 24])?;
                room.send_voice(&Voice { level: 30, speaking: true, flags: 0, opus: &[0xf8; 75] })?;
            }
            event = next_in(room) => {
                if let RoomEvent::Event { channel: ANSWERS, payload, .. } = event? {
                    println!("technician: hears \"{}\"", String::from_utf8_lossy(&payload));
                    return Ok(());
                }
            }
        }
    }
}

async fn expert(server: &str, token: String) -> Outcome {
    let social = enter(EnterOptions::new(server, token.clone())).await?;
    println!("expert: waits for a call");
    let call = loop {
        if let SocialEvent::Incoming { call, name, text, .. } = next(&social).await? {
            println!("expert: {name} calls, \"{text}\"");
            break call;
        }
    };
    social.accept(call).await?;
    let room = meet(&social, call, "expert", server, token).await?;
    look(&room).await?;
    // The room stays open for what is still to be said; the call's end says that it was all.
    loop {
        match next(&social).await? {
            SocialEvent::Ended { call: over, .. } if over == call => break,
            _ => {}
        }
    }
    println!("expert: the call is over");
    room.leave().await;
    social.leave().await;
    Ok(())
}

/// Looks and listens until everything has been there, then answers.
async fn look(room: &Room) -> Outcome {
    let (mut pointer, mut voice, mut stroke) = (false, false, false);
    while !(pointer && voice && stroke) {
        match next_in(room).await? {
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

/// Waits until the call is taken and joins its room, as any other.
async fn meet(
    social: &Social,
    call: CallId,
    who: &str,
    server: &str,
    token: String,
) -> Result<Room, Box<dyn Error>> {
    loop {
        match next(social).await? {
            SocialEvent::Accepted { call: taken, room, members, .. } if taken == call => {
                println!("{who}: the call is taken, {} meet in {room}", members.join(" and "));
                let room = connect(ConnectOptions::new(server, token).room(room)).await?;
                println!("{who}: is in the room");
                return Ok(room);
            }
            SocialEvent::Ended { call: over, code } if over == call => {
                let why = code.map_or("unknown reason", |code| code.name());
                return Err(format!("the call ended before it began: {why}").into());
            }
            _ => {}
        }
    }
}

async fn next(social: &Social) -> Result<SocialEvent, Box<dyn Error>> {
    match social.next().await {
        Some(SocialEvent::Closed { text, .. }) => Err(format!("the social closed: {text}").into()),
        Some(event) => Ok(event),
        None => Err("the social session is closed".into()),
    }
}

async fn next_in(room: &Room) -> Result<RoomEvent, Box<dyn Error>> {
    match room.next().await {
        Some(RoomEvent::Closed { text, .. }) => Err(format!("the room closed: {text}").into()),
        Some(event) => Ok(event),
        None => Err("the room is closed".into()),
    }
}
