//! The command line: its syntax, and the text of a usage error. `main` carries the commands out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nucleus_core::text::parse_duration;

use super::config::{
    HttpAddr, LogFormat, Overrides, Tick, parse_shards, parse_socket_addr, parse_tick,
};
use crate::commands::ApiCommand;
use crate::token::{DEFAULT_ROLE, Product, TokenRequest};

/// Relay server for shared XR rooms: sessions on UDP 5055, poses and voice on UDP 5056.
#[derive(Debug, Parser)]
#[command(name = "nucleus", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// A command of `nucleus`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server; the default command
    Serve(ServeArgs),
    /// Print a join token signed with the data directory's key
    Token(TokenArgs),
    /// Print the documented default configuration
    Config,
    /// Copy what makes a server (keys, bans, database) to a new directory; the server may run
    Backup(BackupArgs),
    /// Make a data directory from a backup
    Restore(RestoreArgs),
    /// A command that speaks with a running server.
    #[command(flatten)]
    Api(ApiCommand),
}

/// Flags of `nucleus serve`. A flag wins over the configuration file.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration file, TOML (see `nucleus config`)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// UDP address of the session plane; port 0 picks a free port [default: all addresses, port
    /// 5055]
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_socket_addr)]
    pub session: Option<SocketAddr>,
    /// UDP address of the realtime plane; port 0 picks a free port [default: all addresses, port
    /// 5056]
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_socket_addr)]
    pub realtime: Option<SocketAddr>,
    /// TCP address of health and metrics, or off [default: 127.0.0.1:8055, or a free port when
    /// taken]
    #[arg(long, value_name = "ADDR:PORT|off")]
    pub http: Option<HttpAddr>,
    /// Number of realtime threads, 1 to 64 [default: one less than the cores]
    #[arg(long, value_name = "N", value_parser = parse_shards)]
    pub shards: Option<u16>,
    /// How long a realtime thread gathers messages before it sends them: auto, or 1ms to 50ms
    /// [default: auto]
    #[arg(long, value_name = "auto|5ms", value_parser = parse_tick)]
    pub tick: Option<Tick>,
    /// Directory of the certificate and the keys; made if it does not exist [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Format of the log on stderr [default: pretty]
    #[arg(long, value_name = "pretty|json")]
    pub log_format: Option<LogFormat>,
}

/// Arguments of `nucleus backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Directory to make
    pub to: PathBuf,
    /// Directory of the server
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// Arguments of `nucleus restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Directory that `nucleus backup` has made
    pub from: PathBuf,
    /// Directory to make for a server
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// Flags of `nucleus token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Product that the token is for: atom, assist, or another one that the server's configuration
    /// lists
    #[arg(long, alias = "app", value_parser = product)]
    pub product: Product,
    /// Customer that the user belongs to
    #[arg(long)]
    pub tenant: String,
    /// User the token is for
    #[arg(long)]
    pub user: String,
    /// Room that the token admits to, or a prefix of room names that ends with * [default: every
    /// room of the tenant]
    #[arg(long)]
    pub room: Option<String>,
    /// Role in the room: host, presenter, participant, observer, expert or technician; any other
    /// name has the rights of a participant
    #[arg(long, default_value = DEFAULT_ROLE)]
    pub role: String,
    /// Right in addition to the role's: state.room, state.objects or moderate; may be given several
    /// times
    #[arg(long = "grant", value_name = "GRANT")]
    pub grants: Vec<String>,
    /// Name that others see [default: the value of --user]
    #[arg(long)]
    pub name: Option<String>,
    /// Print this many tokens, one a line, for the users USER-1, USER-2 and so on: 1 to 100000
    #[arg(long, value_name = "N", conflicts_with = "name", value_parser = batch())]
    pub batch: Option<u32>,
    /// How long the token is valid, 1s to 366d
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Directory of the signing key; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The most tokens of a batch: the most headsets that `loadgen capacity` tries by default. They are
/// about 50 MB of text.
const MAX_BATCH: u32 = 100_000;

/// Reads the size of a batch.
fn batch() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MAX_BATCH))
}

/// Reads a product's name.
fn product(name: &str) -> Result<Product, &'static str> {
    Product::parse(name)
        .ok_or("a product's name has 1 to 15 characters: a to z, 0 to 9 and -, first a letter")
}

