//! `large_room`: measures how much a large room that is flooded with events delays the events of a
//! small room.
//!
//! Two servers run side by side. In each round the same clients flood a large room on the small
//! room's server, and then on the other server. In both cases the machine's cores are equally busy,
//! so the difference is what the large room costs the small one on its server. The order alternates
//! from round to round. Linux only: elsewhere the CPU time of another process cannot be read.
//!
//! A measurement counts only if both servers still run, no client has lost its session, the large
//! room has delivered nearly what its limits allow, and every event of the small room has arrived.
//!
//! Exit codes: 0: the measurement succeeded. 2: the command line is wrong. 3: the measurement could
//! not run, or does not count.

mod rooms;
mod small;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use nucleus_client::session::Trust;
use nucleus_core::limits::Limits;
use nucleus_loadgen::embedded::{Embedded, EmbeddedError, ServerEnd};
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Product, TokenRequest};
use tokio::runtime::Runtime;

use rooms::{ClientError, Clients, EVENT_BYTES, LargeRoom};
use small::SmallRoom;

/// The exit code if there is no result.
const COULD_NOT_RUN: u8 = 3;
/// Time from the start of the flood to the measurement.
const SETTLE: Duration = Duration::from_secs(3);
/// The least share of the deliveries that the limits allow in a measurement that counts.
const MIN_DELIVERED: f64 = 0.9;

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
    #[error("{0}")]
    Ended(ServerEnd),
    #[error("{count} clients lost their session during the measurement")]
    Closed { count: u64 },
    #[error(
        "the large room delivered {found:.0} events a second, less than {} % of the {expected:.0} \
         that the limits allow", MIN_DELIVERED * 100.0
    )]
    TooFew { found: f64, expected: f64 },
    #[error("{missing} of {due} events of the small room did not arrive")]
    Missing { missing: u64, due: u64 },
}

/// What decides whether a measurement counts.
#[derive(Clone, Debug)]
struct Evidence {
    /// How a server ended; `None` if both still run.
    ended: Option<ServerEnd>,
    /// Clients that have lost their session.
    closed: u64,
    /// Deliveries of the large room a second, and those that the limits allow.
    deliveries_per_s: f64,
    allowed_per_s: f64,
    /// Events of the small room that were due, and those that did not arrive.
    due: u64,
    missing: u64,
}

impl Evidence {
    /// Checks that the measurement counts.
    ///
    /// # Errors
    ///
    /// The reason why it does not.
    fn check(self) -> Result<(), RunError> {
        let Evidence { ended, closed, deliveries_per_s, allowed_per_s, due, missing } = self;
        match ended {
            Some(end) => Err(RunError::Ended(end)),
            None if closed > 0 => Err(RunError::Closed { count: closed }),
            None if deliveries_per_s < MIN_DELIVERED * allowed_per_s => {
                Err(RunError::TooFew { found: deliveries_per_s, expected: allowed_per_s })
            }
            None if missing > 0 || due == 0 => Err(RunError::Missing { missing, due }),
            None => Ok(()),
        }
    }
}

/// Returns how many deliveries a second the server's limits allow a large room on average.
fn allowed_per_s(limits: &Limits, members: u32, senders: u32) -> f64 {
    let senders = f64::from(senders.min(members));
    let of_bytes = |bytes_per_s: u32| f64::from(bytes_per_s) / EVENT_BYTES as f64;
    let of_peer = f64::from(limits.peer_events_per_s).min(of_bytes(limits.peer_event_bytes_per_s));
    let of_room = f64::from(limits.room_events_per_s).min(of_bytes(limits.room_event_bytes_per_s));
    let events = (senders * of_peer).min(of_room);
    (events * f64::from(members - 1))
        .min(limits.room_deliveries_per_s.into())
        .min(of_bytes(limits.room_delivery_bytes_per_s))
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
    let mut servers = [Embedded::start(Some(1), None)?, Embedded::start(Some(1), None)?];
    // The small room has a thread of its own, as in another process.
    let (small_runtime, large_runtime) = (runtime()?, runtime()?);
    let small_clients = clients(&servers[0])?;
    let small = small_runtime.block_on(SmallRoom::join(&small_clients))?;
    let mut rows = Vec::new();
    for round in 0..args.rounds as usize {
        let mut places = [Place::SameServer, Place::OtherServer];
        places.rotate_left(round % 2);
        for place in places {
            let runtimes = [&small_runtime, &large_runtime];
            rows.push(measure(args, place, &mut servers, &small, runtimes)?);
        }
    }
    Ok(rows)
}

