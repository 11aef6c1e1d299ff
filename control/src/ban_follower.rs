//! Ends the sessions of users who are banned while they are there, also by another server of the same
//! database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::control::ControlRequest;

use crate::planes::PlanesHandle;
use crate::snapshot::SnapshotKeeper;

/// The pause after the planes had no time.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the bans.
pub struct BanFollower {
    snapshot: Arc<SnapshotKeeper>,
    planes: PlanesHandle,
    /// The ids of the bans whose users are gone.
    enforced: HashSet<String>,
}

impl BanFollower {
    /// Makes a follower, before the first session joins. The bans of the snapshot that is there need nothing
    /// more: every join is checked against them, also one with a ticket from before a restart.
    pub fn new(snapshot: Arc<SnapshotKeeper>, planes: PlanesHandle) -> Self {
        let enforced = snapshot.newest().bans.iter().map(|ban| ban.id.clone()).collect();
        Self { snapshot, planes, enforced }
    }

    /// Follows the bans. Never returns.
    pub async fn run(mut self) {
        let mut changes = self.snapshot.changes();
        loop {
            if self.enforce().await {
                // Fails only if the keeper is gone, which this holds.
                let _changed = changes.changed().await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Ends the sessions of users with new bans. Returns whether that was done for all.
    async fn enforce(&mut self) -> bool {
        let snapshot = self.snapshot.newest();
        let mut is_done = true;
        let mut enforced = HashSet::new();
        for ban in &snapshot.bans {
            if !self.enforced.contains(&ban.id)
                && let Some(tenant) = snapshot.tenants.get(&ban.tenant)
            {
                let (tenant, user) = (tenant.name.clone(), ban.user.clone());
                if self.planes.ask(ControlRequest::RemoveUser { tenant, user }).await.is_err() {
                    is_done = false;
                    continue;
                }
            }
            enforced.insert(ban.id.clone());
        }
        self.enforced = enforced;
        is_done
    }
}
