//! Says where a host is before anything is sent to it.

use std::net::IpAddr;
use std::time::Duration;

use super::public::is_public;

/// Longest search for a host's name. A person waits for the answer.
const LOOK_UP_TIME: Duration = Duration::from_secs(3);

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostPlace {
    /// It has an address of the public internet.
    Public,
    /// All its addresses are of some network inside.
    Inside,
    /// Its name is not found, or not in time.
    Unknown,
}

/// Returns where the host of an address is. That it is public now says nothing of later: each request looks
/// again.
pub(crate) async fn look_up(host: &str) -> HostPlace {
    if is_localhost(host) {
        return HostPlace::Inside;
    }
    let of = |ip| if is_public(ip) { HostPlace::Public } else { HostPlace::Inside };
    if let Some(ip) = literal(host) {
        return of(ip);
    }
    let found = tokio::time::timeout(LOOK_UP_TIME, tokio::net::lookup_host((host, 443))).await;
    let Ok(Ok(found)) = found else { return HostPlace::Unknown };
    let mut place = HostPlace::Unknown;
    for addr in found {
        match of(addr.ip()) {
            HostPlace::Public => return HostPlace::Public,
            other => place = other,
        }
    }
    place
}

/// Whether everybody knows where a host is, without asking the network for its name.
pub(crate) fn is_known_by_itself(host: &str) -> bool {
    literal(host).is_some() || is_localhost(host)
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether a name is that of the machine itself (RFC 6761).
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_inside_are_seen_without_a_search() {
        for inside in ["127.0.0.1", "[::1]", "10.1.2.3", "localhost", "LOCALHOST.", "a.localhost"] {
            assert!(is_known_by_itself(inside), "{inside}");
            assert_eq!(look_up(inside).await, HostPlace::Inside, "{inside}");
        }
        assert_eq!(look_up("1.1.1.1").await, HostPlace::Public);
        assert!(!is_known_by_itself("no-such-host.invalid"));
        assert_eq!(look_up("no-such-host.invalid").await, HostPlace::Unknown);
    }
}
