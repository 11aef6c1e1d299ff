//! How good a client's connection is, for a person: derived from losses in both directions, the round
//! trip, and the path that realtime messages take.

use std::time::Duration;

use nucleus_protocol::link::{DatagramCounts, Link};
use nucleus_protocol::time::Time;

/// Shortest time between two evaluations. A person notices changes of this length.
const INTERVAL: Duration = Duration::from_secs(2);
/// Evaluations in a row that must agree before a change is reported, so that one lost burst is no
/// change.
const AGREEING: u32 = 2;
/// Fewer expected datagrams say nothing about losses.
const LEAST_EXPECTED: u32 = 20;
/// From this share of losses on, the connection counts as one with losses. A listener hears them: at 50
/// packets a second, one is missing every four seconds.
const LOSSY: f32 = 0.005;
/// How long it counts as such after the last losses. They come now and then.
const LOSSY_TIME: Duration = Duration::from_secs(30);

/// How good the connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionQuality {
    /// No datagram of the server has come yet, or none comes any more.
    #[default]
    Unknown,
    /// Nobody notices the network.
    Excellent,
    /// Voice has short gaps, or is late.
    Good,
    /// A conversation is difficult.
    Poor,
    /// There is no session now.
    Lost,
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// How good the connection is; `Unknown` before the first evaluation.
    pub quality: ConnectionQuality,
    /// Round-trip time of the realtime plane; `None` until it is measured, and in silence.
    pub round_trip: Option<Duration>,
    /// Share of the datagrams from the server that were lost in the last interval with enough
    /// datagrams, 0 to 1; `None`: not known. Known only on the realtime port.
    pub loss_down: Option<f32>,
    /// The same of the datagrams to the server, as its last reports say.
    pub loss_up: Option<f32>,
}

/// Derives the quality of one connection.
pub(super) struct QualityMeter {
    figures: ConnectionFigures,
    /// The quality that the application was told last.
    told: ConnectionQuality,
    evaluated: Option<Time>,
    down: LossMeter,
    up: LossMeter,
    /// Whether the newest evaluation took no losses.
    was_without_losses: bool,
    /// Until when the connection counts as one with losses.
    lossy_until: Option<Time>,
    /// The newest evaluation that differs from what was reported, and how often it came in a row.
    candidate: Option<(ConnectionQuality, u32)>,
}

/// Counts losses between two evaluations.
#[derive(Default)]
struct LossMeter {
    before: DatagramCounts,
    loss: Option<f32>,
}

impl LossMeter {
    /// Takes new counts. Returns whether they say that datagrams were lost meanwhile.
    fn take(&mut self, counts: DatagramCounts) -> bool {
        let expected = counts.largest.wrapping_sub(self.before.largest);
        if expected < LEAST_EXPECTED {
            return false;
        }
        let received = counts.received.wrapping_sub(self.before.received).min(expected);
        let loss = 1.0 - received as f32 / expected as f32;
        (self.loss, self.before) = (Some(loss), counts);
        loss >= LOSSY
    }

    /// Takes new counts that say nothing about losses.
    fn skip(&mut self, counts: DatagramCounts) {
        (self.loss, self.before) = (None, counts);
    }
}

impl Default for QualityMeter {
    fn default() -> Self {
        Self {
            figures: ConnectionFigures::default(),
            // Until it is told, an application takes the connection for excellent.
            told: ConnectionQuality::Excellent,
            evaluated: None,
            down: LossMeter::default(),
            up: LossMeter::default(),
            was_without_losses: false,
            lossy_until: None,
            candidate: None,
        }
    }
}

impl QualityMeter {
    pub(super) fn figures(&self) -> ConnectionFigures {
        self.figures
    }

    /// Begins anew with another link. The quality stays until it is known anew.
    pub(super) fn relink(&mut self) {
        (self.down, self.up) = Default::default();
        (self.evaluated, self.candidate, self.was_without_losses) = (None, None, false);
    }

    /// Notes that the session is lost. Returns the quality if it is to be reported.
    pub(super) fn disconnect(&mut self) -> Option<ConnectionQuality> {
        self.change_to(ConnectionQuality::Lost)
    }

    /// Returns whether the network has lost datagrams a short while ago, in one direction or the other:
    /// those who share a Wi-Fi have the losses of both.
    pub(super) fn is_lossy(&self, now: Time) -> bool {
        self.lossy_until.is_some_and(|until| now < until)
    }

