//! A grant with several endpoints: the client finds the one that answers.

use super::*;

const SILENT: [u16; 3] = [6_001, 6_002, 6_003];

/// Runs a client that knows silent paths before the one that answers, and returns the time until the
/// client uses that one. On the realtime port, this percentage of datagrams is lost.
fn time_to_find(planes: Planes, silent: &[u16], loss: u8, seed: u64) -> Duration {
    let (mut client, mut server) = {
        let config = |side| LinkConfig { planes, ..config(side) };
        let first = silent.first().map_or(SERVER, |port| *port);
        let own = LinkConfig { path: Some(from(first)), ..config(LinkSide::Client) };
        (Link::new(Time::ZERO, own), Link::new(Time::ZERO, config(LinkSide::Server)))
    };
    silent.iter().skip(1).chain([&SERVER]).for_each(|port| client.add_path(from(*port)));
    let mut rng = fastrand::Rng::with_seed(seed);
    for millis in 0..600_000 {
        let now = ms(millis);
        client.handle_timeout(now);
        server.handle_timeout(now);
        let mut out = Vec::new();
        while let Some(route) = client.poll_output(now, &mut out) {
            let wire = route.wire(&out).to_vec();
            match route {
                Route::Realtime(to) if to == from(SERVER) && rng.u8(..100) >= loss => {
                    give(&mut server, now, from(HOME), &wire).unwrap();
                }
                Route::Realtime(_) => {}
                Route::Session => drop(server.handle_session_input(now, &wire)),
            }
            out.clear();
        }
        while let Some(route) = server.poll_output(now, &mut out) {
            let wire = route.wire(&out).to_vec();
            match route {
                Route::Realtime(_) if rng.u8(..100) >= loss => {
                    give(&mut client, now, from(SERVER), &wire).unwrap();
                }
                Route::Realtime(_) => {}
                Route::Session => drop(client.handle_session_input(now, &wire)),
            }
            out.clear();
        }
        let is_found = client.route().is_some_and(|(route, _)| {
            route == Route::Realtime(from(SERVER)) && client.server_time(now).is_some()
        });
        if is_found {
            return now.since(Time::ZERO);
        }
    }
    panic!("the endpoint that answers was not found: {planes:?}, {silent:?}, seed {seed}");
}

#[test]
fn endpoints_are_tried_in_turn() {
    for planes in [Planes::Both, Planes::PortOnly] {
        for silent in 0..=SILENT.len() {
            let silent = &SILENT[..silent];
            let found = time_to_find(planes, silent, 0, 0);
            assert!(found <= Duration::from_secs(2), "{found:?}: {planes:?}, {silent:?}");
            // With losses, the first probes may be over before one is answered. An idle client then
            // probes as often as it sends keep-alives.
            for seed in 0..20 {
                time_to_find(planes, silent, 20, seed);
            }
        }
    }
}

/// A datagram from an address that the server did not name is rejected, as before.
#[test]
fn other_addresses_are_none_of_the_paths() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    client.add_path(from(SILENT[0]));
    for (_, hello) in drain(&mut client, Time::ZERO) {
        give(&mut server, Time::ZERO, from(HOME), &hello).unwrap();
    }
    for (_, answer) in drain(&mut server, Time::ZERO) {
        assert_eq!(give(&mut client, ms(1), from(SILENT[1]), &answer), Err(Rejected::Path));
        assert!(give(&mut client, ms(1), from(SILENT[0]), &answer).is_ok());
    }
}