impl Cli {
    /// Returns the command, which is [`Command::Serve`] if the command line names none.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl ServeArgs {
    /// Splits the flags into the path of the configuration file and the values that override it.
    #[must_use]
    pub fn into_overrides(self) -> (Option<PathBuf>, Overrides) {
        let overrides = Overrides {
            session: self.session,
            realtime: self.realtime,
            http: self.http,
            shards: self.shards,
            tick: self.tick,
            data_dir: self.data_dir,
            log_format: self.log_format,
        };
        (self.config, overrides)
    }
}

/// Returns the text of a usage error as one line. clap's own text has three to five.
#[must_use]
pub fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    // The first paragraph is the mistake; tips and the usage follow.
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let mistake = lines.collect::<Vec<_>>().join(" ");
    let mistake = mistake.strip_prefix("error: ").unwrap_or(&mistake);
    format!("{} (see nucleus --help)", mistake.replace(char::is_control, "?"))
}

impl From<TokenArgs> for TokenRequest {
    fn from(args: TokenArgs) -> Self {
        Self {
            product: args.product,
            tenant: args.tenant,
            user: args.user,
            name: args.name,
            room: args.room,
            role: args.role,
            grants: args.grants,
            ttl: args.ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(Cli::into_command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        for line in ["nucleus --shards 2 --http off", "nucleus serve --shards 2 --http off"] {
            let Ok(Command::Serve(args)) = parse(line) else { panic!("{line}") };
            let (file, flags) = args.into_overrides();
            assert_eq!((file, flags.shards, flags.http), (None, Some(2), Some(HttpAddr::Off)));
        }
        assert!(matches!(parse("nucleus"), Ok(Command::Serve(_))));
    }

    #[test]
    fn every_flag_of_the_contract() {
        let line = "nucleus serve --config f.toml --session 0.0.0.0:0 --realtime [::]:0 \
                    --http 127.0.0.1:0 --shards 4 --tick 5ms --data-dir d --log-format json";
        let Ok(Command::Serve(args)) = parse(line) else { panic!("refused") };
        let (file, flags) = args.into_overrides();
        assert_eq!(file, Some("f.toml".into()));
        assert_eq!(flags.tick, Some(Tick::Fixed(Duration::from_millis(5))));
        assert_eq!(flags.log_format, Some(LogFormat::Json));
        assert_eq!(flags.data_dir, Some("d".into()));
    }

    #[test]
    fn tokens() {
        let line =
            "nucleus token --product assist --tenant t --user u --room r* --role expert --ttl 2m";
        let Ok(Command::Token(args)) = parse(line) else { panic!("refused") };
        let request = TokenRequest::from(args);
        assert_eq!((request.product, &*request.role), (Product::ASSIST, "expert"));
        assert_eq!(request.room.as_deref(), Some("r*"));
        assert_eq!(request.ttl, Duration::from_secs(120));
        assert!(parse("nucleus token --app assist --tenant t --user u").is_ok(), "the older name");
        assert!(parse("nucleus token --product vr-training --tenant t --user u").is_ok());
        assert!(parse("nucleus token --product VR --tenant t --user u").is_err());
        assert!(parse("nucleus token --product atom --tenant t").is_err());
        let batch = "nucleus token --product atom --tenant t --user u --batch";
        for (size, is_right) in [("1", true), ("100000", true), ("0", false), ("100001", false)] {
            assert_eq!(parse(&format!("{batch} {size}")).is_ok(), is_right, "{size}");
        }
        assert!(parse(&format!("{batch} 2 --name n")).is_err(), "one name for two users");
    }

    #[test]
    fn bad_values_end_with_code_2() {
        for (line, named) in [
            ("nucleus --tick 60ms", "--tick"),
            ("nucleus --session here", "--session"),
            ("nucleus --session [::]:70000", "0 to 65535"),
            ("nucleus serve --shards many", "--shards"),
            ("nucleus serve --shards 70000", "`70000` is not a number of threads: write 1 to 64"),
            ("nucleus --log-format xml", "--log-format"),
            ("nucleus --what", "--what"),
            ("nucleus fly", "fly"),
            ("nucleus token --product VR --tenant t --user u", "a to z, 0 to 9"),
            ("nucleus token --product atom", "--tenant <TENANT> --user <USER>"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = usage_line(&error);
            assert!(!text.contains('\n') && text.contains(named), "{line}: {text}");
        }
    }
}
