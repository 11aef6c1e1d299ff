//! The screens: a view model with its template each.

mod account;
mod accounts;
mod audit;
mod bans;
mod calls;
mod errors;
mod first_run;
mod keys;
mod network;
mod overview;
mod parts;
mod room;
mod rooms;
mod session;
mod sessions;
mod sign_in;
mod tenants;
mod webhooks;

pub use account::{AccountPage, OwnSession, TotpSetup, TotpState};
pub use accounts::{PersonPage, PersonRow, PersonsPage};
pub use audit::{AuditPage, AuditRow, AuditSearch};
pub use bans::{BanRow, BansPage};
pub use calls::{CallRow, CallsLive, CallsPage, PastCallRow};
pub use errors::{ErrorKind, ErrorPage, ShellErrorPage};
pub use first_run::FirstRunPage;
pub use keys::{IssuerRow, KeyRow, KeysPage};
pub use network::{AddressRow, NetworkPage, PortRow};
pub use overview::{AlarmRow, OverviewLive, OverviewPage, ShardRow, WorstRoom};
pub use parts::{
    ChartSlot, Choice, FormProblem, Happening, LabelledMark, OneChart, PageLinks, PageVerdict,
    TenantField, Tile,
};
pub use room::{
    KeptOutRow, OneRoomPage, PastRoomPage, RoomEndedLive, RoomLive, RosterRow, StateRow,
};
pub use rooms::{RoomRow, RoomsLive, RoomsPage, SortColumn};
pub use session::{FactRow, SessionPage};
pub use sessions::{SessionRow, SessionsPage};
pub use sign_in::{LinkPage, SignInPage};
pub use tenants::{TenantForm, TenantPage, TenantRow, TenantsPage};
pub use webhooks::{DeliveryRow, WebhookForm, WebhookPage, WebhookRow, WebhooksPage};
