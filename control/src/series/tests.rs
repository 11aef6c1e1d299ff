use nucleus_core::control::{ServerStatus, ShardStatus};
use nucleus_core::histogram::{Histogram, HistogramScale};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomId, RoomInstanceId};
use nucleus_core::traffic::{LinkLosses, LinkTraffic, RoomTraffic, TRAFFIC_ROOMS};

use super::*;

/// The figures after so many readings: each adds the same to every sum.
fn figures(reading: u64) -> SeriesFigures {
    let shard = ShardStatus {
        links: 10,
        on_fallback: 1,
        kernel_drops: 3 * reading,
        bytes_in: 1_000 * reading,
        datagrams_out: 50 * reading,
        ..ShardStatus::default()
    };
    let status =
        ServerStatus { sessions: 9, rooms: 2, shards: vec![shard; 2], ..Default::default() };
    let mut relay_latency = Histogram::new(HistogramScale::micros(&[1_000, 2_000]));
    (0..10 * reading).for_each(|_| relay_latency.observe(1_500));
    let losses = LinkLosses { sent_in: 100 * reading, lost_in: reading, sent_out: 0, lost_out: 0 };
    SeriesFigures {
        status,
        cpu: vec![Duration::from_secs(reading); 2],
        joins: 4 * reading,
        failed_joins: 0,
        relay_latency,
        losses: vec![Some(losses); 2],
        rooms: (0..3).map(|number| room(number, 5 - u32::from(number), reading)).collect(),
    }
}

fn room(number: u8, peers: u32, reading: u64) -> RoomTraffic {
    let owner = ProductKey { tenant: "acme".to_owned(), product: Product::ATOM };
    let losses = LinkLosses { sent_in: 10 * reading, lost_in: reading, ..LinkLosses::default() };
    RoomTraffic {
        instance: RoomInstanceId([number; 8]),
        shard: 0,
        key: std::sync::Arc::new(owner.room(format!("room {number}"))),
        peers,
        links: vec![link(1, 500 * reading, losses)],
    }
}

fn link(peer: u32, bytes_out: u64, losses: LinkLosses) -> LinkTraffic {
    LinkTraffic { room: RoomId(1), peer: PeerId(peer), bytes_in: 0, bytes_out, losses }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the last values of a figure of the last hour.
fn ends(series: &Series, now: u64, name: SeriesName) -> Vec<Values> {
    let lines = series.lines(seconds(now), SeriesSpan::Hour, name);
    lines.into_iter().map(|line| line.values[line.values.len() - 3..].to_vec()).collect()
}

#[test]
fn sums_become_rates_and_what_is_not_known_is_a_gap() {
    let mut series = Series::default();
    for reading in 1..=3 {
        series.record(seconds(10 * reading), &figures(reading));
    }
    let of = |name| ends(&series, 30, name);
    assert_eq!(of(SeriesName::Headsets), [[Some(9), Some(9), Some(9)]]);
    assert_eq!(of(SeriesName::Fallback), [[Some(100_000); 3]]);
    // The first reading has none before it.
    assert_eq!(of(SeriesName::Joins), [[None, Some(4), Some(4)]]);
    assert_eq!(of(SeriesName::FailedJoins), [[None, Some(0), Some(0)]]);
    assert_eq!(of(SeriesName::KernelDrops), [[None, Some(6), Some(6)]], "of both shards");
    assert_eq!(of(SeriesName::LossIn), [[None, Some(10_000), Some(10_000)]]);
    assert_eq!(of(SeriesName::LossOut), [[None, None, None]], "nothing was sent");
    assert_eq!(of(SeriesName::RelayP50), [[None, Some(1_500), Some(1_500)]]);
    let shards = [[None, Some(100_000), Some(100_000)]; 2];
    assert_eq!(of(SeriesName::Cpu), shards, "a second of ten");
    assert_eq!(of(SeriesName::BytesIn), [[None, Some(100), Some(100)]; 2]);
    assert_eq!(of(SeriesName::DatagramsOut), [[None, Some(5), Some(5)]; 2]);
    // A reading that is missing: its step is a gap, and the next one has none before it.
    series.record(seconds(50), &figures(5));
    series.record(seconds(51), &figures(500));
    let of = |name| ends(&series, 50, name);
    assert_eq!(of(SeriesName::Headsets), [[Some(9), None, Some(9)]]);
    assert_eq!(of(SeriesName::Joins), [[Some(4), None, None]]);
    // While the reading of a step is under way, its value is not missing.
    assert_eq!(ends(&series, 60, SeriesName::Headsets), [[Some(9), None, Some(9)]]);
    assert_eq!(series.end(seconds(60), SeriesSpan::Hour), seconds(50));
    assert_eq!(ends(&series, 70, SeriesName::Headsets), [[Some(9), None, None]]);
}

#[test]
fn a_day_has_longer_steps_and_memory_is_bounded() {
    let mut series = Series::default();
    // Thirty hours.
    for reading in 0..10_800 {
        series.record(seconds(10 * reading), &figures(reading % 500));
    }
    let now = seconds(10 * 10_799);
    for (span, steps) in [(SeriesSpan::Hour, 360), (SeriesSpan::Day, 720)] {
        for name in SeriesName::ALL {
            for line in series.lines(now, span, name) {
                assert_eq!(line.values.len(), steps, "{name:?}");
            }
        }
        let headsets = &series.lines(now, span, SeriesName::Headsets)[0].values;
        assert!(headsets.iter().all(|value| *value == Some(9)), "{span:?} is full");
    }
    let joins = &series.lines(now, SeriesSpan::Day, SeriesName::Joins)[0].values;
    assert!(joins.iter().flatten().any(|count| *count == 48), "twelve readings of four");
}

#[test]
fn rooms_have_short_lines_and_those_that_are_gone_have_none() {
    let mut series = Series::default();
    for reading in 1..=70 {
        series.record(seconds(10 * reading), &figures(reading));
    }
    let lines = series.rooms(seconds(700));
    let names: Vec<_> = lines.iter().map(|line| line.key.name.as_str()).collect();
    assert_eq!(names, ["room 0", "room 1", "room 2"], "the fullest first");
    for line in &lines {
        assert_eq!(line.peers.len(), ROOM_VALUES);
        assert!(line.peers.iter().all(Option::is_some) && line.loss_out[3].is_none());
        assert_eq!((line.bytes_out[9], line.loss_in[9]), (Some(50), Some(100_000)));
    }
    // Another one than before is alone in the first room, and the others have ended.
    let links = vec![link(2, 7, LinkLosses::default())];
    let left = RoomTraffic { links, ..room(0, 4, 71) };
    series.record(seconds(710), &SeriesFigures { rooms: vec![left], ..figures(71) });
    let lines = series.rooms(seconds(710));
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].peers[59], lines[0].bytes_out[59]), (Some(4), None), "a gap, not zero");
    assert_eq!(series.rooms(seconds(2_000)), [], "nothing is known any more");
}

