//! Which web pages may hold sessions, by their origin.
//!
//! A browser names the origin of the page that opens a session, such as `https://app.example.com`, and
//! a page cannot change it. So a page of somebody else cannot use a token that it got hold of, nor
//! send a person's browser to a server behind a firewall. Programs that are no browser name no origin,
//! or any they like: they are admitted by their token alone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Most origins in one list. Each new session of a browser is compared with all of them. A server of
/// many customers has a list for each.
pub const MAX_ORIGINS: usize = 64;

/// Admits every page.
pub const ANY: &str = "*";

/// Admits the pages of programs on the same machine as the browser.
pub const LOOPBACK: &str = "loopback";

/// An origin or a group of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginRule {
    Any,
    Loopback,
    /// In lower case, as browsers send it.
    Exact(String),
}

/// A list of origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginList(Vec<OriginRule>);

/// Why a text is no list of origins: a sentence about the item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOrigin(pub String);

impl OriginList {
    /// Reads a list. An item is `https://host`, `https://host:port`, the same with `http`, [`ANY`] or
    /// [`LOOPBACK`]. Upper case, the port that the scheme has anyway, and one slash at the end make
    /// no difference.
    ///
    /// # Errors
    ///
    /// The first item that is none of these, or a list with more than [`MAX_ORIGINS`] items.
    pub fn parse<T: AsRef<str>>(items: &[T]) -> Result<Self, BadOrigin> {
        if items.len() > MAX_ORIGINS {
            let text = format!("{} origins, and at most {MAX_ORIGINS} are allowed", items.len());
            return Err(BadOrigin(text));
        }
        items.iter().map(|item| rule(item.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// The pages of programs on the same machine as the browser.
    pub fn loopback() -> Self {
        Self(vec![OriginRule::Loopback])
    }

    fn admits(&self, origin: &str) -> bool {
        self.0.iter().any(|rule| match rule {
            OriginRule::Any => true,
            OriginRule::Loopback => is_loopback(origin),
            OriginRule::Exact(exact) => exact.eq_ignore_ascii_case(origin),
        })
    }
}

/// The origins of all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// The pages of the tenants that have no list of their own.
    pub others: OriginList,
    /// The pages of each tenant that has a list of its own.
    pub tenants: BTreeMap<String, OriginList>,
}

impl Origins {
    /// Returns whether a page of `origin` may hold sessions of `tenant`.
    pub fn admits(&self, tenant: &str, origin: &str) -> bool {
        self.tenants.get(tenant).unwrap_or(&self.others).admits(origin)
    }

    /// Returns whether a page of `origin` may hold sessions of at least one tenant. It decides before
    /// the page has shown a token.
    pub fn admits_for_somebody(&self, origin: &str) -> bool {
        self.others.admits(origin) || self.tenants.values().any(|list| list.admits(origin))
    }
}

fn rule(item: &str) -> Result<OriginRule, BadOrigin> {
    match item {
        ANY => Ok(OriginRule::Any),
        LOOPBACK => Ok(OriginRule::Loopback),
        _ => as_browsers_send(item).map(OriginRule::Exact).ok_or_else(|| {
            BadOrigin(format!(
                "{item:?} is no origin; write https://host or https://host:port without a path, \
                 \"{LOOPBACK}\", or \"{ANY}\" for every page"
            ))
        }),
    }
}

/// Brings an origin of the configuration into the form in which browsers send it: in lower case,
/// without the port of its scheme, and without a slash at the end. `None`: it is none.
fn as_browsers_send(item: &str) -> Option<String> {
    let lower = item.to_ascii_lowercase();
    let text = lower.strip_suffix('/').unwrap_or(&lower);
    let usual = if text.starts_with("https:") { ":443" } else { ":80" };
    let text = text.strip_suffix(usual).unwrap_or(text);
    split(text).map(|_| text.to_owned())
}

/// Splits an origin into its host and its port. `None`: it is none, or its port is its scheme's own,
/// which browsers leave out.
fn split(origin: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    // The colons in the brackets of an IPv6 address come before no port.
    let colon = rest.rfind(':').filter(|at| !rest[*at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => (&rest[..at], Some(port(&rest[at + 1..])?)),
        None => (rest, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        // Browsers write an address in its shortest form.
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_string() == address),
        None => {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    };
    (is_host && port != Some(usual)).then_some((host, port))
}

/// Reads a port as browsers write it: without a sign, and without zeros in front.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| *port != 0 && port.to_string() == text)
}

fn is_loopback(origin: &str) -> bool {
    let Some((host, _)) = split(origin) else { return false };
    host.eq_ignore_ascii_case("localhost")
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> OriginList {
        OriginList::parse(items).unwrap()
    }

    #[test]
    fn a_page_is_admitted_by_its_whole_origin() {
        let list = list(&["https://App.example.com", "http://intranet:8080"]);
        for good in ["https://app.example.com", "http://intranet:8080"] {
            assert!(list.admits(good), "{good}");
        }
        for bad in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://evil.com",
            "https://app.example.com.evil.com",
            "https://evil-app.example.com",
            "http://intranet",
            "null",
            "",
        ] {
            assert!(!list.admits(bad), "{bad}");
        }
    }

    #[test]
    fn upper_case_the_usual_port_and_a_slash_make_no_difference() {
        for (written, sent) in [
            ("HTTPS://Example.COM", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("https://example.com/", "https://example.com"),
            ("HTTPS://EXAMPLE.COM:443/", "https://example.com"),
            ("http://intranet:80/", "http://intranet"),
            ("https://intranet:80/", "https://intranet:80"),
            ("http://intranet:443", "http://intranet:443"),
            ("https://example.com:8443/", "https://example.com:8443"),
            ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]"),
            ("https://[2001:db8::443]", "https://[2001:db8::443]"),
        ] {
            let list = list(&[written]);
            assert!(list.admits(sent), "{written}");
            assert_eq!(list, self::list(&[sent]), "{written}");
        }
        assert!(!list(&["https://example.com:443"]).admits("https://example.com:8443"));
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        let list = OriginList::loopback();
        for good in [
            "http://localhost:8055",
            "https://localhost",
            "http://127.0.0.1:8055",
            "http://127.8.9.1",
            "http://[::1]:8055",
        ] {
            assert!(list.admits(good), "{good}");
        }
        for bad in [
            "http://localhost.evil.com",
            "http://127.0.0.1.evil.com",
            "http://evil.com:8055",
            "http://128.0.0.1",
            "http://[::2]",
            "file://localhost",
            "http://localhost:99999",
            "http://localhost:8055/x",
            "http://x@localhost",
            "null",
        ] {
            assert!(!list.admits(bad), "{bad}");
        }
    }

    #[test]
    fn a_tenant_with_a_list_has_this_list_alone() {
        let tenants = [("acme".to_owned(), list(&["https://acme.example"]))].into();
        let origins = Origins { others: list(&["https://all.example"]), tenants };
        assert!(origins.admits("acme", "https://acme.example"));
        assert!(!origins.admits("acme", "https://all.example"));
        assert!(origins.admits("other", "https://all.example"));
        assert!(!origins.admits("other", "https://acme.example"));
        assert!(origins.admits_for_somebody("https://acme.example"));
        assert!(!origins.admits_for_somebody("https://evil.example"));
        assert!(!Origins::default().admits_for_somebody("http://localhost"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "app.example.com",
            "https://",
            "https:///",
            "https://:443",
            "https://a//",
            "https://a/path",
            "https://a/path/",
            "https://a/:443",
            "https://a:443:443",
            "https://a:",
            "https://a:0",
            "https://a:08443",
            "https://a:+8443",
            "https://[0:0:0:0:0:0:0:1]:8443",
            "https://a b",
            "ftp://a",
            "https://*.example.com",
            "",
            "null",
        ] {
            let error = OriginList::parse(&[bad]).unwrap_err();
            assert!(error.0.contains("is no origin"), "{bad}: {error:?}");
        }
        assert!(OriginList::parse(&["https://a"; MAX_ORIGINS]).is_ok());
        assert!(OriginList::parse(&["https://a"; MAX_ORIGINS + 1]).is_err());
        assert!(list(&["*"]).admits("null"), "every page");
    }
}
