//! The fields of a form of a page.

use axum::extract::{FromRequest, Request};

use nucleus_console::screens::ErrorKind;

use super::answer::PageError;
use super::client::ApiRefusal;
use super::state::ConsoleState;
use crate::api::{FormBody, SameOrigin};

/// The fields, in their order. Only a page of this server can have sent them.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Returns the value of a field; empty: it is absent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// Returns the value, or `None` if it is empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Returns whether a switch is to be on: what is neither `true` nor `false` switches nothing.
    ///
    /// # Errors
    ///
    /// The page that says that the form was not understood.
    pub(super) fn is_on(&self, name: &str) -> Result<bool, PageError> {
        self.get(name).parse().map_err(|_| {
            PageError::Refused(ErrorKind::Malformed, format!("`{name}` must be true or false."))
        })
    }

    /// Returns a number, or `None` if the field is empty.
    ///
    /// # Errors
    ///
    /// The page that says that the field must be a whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, PageError> {
        let wrong = |_| {
            let why = format!("`{name}` must be a whole number from 0 to {}.", u32::MAX);
            PageError::Refused(ErrorKind::Malformed, why)
        };
        self.some(name).map(str::parse).transpose().map_err(wrong)
    }

    /// Returns the values of a field that can be there several times.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl FromRequest<ConsoleState> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &ConsoleState) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let wrong = |problem: crate::api::Problem| PageError::from(ApiRefusal::from(problem));
        SameOrigin::check(&parts, &state.api).map_err(|_| PageError::Kind(ErrorKind::Elsewhere))?;
        let request = Request::from_parts(parts, body);
        let FormBody(fields) = FormBody::from_request(request, &state.api).await.map_err(wrong)?;
        Ok(Self(fields))
    }
}
