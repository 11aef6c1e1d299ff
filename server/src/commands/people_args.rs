//! The command line of `nucleus admin`.

use clap::Subcommand;

/// An act on the people who sign in to the dashboard.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make a person, and print a link to set the password; it works once, for an hour
    Create {
        /// The email address
        email: String,
        /// The name, for people [default: the email address]
        #[arg(long)]
        name: Option<String>,
        /// What the person may do: super_admin, partner_admin, operator or viewer [default: super_admin, with
        /// --tenant partner_admin]
        #[arg(long)]
        role: Option<String>,
        /// Name of the tenant that the person sees [default: the whole server]
        #[arg(long)]
        tenant: Option<String>,
        /// Read the password from stdin, and print no link
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the people
    List,
    /// Let a person sign in no more; all sessions of the person end
    Disable {
        /// The email address
        email: String,
    },
    /// Let a person sign in again
    Enable {
        /// The email address
        email: String,
    },
    /// Print a link to set a new password
    Reset {
        /// The email address
        email: String,
        /// Also take away the authenticator app, for a person who has lost it
        #[arg(long)]
        totp: bool,
    },
    /// Give a person another role; all sessions of the person end
    Role {
        /// The email address
        email: String,
        /// super_admin, partner_admin, operator or viewer
        role: String,
    },
    /// Delete a person
    Delete {
        /// The email address
        email: String,
    },
}
