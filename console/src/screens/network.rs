//! What a network must let through, and whether the server is reached.

use askama::Template;

use super::parts::PageVerdict;
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::shell::PageShell;

/// The port table and the addresses of the server.
#[derive(Clone, Debug, Template)]
#[template(path = "network.html")]
pub struct NetworkPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// Whether the ports are reached.
    pub verdict: PageVerdict,
    /// The name that clients are given.
    pub host: ShownName,
    /// The ports that must be open.
    pub ports: Vec<PortRow>,
    /// The addresses that the server listens at, and its other facts; empty: the reader sees one tenant alone.
    pub addresses: Vec<AddressRow>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// The protocol and the port, as `UDP 5055`.
    pub port: String,
    /// What goes there.
    pub purpose: String,
    /// The direction, as seen from the headset.
    pub direction: String,
    /// What happens when it is closed.
    pub without: String,
    /// Whether the server listens there.
    pub mark: Mark,
}

/// A fact of the server's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRow {
    /// What it is.
    pub title: String,
    /// The value.
    pub value: Markup,
}

impl NetworkPage {
    /// The port table as text, for a message to the owner of a network.
    pub(crate) fn table_text(&self) -> String {
        let mut text = format!("Please open for {} (outbound):", self.host.plain());
        for port in &self.ports {
            text.push_str(&format!("\n- {}: {}. {}", port.port, port.purpose, port.without));
        }
        text
    }
}
