//! The rules of people who sign in: roles, passwords, codes, ages of sessions, and how guessing is slowed.
//!
//! The time is passed in. Only `password_worker` has a thread, because a password takes long to hash.

mod email;
mod failed_sign_ins;
mod password;
mod password_worker;
mod role;
mod secret;
mod session_age;
mod sign_in_counters;
mod sign_in_rates;
mod single_sign_on;
mod totp;

pub use email::{EMAIL_BYTES, read_email};
pub use failed_sign_ins::{FailedSignIns, SignInFailures};
pub use password::{PasswordFault, check_password};
pub use password_worker::{PasswordWorker, WorkerBusy};
pub use role::PersonRole;
pub use secret::{SecretText, hash_secret, is_secret, new_secret};
pub use session_age::{is_session_live, oldest_live, session_end, wants_note};
pub use sign_in_counters::{SignInCounters, SignInOutcome};
pub use sign_in_rates::SignInRates;
pub use single_sign_on::{ProviderAddresses, SignOnDomain, SignOnFlow, SingleSignOn};
pub use totp::TotpSecret;

/// Most people of a tenant, and most people of the whole server: a large customer's staff. A list of them
/// takes five pages.
pub const PEOPLE_OF_TENANT: u32 = 1_000;
/// Most sessions of a person: more browsers than anybody uses. The next sign-in ends the oldest one.
pub const SESSIONS_OF_PERSON: u32 = 16;
/// How long a one-time link holds, in microseconds: an hour, in which a mail or a message is read. A person
/// has one link at a time.
pub const LINK_TIME: i64 = 3_600_000_000;
