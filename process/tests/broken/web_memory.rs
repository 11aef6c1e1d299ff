//! The memory that browsers can pin at the server. docs/LIMITS.md states the figures, in its section
//! "Memory".

use crate::heavy::alone;
use crate::memory::{assert_near, measure_joined, measure_unjoined, measure_windows};
use crate::raw::Carrier;

/// KiB that one connection of a browser pins before it joins, as docs/LIMITS.md states.
const UNJOINED_KIB: u64 = 150;
/// KiB that one joined session of a browser pins whose windows are full, as docs/LIMITS.md states.
const WINDOWS_KIB: u64 = 304;
/// KiB that one joined session of a browser and its room pin with the default limits, as docs/LIMITS.md
/// states.
const JOINED_KIB: u64 = 1_240;

#[tokio::test(flavor = "multi_thread")]
async fn unjoined_browsers_pin_the_documented_memory() {
    let _alone = alone();
    let measure = || measure_unjoined(Carrier::WebTransport);
    assert_near("an unjoined browser", UNJOINED_KIB, measure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_windows_of_browsers_pin_the_documented_memory() {
    let _alone = alone();
    let measure = || measure_windows(Carrier::WebTransport);
    assert_near("a browser with full windows", WINDOWS_KIB, measure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_browsers_pin_the_documented_memory() {
    let _alone = alone();
    let measure = || measure_joined(Carrier::WebTransport);
    assert_near("a browser that sends all it may", JOINED_KIB, measure).await;
}
