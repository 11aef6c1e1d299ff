//! The command lines of the commands that speak with a running server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use nucleus_control::api::Scope;
use nucleus_core::text::parse_duration;

use super::tenant_args::TenantArgs;
use super::values::{parse_ban, parse_scope, parse_time};

use super::history_args::HistoryCommand;
use super::people_args::AdminCommand;

/// Where the server is, and how the answer is printed.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Data directory of a server on this machine
    #[arg(long, value_name = "DIR", default_value = "./data", global = true)]
    pub data_dir: PathBuf,
    /// Address of another server's API, such as `https://nucleus.example.com`; needs an API key in
    /// NUCLEUS_API_KEY. SSL_CERT_FILE may name a file of authorities to trust
    #[arg(long, global = true)]
    pub url: Option<String>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// A command that speaks with a running server.
#[derive(Debug, Subcommand)]
pub enum ApiCommand {
    /// Show how a running server is
    Status {
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the live rooms, or act on one
    #[command(args_conflicts_with_subcommands = true)]
    Rooms {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<RoomsCommand>,
        /// A part of the room's name
        #[arg(long)]
        search: Option<String>,
        /// The tenant's name
        #[arg(long)]
        tenant: Option<String>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the peers of a room
    Peers {
        /// The room's id, as `nucleus rooms` shows it
        room: String,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Remove a peer from its room
    Kick {
        /// The peer's id, as `nucleus peers` shows it
        peer: String,
        /// How long its user may not come back, up to 24h
        #[arg(long, default_value = "0s", value_parser = parse_duration)]
        ban: Duration,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Drop a peer's voice
    Mute {
        /// The peer's id, as `nucleus peers` shows it
        peer: String,
        /// Let the voice pass again
        #[arg(long)]
        off: bool,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Stop a running server: it tells its clients, and ends
    Drain {
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the tenants, or make, change or delete one
    #[command(args_conflicts_with_subcommands = true)]
    Tenants {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<TenantsCommand>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Ban a user from all rooms of a tenant; running sessions of the user end
    Ban {
        /// The user, as in join tokens
        user: String,
        /// The tenant's name
        #[arg(long)]
        tenant: String,
        /// How long the ban lasts [default: until it is lifted]
        #[arg(long = "for", value_name = "TIME", value_parser = parse_ban)]
        time: Option<Duration>,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the banned users, or lift a ban
    #[command(args_conflicts_with_subcommands = true)]
    Bans {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<BansCommand>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Delete what the database holds of a user, because the user asks for it
    Forget {
        /// The user, as in join tokens
        user: String,
        /// The tenant's name
        #[arg(long)]
        tenant: String,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the issuers of join tokens, or make or delete one
    #[command(args_conflicts_with_subcommands = true)]
    Issuers {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<IssuersCommand>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the webhooks, or make, try or delete one
    #[command(args_conflicts_with_subcommands = true)]
    Webhooks {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<WebhooksCommand>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Show what happens in rooms and calls, as it happens, until it is stopped
    Events {
        /// The tenant's name
        #[arg(long)]
        tenant: Option<String>,
        /// Kind of event that is shown, such as `room.ended`; can be repeated [default: all]
        #[arg(long = "type", value_name = "KIND")]
        kinds: Vec<String>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the live calls, or end one
    #[command(args_conflicts_with_subcommands = true)]
    Calls {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<CallsCommand>,
        /// The tenant's name
        #[arg(long)]
        tenant: Option<String>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Show which rooms, sessions or calls there were, those that began last first
    History {
        /// What is shown
        #[command(subcommand)]
        command: HistoryCommand,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Manage who signs in to the dashboard
    Admin {
        /// The act.
        #[command(subcommand)]
        command: AdminCommand,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Show who did what, the newest first
    Audit {
        /// Most entries, 1 to 200
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// List the API keys, or make or revoke one
    #[command(args_conflicts_with_subcommands = true)]
    Keys {
        /// The act; absent: the list.
        #[command(subcommand)]
        command: Option<KeysCommand>,
        /// Where the server is.
        #[command(flatten)]
        api: ApiArgs,
    },
}

/// An act on a room. Each takes the room's id, as `nucleus rooms` shows it.
#[derive(Debug, Subcommand)]
pub enum RoomsCommand {
    /// Show the figures of a room's peers
    Stats {
        /// The room's id
        room: String,
    },
    /// End a room for everybody
    Close {
        /// The room's id
        room: String,
    },
    /// Let nobody else into a room
    Lock {
        /// The room's id
        room: String,
    },
    /// Let others into a room again
    Unlock {
        /// The room's id
        room: String,
    },
    /// Leave a room out of lobbies
    Hide {
        /// The room's id
        room: String,
    },
    /// Show a room in lobbies again
    Show {
        /// The room's id
        room: String,
    },
}

/// An act on a tenant.
#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// Make a tenant
    Create {
        /// The name that join tokens carry
        name: String,
        /// What is set.
        #[command(flatten)]
        settings: TenantArgs,
    },
    /// Change a tenant; what is not named stays
    Set {
        /// The tenant's name
        name: String,
        /// What is set.
        #[command(flatten)]
        settings: TenantArgs,
    },
    /// Delete a tenant with its keys; running sessions stay
    Delete {
        /// The tenant's name
        name: String,
    },
}

/// An act on a webhook.
#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Tell an address of events; prints the secret for its receiver, which is shown once
    Create {
        /// What the webhook is for, for people
        name: String,
        /// Where the events are sent
        address: String,
        /// Name of the tenant whose events are told [default: all tenants, or that of the API key]
        #[arg(long)]
        tenant: Option<String>,
        /// A kind of event that is told, such as `room.ended`; can be repeated [default: all]
        #[arg(long = "event", value_name = "KIND")]
        events: Vec<String>,
    },
    /// Delete a webhook with its deliveries
    Delete {
        /// The webhook's id
        id: String,
    },
    /// Tell a webhook of events again
    On {
        /// The webhook's id
        id: String,
    },
    /// Tell a webhook of no more events
    Off {
        /// The webhook's id
        id: String,
    },
    /// Send a webhook an event of the kind `webhook.test`, and show its answer
    Test {
        /// The webhook's id
        id: String,
    },
    /// List what a webhook was told, the newest first
    Deliveries {
        /// The webhook's id
        id: String,
    },
    /// Send again at once what a webhook has not taken
    #[command(group = ArgGroup::new("what").required(true).args(["since", "delivery"]))]
    Replay {
        /// The webhook's id
        id: String,
        /// From when on, as in 2026-11-30T08:00:00Z
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        since: Option<String>,
        /// One delivery, also if it was taken
        #[arg(long, value_name = "ID")]
        delivery: Option<String>,
    },
}

/// An act on a call.
#[derive(Debug, Subcommand)]
pub enum CallsCommand {
    /// End a call for everybody
    End {
        /// The call's id, as `nucleus calls` shows it
        call: String,
    },
}

/// An act on a ban.
#[derive(Debug, Subcommand)]
pub enum BansCommand {
    /// Let the user join again
    Lift {
        /// The ban's id, as `nucleus bans` shows it
        id: String,
    },
}

/// An act on an issuer.
#[derive(Debug, Subcommand)]
pub enum IssuersCommand {
    /// Trust the signatures of another key, or of the keys at an address, for one tenant
    #[command(group = ArgGroup::new("keys").required(true).args(["public_key_file", "jwks_url"]))]
    Create {
        /// What the issuer is, for people
        name: String,
        /// The tenant's name
        #[arg(long)]
        tenant: String,
        /// File of a public key, PEM
        #[arg(long, value_name = "FILE", requires = "algorithm")]
        public_key_file: Option<PathBuf>,
        /// Algorithm of the key
        #[arg(long, value_name = "EdDSA|ES256|RS256")]
        algorithm: Option<String>,
        /// Id that tokens must name as `kid` [default: they may name any]
        #[arg(long, requires = "public_key_file")]
        kid: Option<String>,
        /// Address at which the issuer publishes its keys (JWK Set)
        #[arg(long, value_name = "URL")]
        jwks_url: Option<String>,
        /// Audience that the tokens must name [default: that of the server]
        #[arg(long)]
        audience: Option<String>,
    },
    /// Delete an issuer: its tokens are refused from then on
    Delete {
        /// The issuer's id
        id: String,
    },
}

/// An act on an API key.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it; it is shown only now
    Create {
        /// What the key is for
        #[arg(long)]
        name: String,
        /// What the key allows: read, operate, tokens, manage; may be given several times
        #[arg(long = "scope", required = true, value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Name of the tenant to which the key is limited [default: the whole server]
        #[arg(long)]
        tenant: Option<String>,
        /// From when on the key is refused, as in 2027-01-01T00:00:00Z [default: never]
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires: Option<String>,
    },
    /// Refuse a key from now on
    Revoke {
        /// The key's id, as `nucleus keys` shows it
        id: String,
    },
}

impl ApiCommand {
    /// Returns where the server is.
    pub(super) fn args(&self) -> &ApiArgs {
        match self {
            Self::Status { api }
            | Self::Rooms { api, .. }
            | Self::Peers { api, .. }
            | Self::Kick { api, .. }
            | Self::Mute { api, .. }
            | Self::Drain { api }
            | Self::Tenants { api, .. }
            | Self::Ban { api, .. }
            | Self::Bans { api, .. }
            | Self::Forget { api, .. }
            | Self::Issuers { api, .. }
            | Self::Webhooks { api, .. }
            | Self::Events { api, .. }
            | Self::Calls { api, .. }
            | Self::History { api, .. }
            | Self::Admin { api, .. }
            | Self::Audit { api, .. }
            | Self::Keys { api, .. } => api,
        }
    }
}
