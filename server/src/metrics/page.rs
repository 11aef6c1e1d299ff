//! The text of the page, in the Prometheus text format 0.0.4.

use std::fmt::{Arguments, Display, Write as _};

use nucleus_core::histogram::Histogram;

/// The kinds of metrics that have one value.
#[derive(Clone, Copy)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
}

/// The text so far.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(32 << 10))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a metric, whose series follow.
    pub(super) fn metric(&mut self, name: &str, kind: MetricKind, help: &str) {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        self.head(name, kind, help);
    }

    /// Writes a series of a metric with a label. The value of the label must need no escape.
    pub(super) fn series(
        &mut self,
        name: &str,
        (label, of): (&str, impl Display),
        value: impl Display,
    ) {
        self.write(format_args!("{name}{{{label}=\"{of}\"}} {value}\n"));
    }

    /// Writes a metric that has one series without a label.
    pub(super) fn single(&mut self, name: &str, kind: MetricKind, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.write(format_args!("{name} {value}\n"));
    }

    /// Writes a histogram. Each of its buckets counts the smaller values, too.
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let scale = histogram.scale();
        let shown = |value: u64| value as f64 / f64::from(scale.unit);
        let mut total = 0;
        for (at, count) in histogram.counts().iter().enumerate() {
            total += count;
            match scale.bounds.get(at) {
                Some(bound) => {
                    self.write(format_args!("{name}_bucket{{le=\"{}\"}} {total}\n", shown(*bound)));
                }
                None => self.write(format_args!("{name}_bucket{{le=\"+Inf\"}} {total}\n")),
            }
        }
        let sum = shown(histogram.sum());
        self.write(format_args!("{name}_sum {sum}\n{name}_count {total}\n"));
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn write(&mut self, text: Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _written = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use nucleus_core::histogram::HistogramScale;

    use super::*;

    #[test]
    fn a_bucket_counts_the_smaller_values_too() {
        let mut histogram = Histogram::new(HistogramScale::micros(&[0, 500, 20_000]));
        for micros in [0, 400, 500, 1_500_000] {
            histogram.observe(micros);
        }
        let mut page = Page::new();
        page.histogram("wait_seconds", "How long.", &histogram);
        let expected = "# HELP wait_seconds How long.\n\
            # TYPE wait_seconds histogram\n\
            wait_seconds_bucket{le=\"0\"} 1\n\
            wait_seconds_bucket{le=\"0.0005\"} 3\n\
            wait_seconds_bucket{le=\"0.02\"} 3\n\
            wait_seconds_bucket{le=\"+Inf\"} 4\n\
            wait_seconds_sum 1.5009\n\
            wait_seconds_count 4\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_metric_has_a_line_for_each_series() {
        let mut page = Page::new();
        page.metric("drops_total", MetricKind::Counter, "Drops.");
        page.series("drops_total", ("reason", "muted"), 3);
        page.single("up", MetricKind::Gauge, "Up.", 1);
        let expected = "# HELP drops_total Drops.\n# TYPE drops_total counter\n\
            drops_total{reason=\"muted\"} 3\n# HELP up Up.\n# TYPE up gauge\nup 1\n";
        assert_eq!(page.into_text(), expected);
    }
}
