//! [`JoinToken`]: the token with which a client joins, and where the next one comes from.

use nucleus_protocol::time::Time;

use super::{ClientSession, JoinError, may_be_token};

/// The token of the next join. A caller that provides tokens is asked for one when the server
/// refuses it during a return.
pub(crate) struct JoinToken {
    newest: String,
    /// The token before the newest one, which may never have been checked.
    earlier: Option<String>,
    /// Whether the caller provides fresh tokens.
    pub(crate) has_provider: bool,
    asking: Asking,
    /// The refusal after which the client waits for a token.
    refusal: Option<JoinError>,
    /// Whether the newest token of the caller is from this try.
    is_fresh: bool,
}

/// Whether the caller has been asked for a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    /// The output is due.
    Due,
    /// The caller has not answered.
    Waiting,
}

impl JoinToken {
    pub(crate) fn new(token: String, has_provider: bool) -> Self {
        Self {
            newest: token,
            earlier: None,
            has_provider,
            asking: Asking::No,
            refusal: None,
            is_fresh: false,
        }
    }

    pub(crate) fn newest(&self) -> &str {
        &self.newest
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.newest.clone().into_bytes()
    }

    /// Sets the token that the application has handed in. The one before is tried too.
    pub(crate) fn replace(&mut self, token: String) {
        self.earlier = Some(std::mem::replace(&mut self.newest, token));
    }

    /// Asks the caller for a token, once.
    pub(crate) fn ask(&mut self) {
        if self.asking == Asking::No {
            self.asking = Asking::Due;
        }
    }

    /// Returns whether the caller is to be asked now.
    pub(crate) fn take_due(&mut self) -> bool {
        let is_due = self.asking == Asking::Due;
        if is_due {
            self.asking = Asking::Waiting;
        }
        is_due
    }

    /// Notes that the client has joined.
    pub(crate) fn joined(&mut self) {
        (self.earlier, self.is_fresh) = (None, false);
    }

    /// Decides about a join that has failed: the token before the newest one may still be good, or
    /// the caller may provide another one. `has_joined` says whether there was a session before.
    pub(crate) fn not_joined(
        &mut self,
        now: Time,
        session: &mut ClientSession,
        error: JoinError,
        has_joined: bool,
    ) {
        // A token also says which certificates are trusted, so a fresh one may help.
        let is_untrusted = self.has_provider && matches!(error, JoinError::Tls(_));
        if !error.is_about_token() && !is_untrusted {
            return session.join_failed(now, error);
        }
        if let Some(token) = self.earlier.take() {
            self.newest = token;
            session.join_again(now);
        } else if !self.has_provider || !has_joined {
            session.join_failed(now, error);
        } else if std::mem::take(&mut self.is_fresh) {
            // The caller's token is refused too. After a pause the caller is asked again.
            session.join_failed_for_now(now, error);
        } else {
            self.refusal = Some(error);
            self.ask();
        }
    }

    /// Returns whether a join waits for the caller's answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.refusal.is_some()
    }

    /// Takes the caller's answer; `None`, or a text that cannot be a token: there is no token now.
    /// Returns the token if no join waits for it.
    pub(crate) fn take_answer(
        &mut self,
        now: Time,
        session: &mut ClientSession,
        token: Option<String>,
    ) -> Option<String> {
        self.asking = Asking::No;
        match (self.refusal.take(), token.filter(|token| may_be_token(token))) {
            (None, token) => return token,
            (Some(_), Some(token)) => {
                (self.newest, self.is_fresh) = (token, true);
                session.join_again(now);
            }
            (Some(error), None) => session.join_failed_for_now(now, error),
        }
        None
    }

    /// Ends the wait for a token when the time to come back is over.
    pub(crate) fn handle_timeout(&mut self, now: Time, session: &mut ClientSession) {
        if let Some(error) = self.refusal.take_if(|_| session.is_return_over(now)) {
            session.join_failed(now, error);
        }
    }
}
