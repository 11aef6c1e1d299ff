//! `loadgen capacity`: finds the largest load that keeps the objective.

#![cfg_attr(not(test), expect(dead_code, reason = "no command uses the search yet"))]

mod search;
