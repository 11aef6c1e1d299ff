//! Pages that say what went wrong and what to do.

use askama::Template;

use crate::assets;
use crate::shell::Theme;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the form or the address was not understood.
    Malformed,
    /// 403: the reader's role is not enough, or the request came from another site.
    Forbidden,
    /// 404: there is nothing at this address, or it belongs to others.
    NotFound,
    /// 413: the form has too much text.
    TooLarge,
    /// 429: too many requests.
    TooMany,
    /// 500: a fault of the program.
    Fault,
    /// 503: the database does not answer. Rooms go on.
    DatabaseAway,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Forbidden,
        Self::NotFound,
        Self::TooLarge,
        Self::TooMany,
        Self::Fault,
        Self::DatabaseAway,
    ];

    /// Returns the status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::Fault => 500,
            Self::DatabaseAway => 503,
        }
    }

    pub(crate) fn headline(self) -> &'static str {
        match self {
            Self::Malformed => "This was not understood",
            Self::Forbidden => "You may not do this",
            Self::NotFound => "There is nothing here",
            Self::TooLarge => "That was too much",
            Self::TooMany => "That was too fast",
            Self::Fault => "The server made a mistake",
            Self::DatabaseAway => "The database does not answer",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "Go back, look at the form and send it again.",
            Self::Forbidden => {
                "Your role does not include it. Ask an administrator, or sign in with another account."
            }
            Self::NotFound => {
                "The room or session may be over, or the address has a mistake. The search finds past sessions."
            }
            Self::TooLarge => "A form may have 16 KiB. Go back, and send less text.",
            Self::TooMany => "Wait a moment and load the page again.",
            Self::Fault => {
                "Load the page again. If this comes back, look into the server’s log for the request’s id."
            }
            Self::DatabaseAway => {
                "Rooms and sessions go on without it. This page comes back when the database answers; the log says why it does not."
            }
        }
    }
}

/// An error. The page needs no session and no database.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// The base path of the dashboard.
    pub base: String,
    /// The colours.
    pub theme: Theme,
    /// What went wrong.
    pub kind: ErrorKind,
    /// The id of the request, for the log; empty: there is none.
    pub request_id: String,
}

impl ErrorPage {
    pub(crate) fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }
}
