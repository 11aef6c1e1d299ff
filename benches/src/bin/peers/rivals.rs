//! The hash of the rivals' code. The figures in `docs/BENCHMARKS.md` name the hash that they were
//! measured with, and `.ci/rivals.py` compares it with the code: whoever changes a rival has to
//! measure again.

use aws_lc_rs::digest::{Context, SHA256};

/// A source file of a rival, or of what all rivals share: its name and its content.
type Source = (&'static str, &'static [u8]);

/// Includes source files, by their path below this directory.
macro_rules! sources {
    ($($path:literal),* $(,)?) => { [$(($path, include_bytes!($path))),*] };
}

/// The files, in the order in which they are hashed. `.ci/rivals.py` reads this list.
const SOURCES: [Source; 9] = sources![
    "gathering.rs",
    "relay.rs",
    "systems/enet.rs",
    "systems/limit.rs",
    "systems/naive.rs",
    "systems/quinn.rs",
    "systems/quinn_client.rs",
    "systems/renet.rs",
    "systems/sealed.rs",
];

/// Returns the SHA-256 of the rivals' code, in hexadecimal.
pub(crate) fn sha256() -> String {
    let mut context = Context::new(&SHA256);
    for (path, content) in SOURCES {
        context.update(path.as_bytes());
        context.update(&[0]);
        context.update(content);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