    /// Evaluates a link, if it is time. Returns the quality if it is to be reported.
    pub(super) fn evaluate(&mut self, now: Time, link: &Link) -> Option<ConnectionQuality> {
        let since = self.evaluated.get_or_insert(now);
        if now.since(*since) < INTERVAL {
            return None;
        }
        *since = now;
        let down = link.received_counts();
        let up = link.server_report().map_or(self.up.before, |report| DatagramCounts {
            largest: report.largest,
            received: report.received,
        });
        let mut is_lossy = self.down.take(down);
        is_lossy |= self.up.take(up);
        let on_fallback = link.on_fallback(now);
        let is_silent = link.is_silent(now);
        // QUIC hides losses, and delivers late instead. A silence is told as such. What the realtime
        // port lost before its first answer says nothing about the time after.
        let without_losses = on_fallback || is_silent;
        if std::mem::replace(&mut self.was_without_losses, without_losses) || without_losses {
            self.down.skip(down);
            self.up.skip(up);
        }
        self.figures.round_trip = link.rtt().filter(|_| !is_silent);
        (self.figures.loss_down, self.figures.loss_up) = (self.down.loss, self.up.loss);
        if is_lossy {
            self.lossy_until = Some(now + LOSSY_TIME);
        }
        let found = quality(&self.figures, on_fallback);
        if self.figures.quality == found && self.told == found {
            self.candidate = None;
            return None;
        }
        let agreeing = match self.candidate {
            Some((candidate, count)) if candidate == found => count + 1,
            _ => 1,
        };
        self.candidate = Some((found, agreeing));
        // The first evaluation, and the one after a silence or a loss, need no other.
        let is_known =
            !matches!(self.figures.quality, ConnectionQuality::Unknown | ConnectionQuality::Lost);
        if agreeing < AGREEING && is_known { None } else { self.change_to(found) }
    }

    fn change_to(&mut self, quality: ConnectionQuality) -> Option<ConnectionQuality> {
        self.candidate = None;
        self.figures.quality = quality;
        let before = std::mem::replace(&mut self.told, quality);
        (before != quality).then_some(quality)
    }
}

/// Returns the quality by the usual simplification of the E-model (ITU-T G.107): a rating of 93 less
/// what the delay and the losses take from it. Without a round trip nothing is known of the path.
fn quality(figures: &ConnectionFigures, on_fallback: bool) -> ConnectionQuality {
    let Some(round_trip) = figures.round_trip else { return ConnectionQuality::Unknown };
    let round_trip = round_trip.as_secs_f32() * 1_000.0;
    let loss = figures.loss_down.unwrap_or(0.0).max(figures.loss_up.unwrap_or(0.0));
    let delay = if round_trip < 320.0 { round_trip / 80.0 } else { (round_trip - 240.0) / 20.0 };
    let rating = 93.0 - delay - 250.0 * loss;
    match rating {
        // The fallback adds delay after each loss.
        80.0.. if !on_fallback => ConnectionQuality::Excellent,
        60.0.. => ConnectionQuality::Good,
        _ => ConnectionQuality::Poor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(round_trip_ms: u64, loss: f32) -> ConnectionQuality {
        let figures = ConnectionFigures {
            round_trip: Some(Duration::from_millis(round_trip_ms)),
            loss_up: Some(loss),
            ..ConnectionFigures::default()
        };
        quality(&figures, false)
    }

    #[test]
    fn losses_and_delay_make_a_connection_worse() {
        use ConnectionQuality::{Excellent, Good, Poor, Unknown};
        assert_eq!(
            [of(20, 0.0), of(20, 0.03), of(20, 0.08), of(20, 0.2)],
            [Excellent, Excellent, Good, Poor]
        );
        assert_eq!([of(300, 0.0), of(600, 0.0), of(1_200, 0.0)], [Excellent, Good, Poor]);
        let fine = ConnectionFigures { round_trip: Some(Duration::ZERO), ..Default::default() };
        assert_eq!(quality(&fine, true), Good, "on the fallback");
        let silent = ConnectionFigures::default();
        assert_eq!([true, false].map(|fallback| quality(&silent, fallback)), [Unknown; 2]);
    }

    #[test]
    fn losses_are_counted_over_wrapping_numbers_and_duplicates() {
        let mut meter = LossMeter::default();
        meter.take(DatagramCounts { largest: u32::MAX - 9, received: u32::MAX - 9 });
        meter.take(DatagramCounts { largest: 5, received: 5 });
        assert_eq!(meter.loss, Some(0.0), "too few to say anything new");
        meter.take(DatagramCounts { largest: 90, received: 65 });
        assert_eq!(meter.loss, Some(0.25));
        meter.take(DatagramCounts { largest: 190, received: 265 });
        assert_eq!(meter.loss, Some(0.0), "no negative loss");
    }

    #[test]
    fn a_lost_session_is_told_once_and_at_once() {
        let mut meter = QualityMeter::default();
        assert_eq!(meter.disconnect(), Some(ConnectionQuality::Lost));
        assert_eq!(meter.disconnect(), None);
    }
}
