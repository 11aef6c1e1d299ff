//! `carriers`: measures what a participant costs the server, by how its messages travel.
//!
//! | carrier | how |
//! |---|---|
//! | `realtime` | datagrams of the realtime port |
//! | `fallback` | QUIC datagrams of a program's session |
//! | `web` | WebTransport datagrams of a browser's session |
//!
//! In rooms of ten, every client sends a pose 60 times a second. The carriers take turns on one server,
//! in an order that rotates from round to round. The server's CPU time is divided by the messages that
//! it has sent by its own counter. Linux only: elsewhere the CPU time of another process cannot be read.
//!
//! A measurement counts only if every client is still in its room at its end, and the server has sent
//! nearly all messages.
//!
//! Exit codes: 0: the measurement succeeded. 2: the command line is wrong. 3: the measurement could not
//! run, or does not count.

mod clients;
mod load;
mod web;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nucleus_loadgen::embedded::{Embedded, EmbeddedError};

use clients::{Clients, ROOM_SIZE};
use load::{HZ, JoinError};

/// The exit code if there is no result.
const COULD_NOT_RUN: u8 = 3;
/// Time from the last join to the measurement: links open, clocks are set, and the tick adapts.
const SETTLE: Duration = Duration::from_secs(2);
/// The least share of the messages in a measurement that counts.
const MIN_DELIVERED: f64 = 0.97;
/// The server's counter of the messages that it has sent.
const MESSAGES_OUT: &str = "nucleus_realtime_messages_out_total";

/// Measures what a participant costs the server, by how its messages travel.
#[derive(Parser)]
#[command(name = "carriers", version)]
struct Args {
    /// Clients at a time, in rooms of ten
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(10..=500))]
    clients: u32,
    /// Rounds, each with all carriers
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The server's tick, as in its option --tick
    #[arg(long, default_value = "10ms")]
    tick: String,
}

/// How the messages of a participant travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CarrierKind {
    Realtime,
    Fallback,
    Web,
}

impl CarrierKind {
    const ALL: [CarrierKind; 3] = [CarrierKind::Realtime, CarrierKind::Fallback, CarrierKind::Web];

    fn name(self) -> &'static str {
        match self {
            CarrierKind::Realtime => "realtime",
            CarrierKind::Fallback => "fallback",
            CarrierKind::Web => "web",
        }
    }
}

/// The figures of one measurement.
struct Row {
    carrier: CarrierKind,
    /// CPU time of the server for each message that it has sent, ns.
    ns_a_message: f64,
    messages_per_s: f64,
}

/// The error of a run without a result.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Server(#[from] EmbeddedError),
    #[error("cannot start threads, or read the server's figures: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("the server's page of metrics has no {MESSAGES_OUT}")]
    NoCounter,
    #[error("{name}: {gone} clients are not in their rooms any more")]
    Gone { name: &'static str, gone: usize },
    #[error("{name}: the server sent {sent} of {due} messages")]
    TooFew { name: &'static str, sent: u64, due: u64 },
}

fn main() -> ExitCode {
    // A mistake on the command line ends the process here with code 2.
    match measure_all(&Args::parse()) {
        Ok(rows) => {
            // A closed stdout is not an error.
            let _ = io::stdout().write_all(table(&rows).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "carriers: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn measure_all(args: &Args) -> Result<Vec<Row>, RunError> {
    // If the limit cannot be raised, opening a socket will fail.
    let _ = nucleus_net::raise_file_limit();
    let server = Embedded::start(Some(1), Some(&args.tick))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rows = Vec::new();
    for round in 0..args.rounds as usize {
        let mut carriers = CarrierKind::ALL;
        carriers.rotate_left(round % CarrierKind::ALL.len());
        for carrier in carriers {
            rows.push(runtime.block_on(measure(args, carrier, &server))?);
        }
    }
    Ok(rows)
}

async fn measure(args: &Args, carrier: CarrierKind, server: &Embedded) -> Result<Row, RunError> {
    let clients = Clients::join(server, carrier, args.clients).await?;
    tokio::time::sleep(SETTLE).await;
    let read = || Ok::<_, RunError>((cpu_seconds(server)?, messages_out(&server.http)?));
    let (begin, (cpu_before, sent_before)) = (Instant::now(), read()?);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (seconds, (cpu_after, sent_after)) = (begin.elapsed().as_secs_f64(), read()?);
    let name = carrier.name();
    let gone = clients.gone();
    clients.leave().await;
    if gone > 0 {
        return Err(RunError::Gone { name, gone });
    }
    let sent = sent_after - sent_before;
    let due = (f64::from(args.clients * (ROOM_SIZE - 1)) * HZ * seconds) as u64;
    if (sent as f64) < MIN_DELIVERED * due as f64 {
        return Err(RunError::TooFew { name, sent, due });
    }
    let ns_a_message = (cpu_after - cpu_before) * 1e9 / sent as f64;
    Ok(Row { carrier, ns_a_message, messages_per_s: sent as f64 / seconds })
}

fn cpu_seconds(server: &Embedded) -> io::Result<f64> {
    nucleus_net::process_cpu_seconds(Some(server.pid()))
}

/// Reads how many messages the server has sent since its start.
fn messages_out(http: &str) -> Result<u64, RunError> {
    let mut stream = TcpStream::connect(http)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(MESSAGES_OUT));
    let values: Option<Vec<u64>> =
        lines.map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    values.filter(|values| !values.is_empty()).map(|v| v.iter().sum()).ok_or(RunError::NoCounter)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn table(rows: &[Row]) -> String {
    let of = |carrier: CarrierKind, figure: fn(&Row) -> f64| {
        rows.iter().filter(|row| row.carrier == carrier).map(figure).collect::<Vec<_>>()
    };
    let mut text = format!("{:<10} {:>14} {:>12}\n", "carrier", "ns a message", "messages/s");
    for carrier in CarrierKind::ALL {
        let (cost, rate) =
            (of(carrier, |row| row.ns_a_message), of(carrier, |row| row.messages_per_s));
        text += &format!("{:<10} {:>14.0} {:>12.0}\n", carrier.name(), median(cost), median(rate));
    }
    let costs = |carrier| of(carrier, |row| row.ns_a_message);
    for carrier in [CarrierKind::Fallback, CarrierKind::Web] {
        for base in [CarrierKind::Realtime, CarrierKind::Fallback] {
            if carrier == base {
                continue;
            }
            // Each round has one measurement of each carrier.
            let ratios: Vec<f64> =
                costs(carrier).into_iter().zip(costs(base)).map(|(a, b)| a / b).collect();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            let (name, base) = (carrier.name(), base.name());
            let ratio = median(ratios);
            text += &format!("{name}/{base}: {ratio:.2} ({least:.2} to {most:.2})\n");
        }
    }
    text
}
