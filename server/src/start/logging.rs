//! The log on stderr: one line per event, as text for people or as JSON.
//!
//! A line can contain text of a peer. tracing-subscriber escapes control characters in the message,
//! but not in fields written with `%` (CVE-2025-58160, whose fix leaves these out). So every line
//! passes through a writer that escapes them. This is also why the log has no colours.
//!
//! A thread of its own writes the lines, see [`super::log_writer`].

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nucleus_control::SPANS;
use nucleus_core::text::is_plain;
use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt};

use super::config::LogFormat;
use super::log_writer::LogQueue;

/// The log of this process, once it is set up.
static LOG: OnceLock<LogQueue> = OnceLock::new();

/// The environment variable that sets the level, for example `info` or
/// `nucleus_server=debug,quinn=warn`.
pub const LEVEL_VARIABLE: &str = "NUCLEUS_LOG";

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The value of [`LEVEL_VARIABLE`] is not a filter.
    #[error(
        "{LEVEL_VARIABLE} is not a log filter: write a level such as info, or target=level,..."
    )]
    Filter,
    /// The process has a log already.
    #[error("the log is already set up")]
    AlreadySet,
    /// The settings of OpenTelemetry cannot be used.
    #[error("OpenTelemetry: {0}")]
    Telemetry(String),
    /// The system refuses the thread that writes the log.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// Sets up the log of this process. The level is info unless [`LEVEL_VARIABLE`] sets another. A
/// panic is logged, too.
///
/// # Errors
///
/// [`LEVEL_VARIABLE`] is not a filter, the process has a log already, or the system refuses a
/// thread.
pub fn init(format: LogFormat) -> Result<(), LoggingError> {
    let directives = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
    let queue = LogQueue::start(io::stderr(), move |lines| loss_notice(format, lines))?;
    let subscriber = Registry::default().with(log_layer(format, &directives, queue.clone())?);
    #[cfg(feature = "otel")]
    let subscriber = subscriber.with(super::telemetry::layer().map_err(LoggingError::Telemetry)?);
    LOG.set(queue).map_err(|_| LoggingError::AlreadySet)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::AlreadySet)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Returns how many lines of the log were lost because stderr did not take them.
pub fn lost_lines() -> u64 {
    LOG.get().map_or(0, LogQueue::lost)
}

/// Waits until the log is written, at most [`nucleus_core::limits::LOG_FINISH_TIME`]. Called before
/// the process ends.
pub fn finish() {
    if let Some(log) = LOG.get() {
        log.finish();
    }
}

/// Writes one line to stderr as it is, behind the log. A stderr that takes nothing is ignored: there
/// is no other channel to report it by.
pub fn write_line(line: &str) {
    let line = format!("{line}\n");
    match LOG.get() {
        Some(log) => {
            log.push(line.into_bytes());
            log.finish();
        }
        None => _ = io::stderr().write_all(line.as_bytes()),
    }
}

/// Logs a panic. The usual hook writes to stderr by itself, and would wait for it.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    tracing::error!("{panic}");
    // `RUST_BACKTRACE` asks for it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        trace.to_string().lines().for_each(|line| tracing::error!("{line}"));
    }
    finish();
}

/// Makes the layer that writes the log.
fn log_layer<S, W>(
    format: LogFormat,
    directives: &str,
    out: W,
) -> Result<Box<dyn Layer<S> + Send + Sync>, LoggingError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives)
        .map_err(|_| LoggingError::Filter)?
        // Spans are for OpenTelemetry: each line inside one would repeat its fields.
        .and(filter_fn(|metadata| metadata.target() != SPANS));
    let layer = fmt::layer()
        .with_writer(Escaped(out))
        .with_ansi(false)
        .with_ansi_sanitization(false)
        // Otherwise the layer writes to stderr when a line fails, and panics if that fails too.
        .log_internal_errors(false);
    Ok(match format {
        LogFormat::Pretty => layer.compact().with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

/// Returns the line which says that so many lines of the log were lost, in the log's format. It has
/// its own subscriber, because it does not go through the queue of the others.
fn loss_notice(format: LogFormat, lines: u64) -> Vec<u8> {
    let captured = Captured::default();
    let writer = captured.clone();
    // Without directives there is no error.
    if let Ok(layer) = log_layer(format, "", move || writer.clone()) {
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::warn!(lines, "lines of the log were lost");
        });
    }
    captured.take()
}

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes writers that escape all control characters except the line end.
struct Escaped<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Escaped<W> {
    type Writer = EscapedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedLine(self.0.make_writer())
    }
}

