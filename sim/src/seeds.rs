//! Seeds of random tests. `NUCLEUS_SEEDS=100000` runs more of them, `NUCLEUS_SEED=17` one.

use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};

/// The seeds that the environment asks for; `default` of them where it does not.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    match number("NUCLEUS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("NUCLEUS_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Runs `test` for every seed; a failure prints its own.
#[expect(clippy::print_stderr, reason = "a failed test says how to repeat it")]
pub fn for_seeds(default: u64, test: impl Fn(u64) + RefUnwindSafe) {
    for seed in seeds(default) {
        if let Err(panic) = catch_unwind(|| test(seed)) {
            eprintln!("failed with NUCLEUS_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