#[test]
fn rooms_of_a_shard_that_does_not_answer_stay_for_a_minute_with_gaps() {
    let mut series = Series::default();
    let on_second = |reading| RoomTraffic { shard: 1, ..room(1, 3, reading) };
    let record = |series: &mut Series, reading, rooms, silent: bool| {
        let mut all = figures(reading);
        if silent {
            all.losses[1] = None;
        }
        series.record(seconds(10 * reading), &SeriesFigures { rooms, ..all });
        series.rooms(seconds(10 * reading))
    };
    for reading in 1..=3 {
        record(&mut series, reading, vec![room(0, 5, reading), on_second(reading)], false);
    }
    // The second shard misses one reading. The first room has ended, and its shard says so.
    let lines = record(&mut series, 4, vec![], true);
    assert_eq!(lines.iter().map(|line| line.key.name.as_str()).collect::<Vec<_>>(), ["room 1"]);
    assert_eq!(lines[0].peers[57..], [Some(3), Some(3), None], "a gap");
    let lines = record(&mut series, 5, vec![on_second(5)], false);
    assert_eq!(lines[0].peers[56..], [Some(3), Some(3), None, Some(3)]);
    assert_eq!(lines[0].bytes_out[56..], [Some(50), Some(50), None, None], "of no single step");
    // It is silent for longer than a minute.
    for reading in 6..=11 {
        assert_eq!(record(&mut series, reading, vec![], true).len(), 1, "{reading}");
    }
    assert_eq!(record(&mut series, 12, vec![], true), []);
    // A room that is gone when its shard answers again has ended.
    record(&mut series, 13, vec![on_second(13)], false);
    assert_eq!(record(&mut series, 14, vec![], true).len(), 1);
    assert_eq!(record(&mut series, 15, vec![], false), []);
}

#[test]
fn rooms_of_silent_shards_are_bounded_and_the_last_and_fullest_of_them_stay() {
    let mut series = Series::default();
    // Each shard has as many rooms as are read, and falls silent after the reading of them.
    for shard in 0..4_u16 {
        let reading = u64::from(shard) + 1;
        let rooms = (0..TRAFFIC_ROOMS as u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            let instance = RoomInstanceId([shard as u8, high, low, 0, 0, 0, 0, 0]);
            RoomTraffic { instance, shard, ..room(0, number.into(), reading) }
        });
        let rooms = rooms.collect();
        let losses = (0..4).map(|other| (other >= shard).then(LinkLosses::default)).collect();
        series.record(seconds(10 * reading), &SeriesFigures { rooms, losses, ..figures(reading) });
        let count = TRAFFIC_ROOMS * usize::from(shard + 1).min(2);
        assert_eq!(series.rooms(seconds(10 * reading)).len(), count);
    }
    let kept: Vec<_> = series.rooms(seconds(40)).iter().map(|line| line.instance.0[0]).collect();
    assert!(kept.iter().all(|shard| [2, 3].contains(shard)), "the last ones that were read");
}

