//! Holds no code. Its Cargo.toml unifies the features of libraries, see there.
