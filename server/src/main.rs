//! `nucleus`: reads the command line, runs its command and maps failures to exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use nucleus_core::certificates::pins_end;
use nucleus_core::limits;
use nucleus_protocol::session::Features;
use nucleus_server::commands::{self, ApiCommand};
use nucleus_server::edge::quic;
use nucleus_server::start::cli::{
    BackupArgs, Cli, Command, RestoreArgs, ServeArgs, TokenArgs, usage_line,
};
use nucleus_server::start::config::{Config, DEFAULT_TOML};
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::start::logging;
use nucleus_server::start::run::{self, Listening, Surroundings};
use nucleus_server::start::signals::ProcessSignals;
use nucleus_server::start::sockets::Sockets;
#[cfg(feature = "otel")]
use nucleus_server::start::telemetry;
use nucleus_server::token::{MintError, Product, TokenRequest};

/// Why the process fails: one line for stderr and the exit code.
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// A failure that the operator can mend: a flag, a file, a port or the data directory.
    fn usage(error: impl Display) -> Self {
        Self { code: 2, line: error.to_string() }
    }

    /// A failure of the running server or of the system.
    fn runtime(error: impl Display) -> Self {
        Self { code: 1, line: error.to_string() }
    }
}

fn main() -> ExitCode {
    let result = match Cli::try_parse().map(Cli::into_command) {
        Ok(Command::Serve(args)) => serve(args),
        Ok(Command::Token(args)) => token(args),
        Ok(Command::Config) => print(DEFAULT_TOML),
        Ok(Command::Api(command)) => ask(command),
        Ok(Command::Backup(BackupArgs { to, data_dir })) => backup(&data_dir, &to),
        Ok(Command::Restore(RestoreArgs { from, data_dir })) => {
            let restored = commands::restore(&from, &data_dir);
            restored.map_err(Failure::runtime).and_then(|text| print(&text))
        }
        // The text of --help or --version.
        Err(text) if !text.use_stderr() => text.exit(),
        Err(error) => Err(Failure::usage(usage_line(&error))),
    };
    match result {
        Ok(()) => {
            logging::finish();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            report(&failure.line);
            ExitCode::from(failure.code)
        }
    }
}

fn serve(args: ServeArgs) -> Result<(), Failure> {
    let (file, flags) = args.into_overrides();
    let config = Config::load(file.as_deref(), flags).map_err(Failure::usage)?;
    logging::init(config.log_format).map_err(Failure::usage)?;
    check_descriptors(&config)?;
    let threads = |error| Failure::runtime(format!("cannot start the server's threads: {error}"));
    let ProcessSignals { stop, reload } = ProcessSignals::catch().map_err(threads)?;
    let data = DataDir::open(&config.data_dir).map_err(Failure::usage)?;
    let sockets = Sockets::bind(&config).map_err(Failure::usage)?;
    let runtime = quic::sessions(config.shards).map_err(threads)?;
    let announce = |listening| announce(listening, &config);
    let surroundings = Surroundings { reload, ..Surroundings::default() };
    // The sender lives as long as the process.
    let stopped = async { drop(stop.await) };
    let serving = run::run_in(surroundings, config.clone(), &data, sockets, announce, stopped);
    let served = runtime.block_on(serving);
    #[cfg(feature = "otel")]
    telemetry::finish();
    // Does not wait for a thread that hangs in a call to the disk.
    runtime.shutdown_background();
    served.map_err(|error| match error.is_configuration() {
        true => Failure::usage(error),
        false => Failure::runtime(error),
    })
}

/// Raises the limit of open files as far as the system permits, and checks that it suffices.
fn check_descriptors(config: &Config) -> Result<(), Failure> {
    // If the limit cannot be raised, the check below decides.
    let _raised = nucleus_net::raise_file_limit();
    let needed = limits::HTTP_CONNECTIONS
        + limits::SERVER_DESCRIPTORS
        + (limits::SHARD_DESCRIPTORS + config.session_also.len()) * usize::from(config.shards);
    nucleus_net::probe_descriptors(needed).map_err(|error| {
        Failure::usage(format!(
            "this process may not open {needed} more files and sockets, which the server needs: \
             {error}; raise the limit (ulimit -n, or LimitNOFILE in a systemd unit)"
        ))
    })
}

