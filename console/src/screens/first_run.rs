//! The first steps, until somebody has joined.

use askama::Template;

use super::parts::LabelledMark;
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;

/// What to do first. It stands in place of the overview while nobody has ever joined.
#[derive(Clone, Debug, Template)]
#[template(path = "first_run.html")]
pub struct FirstRunPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The server's public name.
    pub host: ShownName,
    /// How long the server runs.
    pub uptime: Quantity,
    /// The data directory.
    pub data_dir: ShownName,
    /// The address of the demo page; absent: the server has none, as in production.
    pub demo_href: Option<String>,
    /// The command that makes a join token; absent: the reader cannot make one.
    pub token_command: Option<String>,
    /// What a server needs for visitors: ports, database, certificate.
    pub checks: Vec<LabelledMark>,
}
