//! The hash of the rivals' code and of the versions of their libraries.
//!
//! The figures in `docs/BENCHMARKS.md` name the hash that they were measured with, and
//! `.ci/rivals.py` compares it with the code: whoever changes a rival, or updates its library, has to
//! measure again.

use aws_lc_rs::digest::{Context, SHA256};

/// A source file of a rival, or of what all rivals share: its name and its content.
type Source = (&'static str, &'static [u8]);

/// Includes source files, by their path below this directory.
macro_rules! sources {
    ($($path:literal),* $(,)?) => { [$(($path, include_bytes!($path))),*] };
}

/// The files, in the order in which they are hashed. `.ci/rivals.py` reads this list.
const SOURCES: [Source; 11] = sources![
    "gathering.rs",
    "message.rs",
    "relay.rs",
    "rooms.rs",
    "systems/enet.rs",
    "systems/limit.rs",
    "systems/naive.rs",
    "systems/quinn.rs",
    "systems/quinn_client.rs",
    "systems/renet.rs",
    "systems/sealed.rs",
];

/// The libraries of the rivals, whose versions are hashed after the files. `.ci/rivals.py` reads
/// this list too.
const LIBRARIES: [&str; 7] =
    ["quinn", "quinn-proto", "quinn-udp", "renet", "renet_netcode", "renetcode", "rusty_enet"];
/// The file that names the versions.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// Returns the SHA-256 of the rivals' code and versions, in hexadecimal.
pub(crate) fn sha256() -> String {
    let mut context = Context::new(&SHA256);
    for (path, content) in SOURCES {
        context.update(path.as_bytes());
        context.update(&[0]);
        context.update(content);
    }
    for library in LIBRARIES {
        for version in versions(LOCK, library) {
            context.update(format!("{library} {version}\n").as_bytes());
        }
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the versions of a library that a `Cargo.lock` names, in its order.
fn versions<'a>(lock: &'a str, library: &str) -> Vec<&'a str> {
    let name = format!("name = \"{library}\"");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while lines.any(|line| line == name) {
        let version = lines.next().and_then(|line| line.strip_prefix("version = "));
        versions.extend(version.map(|version| version.trim_matches('"')));
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_has_its_versions() {
        for library in LIBRARIES {
            assert!(!versions(LOCK, library).is_empty(), "{library} is not in Cargo.lock");
        }
        let lock = "name = \"quinn\"\nversion = \"0.10.0\"\n\nname = \"quinn-udp\"\n\
                    version = \"0.5.0\"\n\nname = \"quinn\"\nversion = \"0.11.1\"\n";
        assert_eq!(versions(lock, "quinn"), ["0.10.0", "0.11.1"]);
    }
}
