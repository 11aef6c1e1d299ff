//! Live parts as server-sent events.

/// Returns HTML as one event, which the page takes as its new live part. The event has no name: htmx
/// swaps those alone.
#[must_use]
pub fn event(html: &str) -> String {
    let mut event = String::with_capacity(html.len() + html.len() / 16 + 8);
    // A lone carriage return would end a line of the stream too.
    for line in html.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

/// Returns HTML as the last event of a stream: behind it, a page with `hx-sse:close="ended"` does not connect
/// again.
#[must_use]
pub fn last_event(html: &str) -> String {
    event(html) + "event: ended\ndata: \n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_is_a_part_and_then_the_end() {
        assert_eq!(last_event("<p>"), "data: <p>\n\nevent: ended\ndata: \n\n");
    }

    #[test]
    fn every_line_is_data() {
        assert_eq!(event("<p>\na</p>"), "data: <p>\ndata: a</p>\n\n");
        for hostile in ["a\n\nevent: x", "a\rid: 1", "a\r\n\r\nretry: 1"] {
            let event = event(hostile);
            assert_eq!(event.matches("\n\n").count(), 1, "{hostile:?}");
            assert!(event.trim_end().split('\n').all(|line| line.starts_with("data: ")));
            assert!(!event.contains('\r'));
        }
    }
}
