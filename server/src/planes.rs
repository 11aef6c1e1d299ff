//! Answers the control plane: what rooms and shards there are, and acts upon them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nucleus_control::PlanesMail;
use nucleus_core::control::{
    ControlError, ControlReply, ControlRequest, SeriesFigures, ServerStatus, ShardStatus,
};
use nucleus_core::fanout::FanoutHistograms;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::edge::SessionContext;
use crate::shard::ShardHandle;

/// Most requests that are answered at the same time. A room that is busy holds up only its own.
const AT_ONCE: usize = 32;

/// What the control plane may ask about.
pub(crate) struct PlanesShell {
    pub(crate) context: Arc<SessionContext>,
    pub(crate) shards: Vec<Arc<ShardHandle>>,
    /// When the server started.
    pub(crate) started: Instant,
    /// Notified when the control plane wants the server to stop.
    pub(crate) drain: Arc<Notify>,
}

impl PlanesShell {
    /// Answers requests until the control plane has ended.
    pub(crate) async fn run(self, mut mail: mpsc::Receiver<PlanesMail>) {
        let planes = Arc::new(self);
        let mut answering = JoinSet::new();
        while let Some(PlanesMail { request, reply }) = mail.recv().await {
            while answering.len() >= AT_ONCE {
                answering.join_next().await;
            }
            while answering.try_join_next().is_some() {}
            let planes = planes.clone();
            answering.spawn(async move {
                let mut reply = reply;
                tokio::select! {
                    biased;
                    // The caller has given up: a busy room keeps no place of others.
                    () = reply.closed() => {}
                    // Fails if the control plane has given up.
                    answer = planes.answer(request) => drop(reply.send(answer)),
                }
            });
        }
    }

    async fn answer(&self, request: ControlRequest) -> Result<ControlReply, ControlError> {
        let registry = self.context.directory.registry();
        Ok(match request {
            ControlRequest::Rooms(search) => {
                let (rooms, total) = registry.search(&search)?;
                ControlReply::Rooms(rooms, total)
            }
            ControlRequest::Room(instance) => {
                ControlReply::Room(Box::new(registry.inspect(instance).await?))
            }
            ControlRequest::RoomStats(instance) => {
                ControlReply::RoomStats(Box::new(registry.stats(instance).await?))
            }
            ControlRequest::RoomPlan(instance) => {
                let (stats, poses) = registry.plan(instance).await?;
                ControlReply::RoomPlan(Box::new(stats), poses)
            }
            ControlRequest::Fields(instance) => {
                let (room, fields) = registry.fields(instance).await?;
                ControlReply::Fields(Box::new(room), fields)
            }
            ControlRequest::Act(instance, act) => {
                registry.operate(instance, act).await?;
                ControlReply::Done
            }
            ControlRequest::RemoveUser { tenant, user } => {
                self.context.social_directory.remove_user(&tenant, &user).await;
                registry.remove_user(&tenant, &user).await;
                ControlReply::Done
            }
            ControlRequest::Calls { tenant } => {
                ControlReply::Calls(self.context.social_directory.calls(tenant.as_deref()).await)
            }
            ControlRequest::EndCall { tenant, call } => {
                self.context.social_directory.end_call(&tenant, call).await?;
                ControlReply::Done
            }
            ControlRequest::Server => ControlReply::Server(Box::new(self.status())),
            ControlRequest::Figures => ControlReply::Figures(Box::new(self.figures().await)),
            ControlRequest::Tenant { tenant } => {
                ControlReply::Tenant(self.context.directory.tenants().status(&tenant))
            }
            ControlRequest::Drain => {
                self.drain.notify_one();
                ControlReply::Done
            }
        })
    }

    /// Returns the figures for the series.
    async fn figures(&self) -> SeriesFigures {
        let joins = &self.context.counters.joins;
        let count = |failed: bool| {
            let counted = joins.by_outcome().filter(|(outcome, _)| outcome.is_failure() == failed);
            counted.map(|(_, count)| count).sum()
        };
        let cpu = |shard: &Arc<ShardHandle>| {
            Duration::from_micros(shard.published.cpu_micros.load(Ordering::Relaxed))
        };
        let mut relay_latency = FanoutHistograms::default().relay_latency;
        for shard in &self.shards {
            relay_latency.add(&shard.published.relay_latency());
        }
        let (losses, rooms) = self.context.directory.registry().traffic().await;
        SeriesFigures {
            cpu: self.shards.iter().map(cpu).collect(),
            joins: count(false),
            failed_joins: count(true),
            relay_latency,
            losses,
            rooms,
            status: self.status(),
        }
    }

    fn status(&self) -> ServerStatus {
        let context = &self.context;
        let max = u64::from(context.limits.sessions);
        let free = context.joined.available_permits() as u64;
        let read = |shard: &Arc<ShardHandle>| {
            let published = &shard.published;
            let counters = published.fanout();
            ShardStatus {
                links: published.links.load(Ordering::Relaxed),
                on_fallback: published.on_fallback.load(Ordering::Relaxed),
                tick: Duration::from_micros(published.tick_micros.load(Ordering::Relaxed)),
                kernel_drops: published.kernel_drops.load(Ordering::Relaxed),
                datagrams_in: counters.datagrams_in + counters.session_datagrams_in,
                datagrams_out: counters.datagrams_out + counters.session_datagrams_out,
                bytes_in: counters.bytes_in,
                bytes_out: counters.bytes_out,
            }
        };
        ServerStatus {
            server_id: context.server_id.clone(),
            uptime: self.started.elapsed(),
            accepts: !context.shutting_down.load(Ordering::Relaxed),
            sessions: max.saturating_sub(free),
            max_sessions: max,
            rooms: context.directory.registry().count() as u64,
            shards: self.shards.iter().map(read).collect(),
        }
    }
}