fn measure(
    args: &Args,
    place: Place,
    servers: &mut [Embedded; 2],
    small: &SmallRoom,
    [small_runtime, large_runtime]: [&Runtime; 2],
) -> Result<Row, RunError> {
    let server = match place {
        Place::SameServer => &servers[0],
        Place::OtherServer => &servers[1],
    };
    let clients = clients(server)?;
    let joining = LargeRoom::join(&clients, args.members, args.senders);
    let large = large_runtime.block_on(joining)?;
    {
        let _in_runtime = large_runtime.enter();
        large.flood();
    }
    // A new room starts with a burst above its rate.
    std::thread::sleep(SETTLE);
    let pid = server.pid();
    let cpu = || nucleus_net::process_cpu_seconds(Some(pid));
    let (begin, deliveries, cpu_before) = (Instant::now(), large.deliveries(), cpu()?);
    let delays = small_runtime.block_on(small.measure(Duration::from_secs(args.seconds)))?;
    let (deliveries, cpu_after) = (large.deliveries() - deliveries, cpu());
    let seconds = begin.elapsed().as_secs_f64();
    let deliveries_per_s = deliveries as f64 / seconds;
    let evidence = Evidence {
        ended: servers.iter_mut().find_map(Embedded::end),
        closed: small.closed() + large.closed(),
        deliveries_per_s,
        allowed_per_s: allowed_per_s(&Limits::default(), args.members, args.senders),
        due: delays.due,
        missing: delays.missing(),
    };
    evidence.check()?;
    Ok(Row {
        place,
        p50: delays.latency.value_at_quantile(0.5),
        p99: delays.latency.value_at_quantile(0.99),
        deliveries_per_s,
        cores: (cpu_after? - cpu_before) / seconds,
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
    let request = TokenRequest::new(Product::ATOM, "large-room", "member");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_only_with_servers_and_load() {
        let good = Evidence {
            ended: None,
            closed: 0,
            deliveries_per_s: 90.0,
            allowed_per_s: 100.0,
            due: 500,
            missing: 0,
        };
        assert!(good.clone().check().is_ok());
        let end = ServerEnd { how: "signal 9".into(), last_lines: Vec::new() };
        let reason = |bad: Evidence| bad.check().unwrap_err().to_string();
        let ended = reason(Evidence { ended: Some(end), ..good.clone() });
        assert!(ended.contains("the server ended during the run: signal 9"), "{ended}");
        assert!(reason(Evidence { closed: 1, ..good.clone() }).contains("1 clients lost"));
        let too_few = reason(Evidence { deliveries_per_s: 89.0, ..good.clone() });
        assert!(too_few.contains("delivered 89 events a second, less than 90 %"), "{too_few}");
        assert!(reason(Evidence { missing: 1, ..good.clone() }).contains("1 of 500 events"));
        assert!(Evidence { due: 0, ..good }.check().is_err());
    }

    #[test]
    fn the_room_s_deliveries_are_the_limit_of_a_large_room() {
        let limits = Limits::default();
        assert_eq!(allowed_per_s(&limits, 980, 5), f64::from(limits.room_deliveries_per_s));
        // Of a smaller room, its senders.
        assert_eq!(allowed_per_s(&limits, 11, 1), 10.0 * f64::from(limits.peer_events_per_s));
    }
}