/// Writes one line, escaped. The subscriber writes a whole line with each call.
struct EscapedLine<W>(W);

impl<W: Write> Write for EscapedLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (body, end) = match text.strip_suffix('\n') {
            Some(body) => (body, "\n"),
            None => (&*text, ""),
        };
        let mut safe = String::with_capacity(body.len() + 1);
        body.chars().for_each(|c| push_escaped(&mut safe, c));
        safe.push_str(end);
        self.0.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Appends a character, escaped if it may not stand in a name: a control character, and one that is
/// invisible or changes the direction of text. Escapes as JSON does, so that a JSON line stays valid.
fn push_escaped(safe: &mut String, c: char) {
    if is_plain(c) {
        return safe.push(c);
    }
    for unit in c.encode_utf16(&mut [0; 2]) {
        safe.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(format: LogFormat, directives: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = log_layer(format, directives, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        String::from_utf8(captured.take()).unwrap()
    }

    const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\r\nready \u{9b}31m \u{202e}\u{200b}\u{e0041}";

    #[test]
    fn no_control_character_of_a_peer_reaches_the_terminal() {
        for format in [LogFormat::Pretty, LogFormat::Json] {
            let text = capture(format, "", || {
                tracing::info!(display = %HOSTILE, debug = ?HOSTILE, plain = HOSTILE, "{HOSTILE}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.trim_end().contains(char::is_control), "{text:?}");
            assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{e0041}']), "{text:?}");
        }
    }

    #[test]
    fn json_has_message_and_fields_at_the_top() {
        let text = capture(LogFormat::Json, "", || {
            tracing::info!(session = "[::]:5055", name = %HOSTILE, "ready");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "ready");
        assert_eq!(line["session"], "[::]:5055");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["name"], HOSTILE);
    }

    #[test]
    fn the_notice_of_lost_lines_has_the_format_of_the_log() {
        let text = String::from_utf8(loss_notice(LogFormat::Json, 500)).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "lines of the log were lost");
        assert_eq!((&line["lines"], &line["level"]), (&500.into(), &"WARN".into()));
        let text = String::from_utf8(loss_notice(LogFormat::Pretty, 500)).unwrap();
        assert!(text.ends_with(" WARN lines of the log were lost lines=500\n"), "{text}");
    }

    #[test]
    fn the_level_is_info_unless_asked() {
        let log = || {
            tracing::debug!("fine");
            tracing::info!("coarse");
        };
        assert!(!capture(LogFormat::Pretty, "", log).contains("fine"));
        assert!(capture(LogFormat::Pretty, "", log).contains("coarse"));
        assert!(capture(LogFormat::Pretty, "debug", log).contains("fine"));
        assert!(!capture(LogFormat::Pretty, "warn", log).contains("coarse"));
        let refused = log_layer::<Registry, _>(LogFormat::Pretty, "a=b=c", io::sink);
        assert!(matches!(refused, Err(LoggingError::Filter)));
    }

    #[test]
    fn a_line_inside_a_span_does_not_repeat_it() {
        for directives in ["", "trace", "info,nucleus_spans=trace"] {
            let text = capture(LogFormat::Pretty, directives, || {
                tracing::info_span!(target: SPANS, "join", outcome = "joined")
                    .in_scope(|| tracing::info!("a line"));
            });
            assert!(text.contains("a line") && !text.contains("join"), "{text}");
        }
    }
}
