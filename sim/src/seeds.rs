//! Seeds of random tests. `NUCLEUS_SEEDS=100000` runs that many seeds, `NUCLEUS_SEED=17` only that
//! one.

use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};

/// Returns the seeds that the environment asks for; the first `default` seeds if it asks for none.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    match number("NUCLEUS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("NUCLEUS_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Runs `test` for every seed. If it fails, prints the seed.
#[expect(clippy::print_stderr, reason = "the output of a failed test tells how to repeat it")]
pub fn for_seeds(default: u64, test: impl Fn(u64) + RefUnwindSafe) {
    for seed in seeds(default) {
        if let Err(panic) = catch_unwind(|| test(seed)) {
            eprintln!("failed with NUCLEUS_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
