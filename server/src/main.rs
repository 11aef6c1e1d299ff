//! `nucleus`: reads the command line, starts what it asks for and maps failures to exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use nucleus_server::edge::quic;
use nucleus_server::start::cli::{Cli, Command, ServeArgs, TokenArgs};
use nucleus_server::start::config::{Config, DEFAULT_TOML};
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::start::logging;
use nucleus_server::start::run::{self, Listening};
use nucleus_server::start::sockets::Sockets;
use nucleus_server::token::MintError;

/// A failure as the shell sees it: one line on stderr and a code.
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// Whoever started the server must change something: flags, file, ports, data directory.
    fn usage(error: impl Display) -> Self {
        Self { code: 2, line: error.to_string() }
    }

    /// It started and then broke.
    fn runtime(error: impl Display) -> Self {
        Self { code: 1, line: error.to_string() }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().into_command() {
        Command::Serve(args) => serve(args),
        Command::Token(args) => token(args),
        Command::Config => answer(DEFAULT_TOML),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
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
    let data = DataDir::open(&config.data_dir).map_err(Failure::usage)?;
    let sockets = Sockets::bind(&config).map_err(Failure::usage)?;
    let runtime = quic::sessions(config.shards).map_err(Failure::runtime)?;
    let announce = |listening| announce(listening, &config);
    let serving = async {
        let stop = stop_signal()?;
        run::run(config.clone(), &data, sockets, announce, stop).await
    };
    runtime.block_on(serving).map_err(|error| match error.is_configuration() {
        true => Failure::usage(error),
        false => Failure::runtime(error),
    })
}

/// The line that scripts wait for, and for a person the way to a first join.
fn announce(on: Listening, config: &Config) {
    let http = on.http.map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    tracing::info!(session = %on.session, realtime = %on.realtime, http, "ready");
    if config.tokens.is_none() {
        let dir = config.data_dir.display();
        tracing::info!(
            "development mode; a first join token: \
             cargo run --release -- token --product atom --tenant demo --user ada --data-dir {dir}"
        );
    }
}

/// Resolves at the first SIGTERM or SIGINT; from then on a second one ends the process at once.
/// Signals count from the moment of this call.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping: every peer is told; a second signal stops at once");
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            std::process::exit(130);
        });
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn token(args: TokenArgs) -> Result<(), Failure> {
    let data = DataDir::open(&args.data_dir).map_err(Failure::usage)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::runtime)?;
    let token = data.minter().mint(args.into(), now.as_secs()).map_err(|error| match error {
        MintError::Refused(_) => Failure::usage(error),
        MintError::Signing => Failure::runtime(error),
    })?;
    answer(&format!("{token}\n"))
}

/// A command's own answer, alone on stdout.
fn answer(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::runtime)
}

/// Nobody is left to tell when stderr is closed too.
fn report(line: &str) {
    let _closed = writeln!(io::stderr(), "nucleus: {line}");
}