/// Logs `ready`, which scripts wait for. In development mode also logs how to get a join token.
fn announce(listening: Listening, config: &Config) {
    let Listening { session, session_also, realtime, http, https, demo } = listening;
    let page = http.filter(|_| demo).map(|addr| format!("http://{addr}/demo"));
    let http = http.map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    for also in session_also {
        tracing::info!(%also, "sessions are accepted at this address, too");
    }
    if let Some(https) = https {
        tracing::info!(%https, "the API is served over TLS");
    }
    tracing::info!(%session, %realtime, http, "ready");
    if !config.servers.moved_to.is_empty() {
        let to = config.servers.moved_to.join(", ");
        tracing::warn!(to, "this server takes no joins: servers.moved_to sends clients elsewhere");
    }
    if config.hide_features != Features::NONE {
        tracing::warn!("this server hides features of the protocol: hide_features");
    }
    if config.tokens.is_none() {
        let dir = config.data_dir.display();
        tracing::info!(
            "development mode; to get a join token: \
             cargo run --release -- token --product atom --tenant demo --user ada --data-dir {dir}"
        );
    }
    if let Some(page) = page {
        tracing::info!(
            "to meet yourself in a room, open this page in two tabs of a browser: {page}"
        );
    }
}

/// Prints a join token, or a batch of them, one a line.
fn token(args: TokenArgs) -> Result<(), Failure> {
    let data = DataDir::open(&args.data_dir).map_err(Failure::usage)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::runtime)?.as_secs();
    let batch = args.batch;
    let request = TokenRequest::from(args);
    let numbered = |number| format!("{}-{number}", request.user);
    let users: Box<dyn Iterator<Item = String>> = match batch {
        Some(size) => Box::new((1..=size).map(numbered)),
        None => Box::new(std::iter::once(request.user.clone())),
    };
    let minter = data.minter();
    let sign = |user: String| {
        let token = minter.mint(TokenRequest { user, ..request.clone() }, now);
        token.map_err(|error| match error {
            MintError::Refused(_) | MintError::NotPlain(..) => Failure::usage(error),
            MintError::Signing => Failure::runtime(error),
        })
    };
    // The last user has the longest name: a batch whose names become too long is refused as a whole.
    batch.map(|size| sign(numbered(size))).transpose()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for user in users {
        let token = sign(user)?;
        writeln!(out, "{token}").map_err(unwritten)?;
    }
    out.flush().map_err(unwritten)?;
    note_token(&request, now);
    Ok(())
}

/// Says on stderr what limits a token.
fn note_token(request: &TokenRequest, now: u64) {
    let product = &request.product;
    if ![Product::ATOM, Product::ASSIST].contains(product) {
        report(&format!(
            "note: a server accepts the token only if its configuration lists the product: \
             products = [\"{product}\"]"
        ));
    }
    let pins_ttl = pins_end(now).saturating_sub(now);
    if request.ttl.as_secs() > pins_ttl {
        report(&format!(
            "note: the token names the development certificates of the next {} days; after that \
             a client needs a new token, or a server with [tls]",
            pins_ttl / 86_400
        ));
    }
}

/// Asks a running server.
fn ask(command: ApiCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(Failure::runtime)?.block_on(commands::run(command));
    print(&answer.map_err(Failure::runtime)?)
}

/// Copies a data directory.
fn backup(data: &Path, to: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let saved = runtime.map_err(Failure::runtime)?.block_on(commands::backup(data, to));
    print(&saved.map_err(Failure::runtime)?)
}

/// Writes a command's output to stdout.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(unwritten)
}

/// Returns the failure of output that cannot be written.
fn unwritten(error: io::Error) -> Failure {
    Failure::runtime(format!("cannot write to stdout: {error}"))
}

/// Writes one line to stderr.
fn report(line: &str) {
    logging::write_line(&format!("nucleus: {line}"));
}
