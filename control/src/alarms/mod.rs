//! What an operator should look at: alarms, computed from what the server knows.
//!
//! [`rules`] decides, and gets the facts and the time as arguments. The limits are those of
//! `monitoring/alerts.yml`, in a table in `docs/OPERATIONS.md`. [`AlarmWatch`] gathers the facts each ten
//! seconds, and keeps in memory since when each alarm rings (`book`).

mod book;
mod facts;
pub mod rules;
mod watch;

pub use facts::{AlarmFacts, CertificateFacts, CertificateKind, JoinFacts, LicenceFacts};
pub use rules::{Alarm, AlarmKind, AlarmSeverity, EndingThing};
pub use watch::{AlarmReport, AlarmSources, AlarmWatch, ServerSurroundings};
