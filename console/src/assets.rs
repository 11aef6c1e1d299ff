//! Style sheets, scripts and licences, compiled into the program.

use std::sync::LazyLock;

/// How long clients may keep an asset: its path changes with its content.
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";
/// The content security policy of every page. Nothing comes from elsewhere, and no script or style
/// stands in a page. Scripts set styles through properties, which `style-src 'self'` allows.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// The headers of every answer with a page. Pages are never cached: they show figures of this moment, and
/// what one reader may see.
pub const PAGE_HEADERS: [(&str, &str); 6] = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", POLICY),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    // Links keep the address from other sites, and forms have an origin that the server can check:
    // with "no-referrer" browsers send the origin "null".
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// A file that pages use.
#[derive(Debug)]
pub struct Asset {
    /// The name in this crate, as `ui.js`.
    pub name: &'static str,
    /// The content type.
    pub content_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
    /// The last part of the path: the hash of the content and the name.
    pub file: String,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! files {
    ($(($file:literal, $type:expr)),+ $(,)?) => {
        &[$(($file, $type, include_bytes!(concat!("../assets/", $file)))),+]
    };
}

const FILES: &[(&str, &str, &[u8])] = files![
    ("tokens.css", CSS),
    ("components.css", CSS),
    ("console.css", CSS),
    ("ui.js", SCRIPT),
    // htmx and its extension for server-sent events in one file: htmx may begin before a second file has
    // arrived, and would not see the live parts then.
    ("htmx-4.0.1-sse.min.js", SCRIPT),
    ("uplot-1.6.32.min.js", SCRIPT),
    ("uplot-1.6.32.min.css", CSS),
    ("licences/htmx.txt", TEXT),
    ("licences/uplot.txt", TEXT),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |&(name, content_type, bytes): &(&'static str, &'static str, &'static [u8])| {
        let short = name.rsplit('/').next().unwrap_or(name);
        Asset { name, content_type, bytes, file: format!("{:016x}-{short}", hash(bytes)) }
    };
    FILES.iter().map(asset).collect()
});

/// Returns every asset. The path of one is `/assets/` and its [`Asset::file`].
#[must_use]
pub fn all() -> &'static [Asset] {
    &ASSETS
}

/// Returns the asset of the last part of a path; none: there is no such asset, or its content has
/// changed since the page was made.
#[must_use]
pub fn find(file: &str) -> Option<&'static Asset> {
    all().iter().find(|asset| asset.file == file)
}

/// Returns the path of an asset below the dashboard's base path. A name that does not exist has a path
/// that does not exist.
#[must_use]
pub fn path(name: &str) -> String {
    let file = all().iter().find(|asset| asset.name == name).map_or(name, |asset| &asset.file);
    format!("/assets/{file}")
}

/// FNV-1a. The files are ours, so nobody looks for two with one hash.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_by_its_path() {
        for asset in all() {
            let path = path(asset.name);
            let found = find(path.strip_prefix("/assets/").unwrap()).unwrap();
            assert_eq!(found.name, asset.name);
            assert!(!found.bytes.is_empty());
        }
        assert!(find("ui.js").is_none());
        assert!(find("../Cargo.toml").is_none());
    }

    #[test]
    fn the_path_changes_with_the_content() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_ne!(hash(b"a"), hash(b"b"));
    }

    #[test]
    fn the_policy_allows_nothing_inline() {
        assert!(!POLICY.contains("unsafe"));
        assert!(!POLICY.contains("  "));
        for asset in all().iter().filter(|asset| asset.content_type == CSS) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            assert!(!text.contains("@import") && !text.contains("url("), "{}", asset.name);
        }
    }
}
