//! What a server believes of a client's reports.

use super::*;
use crate::realtime::report::ClientReport;

/// Gives the server a report of the client. Returns the largest number and the count that it believes.
fn report(ends: &mut (Link, Link), largest: u32, received: u32) -> Option<(u32, u32)> {
    let (client, server) = ends;
    let mut out = Vec::new();
    let start = client.begin(ms(1), &mut out);
    ClientReport { largest, received, ..ClientReport::default() }.encode(&mut out);
    client.finish(ms(1), &mut out, start).unwrap();
    give(server, ms(1), from(HOME), &out).unwrap();
    server.client_report().map(|report| (report.largest, report.received))
}

#[test]
fn a_report_of_what_was_not_sent_is_ignored_and_counted() {
    let mut ends = pair(PhaseLimits::default());
    assert_eq!(report(&mut ends, 0, 1), None, "nothing was sent");
    assert_eq!(report(&mut ends, 0, 0), Some((0, 0)));
    let sent: Vec<_> = (0..4).map(|key| data(&mut ends.1, ms(1), key)).collect();
    assert_eq!(report(&mut ends, 4, 1), Some((0, 0)), "the packets 0 to 3 were sent");
    assert_eq!(report(&mut ends, u32::MAX, u32::MAX), Some((0, 0)));
    assert_eq!(report(&mut ends, 3, 5), Some((0, 0)), "more than were sent");
    assert_eq!(ends.1.take_false_reports(), 4);
    assert_eq!(report(&mut ends, 3, 4), Some((3, 4)));
    // Not false, but older: QUIC may deliver datagrams in another order.
    assert_eq!(report(&mut ends, 2, 3), Some((3, 4)));
    assert_eq!((sent.len(), ends.1.take_false_reports()), (4, 0));
}
