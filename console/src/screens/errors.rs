//! Pages that say what went wrong and what to do.

use askama::Template;

use crate::assets;
use crate::name::ShownName;
use crate::shell::{PageShell, Theme};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the form or the address was not understood.
    Malformed,
    /// 403: the reader's role is not enough.
    Forbidden,
    /// 403: the form came from another site.
    Elsewhere,
    /// 404: there is nothing at this address, or it belongs to others.
    NotFound,
    /// 409: something else has the name or the place, or a limit is reached.
    Conflict,
    /// 413: the form has too much text.
    TooLarge,
    /// 422: the values of a form do not fit.
    Unfit,
    /// 429: too many requests.
    TooMany,
    /// 500: a fault of the program.
    Fault,
    /// 503: the database or the planes do not answer. Rooms go on.
    Unavailable,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Forbidden,
        Self::Elsewhere,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::Unfit,
        Self::TooMany,
        Self::Fault,
        Self::Unavailable,
    ];

    /// Returns the status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Forbidden | Self::Elsewhere => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Unfit => 422,
            Self::TooMany => 429,
            Self::Fault => 500,
            Self::Unavailable => 503,
        }
    }

    /// Returns what went wrong, in a few words.
    #[must_use]
    pub fn headline(self) -> &'static str {
        match self {
            Self::Malformed => "This was not understood",
            Self::Forbidden => "You may not do this",
            Self::Elsewhere => "The form came from another site",
            Self::NotFound => "There is nothing here",
            Self::Conflict => "This cannot be done now",
            Self::TooLarge => "That was too much",
            Self::Unfit => "This was not accepted",
            Self::TooMany => "That was too fast",
            Self::Fault => "The server made a mistake",
            Self::Unavailable => "The server cannot answer at present",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "Go back, look at the form and send it again.",
            Self::Forbidden => {
                "Your role does not include it. Ask an administrator, or sign in with another account."
            }
            Self::Elsewhere => {
                "Nothing was done. Open the page of this server, and send its form. If this is that page, a proxy changes the address: the setting url of [sign_in] must be the one that browsers show."
            }
            Self::NotFound => {
                "The room or session may be over, or the address has a mistake. The search finds past sessions."
            }
            Self::Conflict => "Nothing was changed. Look at the page again, and then decide.",
            Self::Unfit => "Nothing was changed. Go back, correct the form and send it again.",
            Self::TooLarge => "A form may have 16 KiB. Go back, and send less text.",
            Self::TooMany => "Wait a moment and load the page again.",
            Self::Fault => {
                "Load the page again. If this comes back, look into the server’s log for the request’s id."
            }
            Self::Unavailable => {
                "Rooms and sessions go on. Wait a moment and load the page again. If the database does not answer, the server’s log says why."
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

/// An error for somebody who is signed in: with the menu, and the way back.
#[derive(Clone, Debug, Template)]
#[template(path = "shell_error.html")]
pub struct ShellErrorPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// What went wrong.
    pub kind: ErrorKind,
    /// Why, in the words of the API; absent: there is no more to say.
    pub why: Option<ShownName>,
    /// The path of the page to go back to.
    pub back: String,
    /// The id of the request, for the log; empty: there is none.
    pub request_id: String,
}