/// What a reading of a room with these links says of bytes and losses, after a reading before.
fn step_of_a_room(before: Vec<LinkTraffic>, now: Vec<LinkTraffic>) -> [Option<u32>; 3] {
    let mut series = Series::default();
    for (reading, links) in (1..).zip([before, now]) {
        let peers = links.len() as u32;
        let rooms = vec![RoomTraffic { links, ..room(0, peers, reading) }];
        series.record(seconds(10 * reading), &SeriesFigures { rooms, ..figures(reading) });
    }
    let line = &series.rooms(seconds(20))[0];
    [line.bytes_out[59], line.loss_in[59], line.loss_out[59]]
}

#[test]
fn who_comes_or_leaves_does_not_falsify_the_figures_of_a_room() {
    let lost = |sent, lost| LinkLosses { sent_in: sent, lost_in: lost, ..LinkLosses::default() };
    let stays = [link(1, 1_000, lost(100, 5)), link(1, 3_000, lost(200, 15))];
    let leaver = link(2, 900_000, lost(50, 40));
    // The leaver's losses are more than those of the step, and it has sent less than the other.
    let left = step_of_a_room(vec![stays[0], leaver], vec![stays[1]]);
    assert_eq!(left, [Some(200), Some(100_000), None], "ten of a hundred");
    // A joiner's link may have been reopened, or was read too late before: its sums belong to no step.
    let joiner = link(3, 70_000, lost(1_000, 1_000));
    let joined = step_of_a_room(vec![stays[0]], vec![stays[1], joiner]);
    assert_eq!(joined, [Some(200), Some(100_000), None]);
    let both = step_of_a_room(vec![stays[0], leaver], vec![stays[1], joiner]);
    assert_eq!(both, [Some(200), Some(100_000), None]);
    assert_eq!(step_of_a_room(vec![stays[0], leaver], Vec::new()), [None; 3], "nobody is there");
    assert_eq!(step_of_a_room(Vec::new(), vec![joiner]), [None; 3]);
}

#[test]
fn the_worst_link_of_a_room_is_that_of_the_step() {
    let losses = |sent, lost| LinkLosses {
        sent_in: sent,
        lost_in: lost,
        sent_out: 2 * sent,
        lost_out: lost,
    };
    let before = [(1, losses(1_000, 900)), (2, losses(0, 0)), (3, losses(0, 0))];
    // The first one is bad over all, the second in the step; of the third too few were sent.
    let now =
        [(1, losses(1_100, 901)), (2, losses(100, 20)), (3, losses(9, 9)), (4, losses(99, 99))];
    let links =
        |of: &[(u32, LinkLosses)]| of.iter().map(|(peer, of)| link(*peer, 0, *of)).collect();
    let mut series = Series::default();
    for (reading, links) in [(1, links(&before)), (2, links(&now))] {
        let rooms = vec![RoomTraffic { links, ..room(0, 3, reading) }];
        series.record(seconds(10 * reading), &SeriesFigures { rooms, ..figures(reading) });
    }
    let line = &series.rooms(seconds(20))[0];
    let worst = [&line.worst_loss_in, &line.worst_loss_out].map(|values| values[59]);
    assert_eq!(worst, [Some(200_000), Some(100_000)]);
    assert_eq!(line.worst_loss_in[58], None, "the first reading has none before it");
    assert_eq!(line.newest_worst_loss(), Some(200_000), "the worse direction");
}

#[test]
fn a_shard_that_does_not_answer_hides_only_its_own_losses() {
    let losses =
        |sent, lost| Some(LinkLosses { sent_in: sent, lost_in: lost, ..LinkLosses::default() });
    let readings = [
        vec![losses(100, 0), losses(100, 0)],
        vec![losses(200, 10), None],
        vec![losses(300, 10), losses(900, 90)],
        vec![losses(300, 9), losses(900, 90)],
        vec![losses(400, 10), losses(1_000, 100)],
    ];
    let mut series = Series::default();
    for (reading, losses) in (1..).zip(readings) {
        series.record(seconds(10 * reading), &SeriesFigures { losses, ..figures(reading) });
        let silent = if reading == 2 { vec![1] } else { vec![] };
        assert_eq!(series.silent_shards(), silent);
    }
    let line = &series.lines(seconds(50), SeriesSpan::Hour, SeriesName::LossIn)[0].values;
    // Of the second shard nothing is known in two steps. Then nothing is sent, and one comes late.
    assert_eq!(line[355..], [None, Some(100_000), Some(0), None, Some(55_000)]);
}
