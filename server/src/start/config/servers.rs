//! `[servers]`: where clients find this server and others.

use nucleus_protocol::limits::{MAX_ENDPOINT, MAX_ENDPOINTS};
use serde::Deserialize;

use super::value::ValueError;

/// The servers that clients are told of. Each endpoint is `host:port`; a list has at most four.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServersSettings {
    /// Where clients that lost their session may enter again. Empty: where they were.
    pub entries: Vec<String>,
    /// Servers to try while this one is full or shuts down.
    pub others: Vec<String>,
    /// If not empty, this server takes no joins, and sends clients to these servers.
    pub moved_to: Vec<String>,
}

impl ServersSettings {
    /// Checks the form of every endpoint.
    ///
    /// # Errors
    ///
    /// The first endpoint that is no `host:port`, or a list that is too long.
    pub(super) fn check(&self) -> Result<(), ValueError> {
        let lists =
            [("entries", &self.entries), ("others", &self.others), ("moved_to", &self.moved_to)];
        for (name, list) in lists {
            if list.len() > MAX_ENDPOINTS {
                return Err(ValueError::new(format!(
                    "servers.{name} has {} endpoints, and at most {MAX_ENDPOINTS} are allowed",
                    list.len()
                )));
            }
            if let Some(bad) = list.iter().find(|endpoint| !is_endpoint(endpoint)) {
                return Err(ValueError::new(format!(
                    "servers.{name}: {bad:?} is no endpoint; write host:port in ASCII, such as \
                     nucleus.example.com:5055, xn--mnchen-3ya.de:5055 or [2001:db8::1]:5055"
                )));
            }
        }
        Ok(())
    }
}

/// Returns whether a text is a host and a port that is not 0. An IPv6 address needs brackets.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    };
    let is_port =
        port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    text.len() <= MAX_ENDPOINT && is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        for good in ["a:1", "nucleus.example.com:5055", "192.0.2.1:65535", "[2001:db8::1]:5055"] {
            assert!(is_endpoint(good), "{good}");
        }
        let long = format!("{}:1", "a".repeat(MAX_ENDPOINT));
        for bad in [
            "",
            ":1",
            "a",
            "a:0",
            "a:65536",
            "a:b",
            "a:+80",
            "münchen.de:1",
            "2001:db8::1:5055",
            "[a]:1",
            "a b:1",
            &long,
        ] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn a_list_has_at_most_four() {
        let list = |n: usize| ServersSettings {
            others: vec!["a:1".to_owned(); n],
            ..ServersSettings::default()
        };
        assert!(list(4).check().is_ok());
        let error = list(5).check().unwrap_err().to_string();
        assert!(error.contains("servers.others has 5 endpoints"), "{error}");
    }
}
