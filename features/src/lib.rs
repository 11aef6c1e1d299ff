//! An empty crate. Its Cargo.toml makes all packages use the same features of their libraries, and
//! says why.
