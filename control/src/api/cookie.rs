//! The cookie of a browser in which somebody is signed in.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::people::is_secret;

/// The cookie's name. Browsers take a name that begins like this only over TLS, with `Secure`, for this host
/// alone and for all its paths.
const NAME: &str = "__Host-nucleus";
/// The name without TLS, on loopback. Another program of this machine may have set a cookie there, which then
/// is no session.
const PLAIN_NAME: &str = "nucleus";
/// How long a browser keeps the cookie, in seconds: as long as a session lasts at most.
const SECONDS: u32 = 12 * 3_600;

/// The name of the cookie that goes to the provider of single sign-on and back.
const FLOW: &str = "-flow";
/// How long it is kept, in seconds: as long as a person may take there.
const FLOW_SECONDS: u32 = 600;

/// Returns the secret of a request's cookie. `is_secure`: whether the browser came over TLS.
pub(super) fn read(headers: &HeaderMap, is_secure: bool) -> Option<String> {
    find(headers, name(is_secure)).filter(|secret| is_secret(secret)).map(str::to_owned)
}

/// Returns the sealed text that a browser has taken to the provider of single sign-on and back.
pub(super) fn read_flow(headers: &HeaderMap, is_secure: bool) -> Option<String> {
    find(headers, &format!("{}{FLOW}", name(is_secure))).map(str::to_owned)
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the header that sets the cookie.
pub(super) fn set(secret: &str, is_secure: bool) -> Option<HeaderValue> {
    // Strict would leave it out when another site, such as that of single sign-on, leads here.
    write("", secret, SECONDS, is_secure)
}

/// Returns the header that deletes the cookie.
pub(super) fn clear(is_secure: bool) -> Option<HeaderValue> {
    write("", "", 0, is_secure)
}

/// Returns the header that sets the cookie for the way to the provider of single sign-on; empty: deletes it.
pub(super) fn set_flow(sealed: &str, is_secure: bool) -> Option<HeaderValue> {
    write(FLOW, sealed, if sealed.is_empty() { 0 } else { FLOW_SECONDS }, is_secure)
}

fn write(end: &str, value: &str, seconds: u32, is_secure: bool) -> Option<HeaderValue> {
    let secure = if is_secure { "; Secure" } else { "" };
    let name = name(is_secure);
    let text =
        format!("{name}{end}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).ok()
}

fn name(is_secure: bool) -> &'static str {
    if is_secure { NAME } else { PLAIN_NAME }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::new_secret;

    #[test]
    fn a_cookie_is_written_and_read() {
        let (secret, _) = new_secret().unwrap();
        for is_secure in [false, true] {
            let line = set(&secret, is_secure).unwrap();
            let line = line.to_str().unwrap();
            assert_eq!(line.contains("; Secure"), is_secure);
            assert_eq!(line.starts_with("__Host-"), is_secure);
            assert!(line.contains("; HttpOnly; SameSite=Lax") && line.contains("Path=/;"));
            let mut headers = HeaderMap::new();
            let sent = format!("theme=dark; {}", line.split(';').next().unwrap());
            headers.insert(header::COOKIE, HeaderValue::try_from(sent).unwrap());
            assert_eq!(read(&headers, is_secure), Some(secret.clone()));
            assert_eq!(read(&headers, !is_secure), None, "the other name");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("nucleus=short"));
        assert_eq!(read(&headers, false), None);
    }
}
