//! Tests of the real `nucleus` binary in surroundings that misbehave. The package has no code of its
//! own: see `tests/broken`.
