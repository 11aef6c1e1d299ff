//! Tasks of the control plane that must never end.
//!
//! A panic ends a release build at once, so that whoever watches it starts it again. Otherwise a task that
//! ends is logged and counted, and the server is not ready any more: it looks alive and does not do all of its
//! work.

use std::sync::Arc;

use nucleus_control::http::Background;

use crate::health::Health;

/// Watches over a task that must never end.
pub(super) fn supervised(
    name: &'static str,
    health: &Arc<Health>,
    task: impl Future<Output = ()> + Send + 'static,
) -> Background {
    let health = health.clone();
    Box::pin(async move {
        let ended = tokio::spawn(task).await;
        health.note_end(name);
        let why = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
        tracing::error!(
            task = name,
            why,
            "a task of the control plane has ended: start the server again"
        );
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_whose_task_has_ended_is_not_ready_and_lives() {
        let health = Health::new(&tokio::runtime::Handle::current(), None, &[]);
        health.set_accepting(true);
        assert_eq!((health.not_ready(), health.task_ends()), (None, 0));
        supervised("the history", &health, async { panic!("as a fault would") }).await;
        assert!(health.not_ready().is_some_and(|why| why.contains("the history has ended")));
        supervised("the bans", &health, async {}).await;
        assert_eq!((health.task_ends(), health.dead()), (2, None), "sessions go on");
    }
}
