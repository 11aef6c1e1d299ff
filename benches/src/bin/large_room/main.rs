//! `large_room`: measures how much a large room that is flooded with events delays the events of a
//! small room.
//!
//! Two servers run side by side. In each round the same clients flood a large room on the small
//! room's server, and then on the other server. In both cases the machine's cores are equally busy,
//! so the difference is what the large room costs the small one on its server. The order alternates
//! from round to round. Linux only: elsewhere the CPU time of another process cannot be read.
//!
//! Exit codes: 0: the measurement succeeded. 2: the command line is wrong. 3: the measurement could
//! not run.

mod rooms;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use nucleus_client::session::Trust;
use nucleus_loadgen::embedded::{Embedded, EmbeddedError};
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Product, TokenRequest};
use tokio::runtime::Runtime;

use rooms::{ClientError, Clients, LargeRoom, SmallRoom};

/// The exit code if there is no result.
const COULD_NOT_RUN: u8 = 3;
/// Time from the start of the flood to the measurement.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures what a large room costs a small one on the same server.
#[derive(Parser)]
#[command(name = "large_room", version)]
struct Args {
    /// Members of the large room
    #[arg(long, default_value_t = 980, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    members: u32,
    /// Members that send as many events as they may
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    senders: u32,
    /// Rounds, each with the large room on either server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Where the large room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SameServer,
    OtherServer,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::SameServer => "same server",
            Place::OtherServer => "other server",
        }
    }
}

/// The figures of one measurement.
struct Row {
    place: Place,
    /// How long the small room's events took, µs: median and 99th percentile.
    p50: u64,
    p99: u64,
    deliveries_per_s: f64,
    /// CPU time of the large room's server, in cores.
    cores: f64,
}

/// The error of a run without a result.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Server(#[from] EmbeddedError),
    #[error("the server's keys cannot be used: {0}")]
    Keys(String),
    #[error("cannot start threads, or read the server's CPU time: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no event arrived in the small room")]
    Silent,
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
            let _ = writeln!(io::stderr(), "large_room: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn measure_all(args: &Args) -> Result<Vec<Row>, RunError> {
    // If the limit cannot be raised, opening a socket will fail.
    let _ = nucleus_net::raise_file_limit();
    let servers = [Embedded::start(Some(1), None)?, Embedded::start(Some(1), None)?];
    let [small_server, other_server] = &servers;
    // The small room has a thread of its own, as in another process.
    let (small_runtime, large_runtime) = (runtime()?, runtime()?);
    let small_clients = clients(small_server)?;
    let small = small_runtime.block_on(SmallRoom::join(&small_clients))?;
    let mut rows = Vec::new();
    for round in 0..args.rounds as usize {
        let mut places = [Place::SameServer, Place::OtherServer];
        places.rotate_left(round % 2);
        for place in places {
            let server = match place {
                Place::SameServer => small_server,
                Place::OtherServer => other_server,
            };
            rows.push(measure(args, place, server, &small, [&small_runtime, &large_runtime])?);
        }
    }
    Ok(rows)
}

fn measure(
    args: &Args,
    place: Place,
    server: &Embedded,
    small: &SmallRoom,
    [small_runtime, large_runtime]: [&Runtime; 2],
) -> Result<Row, RunError> {
    let clients = clients(server)?;
    let joining = LargeRoom::join(&clients, args.members, args.senders);
    let large = large_runtime.block_on(joining)?;
    {
        let _in_runtime = large_runtime.enter();
        large.flood();
    }
    // A new room starts with a burst above its rate.
    std::thread::sleep(SETTLE);
    let cpu = || nucleus_net::process_cpu_seconds(Some(server.pid()));
    let (deliveries, cpu_before) = (large.deliveries(), cpu()?);
    let time = Duration::from_secs(args.seconds);
    let latency = small_runtime.block_on(small.latency(time));
    if latency.is_empty() {
        return Err(RunError::Silent);
    }
    let seconds = time.as_secs_f64();
    Ok(Row {
        place,
        p50: latency.value_at_quantile(0.5),
        p99: latency.value_at_quantile(0.99),
        deliveries_per_s: (large.deliveries() - deliveries) as f64 / seconds,
        cores: (cpu()? - cpu_before) / seconds,
    })
}

/// Returns how clients join a server.
fn clients(server: &Embedded) -> Result<Clients, RunError> {
    let (token, trust) = credentials(server.data_dir())?;
    Ok(Clients::new(server.session, token, &trust)?)
}

fn credentials(data_dir: &Path) -> Result<(String, Trust), RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Keys(error.to_string());
    let dir = DataDir::open(data_dir).map_err(|error| failed(&error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let request = TokenRequest::new(Product::Atom, "large-room", "member");
    let token = dir.minter().mint(request, now).map_err(|error| failed(&error))?;
    let pins = nucleus_client::token::pins_in(&token);
    Ok((token, Trust::Pins(pins)))
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<14} {:>8} {:>8} {:>14} {:>6}\n",
        "large room", "p50, us", "p99, us", "deliveries/s", "cores"
    );
    for Row { place, p50, p99, deliveries_per_s, cores } in rows {
        let place = place.name();
        text += &format!("{place:<14} {p50:>8} {p99:>8} {deliveries_per_s:>14.0} {cores:>6.2}\n");
    }
    let median = |place: Place| {
        let mut p99: Vec<u64> = rows.iter().filter(|r| r.place == place).map(|r| r.p99).collect();
        p99.sort_unstable();
        p99.get(p99.len() / 2).copied().unwrap_or_default() as f64
    };
    let ratio = median(Place::SameServer) / median(Place::OtherServer).max(1.0);
    text + &format!("p99 of the small room, same server / other server, of medians: {ratio:.2}\n")
}
