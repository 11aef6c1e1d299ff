//! The adapter of this client for the dialogues in `protocol/conformance`. It reads calls of an
//! application as JSON lines from its standard input, and writes what the application sees to its
//! standard output. The README of that folder describes the lines.
//!
//! ```text
//! cargo build -p nucleus-client --example conformance
//! protocol/conformance/conformance --client target/debug/examples/conformance
//! ```

#![expect(clippy::print_stdout, reason = "this program speaks through its standard output")]

mod calls;
mod reports;

use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use nucleus_client::{ConnectOptions, EnterOptions, Room, Social, Trust};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

/// What this client can do, of the needs that dialogues name.
const CAN: [&str; 14] = [
    "bulk",
    "groups",
    "moderation",
    "moved",
    "notices",
    "realtime",
    "renew",
    "resume",
    "rooms",
    "rpc",
    "settings",
    "social",
    "state",
    "typed_events",
];
/// Calls that send an event. Events go out in the order of their calls.
const SENDS: [&str; 4] = ["send_event", "send_typed_event", "send_bulk", "answer_rpc"];
/// Lines that may wait. The runner writes few calls and waits for their effects.
const LINES: usize = 64;

/// The application: one room and one social session at a time.
#[derive(Default)]
struct Application {
    room: Mutex<Option<Arc<Room>>>,
    social: Mutex<Option<Arc<Social>>>,
}

#[tokio::main]
async fn main() {
    println!("{}", json!({ "can": CAN }));
    let (lines, mut calls) = mpsc::channel::<String>(LINES);
    // Reading the standard input blocks, so it has its own thread.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let application = Arc::new(Application::default());
    while let Some(line) = calls.recv().await {
        let Ok(call) = serde_json::from_str::<Json>(&line) else {
            println!("{}", json!({ "sees": "no JSON", "line": line }));
            continue;
        };
        // Other calls may wait for the server or for a peer, and the next line must not wait for them.
        if call["call"].as_str().is_some_and(|name| SENDS.contains(&name)) {
            application.answer(call).await;
        } else {
            let application = application.clone();
            tokio::spawn(async move { application.answer(call).await });
        }
    }
}

impl Application {
    /// Does what a call says, and writes its result.
    async fn answer(self: &Arc<Self>, call: Json) {
        let name = call["call"].as_str().unwrap_or_default();
        let mut result = match name {
            "connect" => self.connect(&call).await,
            "enter" => self.enter(&call).await,
            _ => match (self.room(), self.social()) {
                (Some(room), _) if calls::is_for_room(name) => {
                    calls::in_room(&room, name, &call).await
                }
                (_, Some(social)) if !calls::is_for_room(name) => {
                    calls::in_social_session(&social, name, &call).await
                }
                _ => json!({ "why": "no session for this call" }),
            },
        };
        result["returns"] = call["id"].clone();
        println!("{result}");
    }

    fn room(&self) -> Option<Arc<Room>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn social(&self) -> Option<Arc<Social>> {
        self.social.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Joins a room, and reports what happens in it.
    async fn connect(&self, call: &Json) -> Json {
        let text = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let options = ConnectOptions::new(text("server"), text("token"))
            .room(text("room"))
            .name(text("name"))
            .trust(Trust::Pins(vec![pin(&text("pin"))]));
        let options = calls::room_choice(options, call);
        match nucleus_client::connect(options).await {
            Err(error) => println!("{}", reports::refused("refused", &error)),
            Ok(room) => {
                let room = Arc::new(room);
                // The runner may call at once when it reads the report.
                let slot = self.room.lock();
                *slot.unwrap_or_else(PoisonError::into_inner) = Some(room.clone());
                println!("{}", reports::joined(&room));
                tokio::spawn(async move {
                    while let Some(event) = room.next().await {
                        if let Some(report) = reports::room_event(event) {
                            println!("{report}");
                        }
                    }
                });
            }
        }
        json!({})
    }

    /// Opens a social session, and reports what happens in it.
    async fn enter(&self, call: &Json) -> Json {
        let text = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let options = EnterOptions::new(text("server"), text("token"))
            .name(text("name"))
            .trust(Trust::Pins(vec![pin(&text("pin"))]));
        match nucleus_client::enter(options).await {
            Err(error) => println!("{}", reports::refused("social_refused", &error)),
            Ok(social) => {
                let social = Arc::new(social);
                let slot = self.social.lock();
                *slot.unwrap_or_else(PoisonError::into_inner) = Some(social.clone());
                println!("{}", json!({ "sees": "entered", "user": social.user() }));
                tokio::spawn(async move {
                    while let Some(event) = social.next().await {
                        if let Some(report) = reports::social_event(event) {
                            println!("{report}");
                        }
                    }
                });
            }
        }
        json!({})
    }
}

/// Reads a pin of 64 hexadecimal digits. A pin with other characters fits no certificate.
fn pin(text: &str) -> [u8; 32] {
    std::array::from_fn(|i| {
        text.get(2 * i..2 * i + 2).and_then(|b| u8::from_str_radix(b, 16).ok()).unwrap_or_default()
    })
}
