//! Answers of the dashboard: pages, ways to pages, and errors.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use nucleus_console::screens::{ErrorKind, ErrorPage, ShellErrorPage};
use nucleus_console::{RenderError, ShownName, Template, Theme, assets, render};

use super::client::ApiRefusal;
use super::cookies::cookie;
use super::shell::shell;
use super::way_back::way_back;
use crate::api::{RequestInfo, Viewer};

/// What a page's route answers.
pub(super) type PageResult = Result<Response, PageError>;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    /// An error page.
    Kind(ErrorKind),
    /// An error page with the words of the API.
    Refused(ErrorKind, String),
    /// Another answer, as the way to the sign-in.
    Other(Box<Response>),
}

impl From<ApiRefusal> for PageError {
    fn from(refusal: ApiRefusal) -> Self {
        let kind = match refusal.status {
            StatusCode::UNAUTHORIZED => return Self::Other(Box::new(to("/signin?failed=ended"))),
            StatusCode::FORBIDDEN => ErrorKind::Forbidden,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ErrorKind::NotFound,
            StatusCode::CONFLICT => ErrorKind::Conflict,
            StatusCode::UNPROCESSABLE_ENTITY => ErrorKind::Unfit,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::TooMany,
            StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
            status if status.is_client_error() => ErrorKind::Malformed,
            _ => ErrorKind::Fault,
        };
        match kind {
            // What the API says of these, the page says better.
            ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Fault => Self::Kind(kind),
            kind => Self::Refused(kind, refusal.detail),
        }
    }
}

impl From<RenderError> for PageError {
    fn from(error: RenderError) -> Self {
        tracing::error!(%error, "a page of the dashboard");
        Self::Kind(ErrorKind::Fault)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::Other(response) => *response,
            Self::Kind(kind) => Self::Refused(kind, String::new()).into_response(),
            // `finish` writes the page, because it knows the reader and the colours.
            Self::Refused(kind, why) => {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(ErrorFound { kind, why });
                response
            }
        }
    }
}

/// What went wrong, for `finish`.
#[derive(Clone, Debug)]
struct ErrorFound {
    kind: ErrorKind,
    why: String,
}

/// Who reads the page of a request, once that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundViewer(Arc<OnceLock<Arc<Viewer>>>);

impl FoundViewer {
    pub(super) fn set(&self, viewer: Arc<Viewer>) {
        // A request has one reader.
        let _known = self.0.set(viewer);
    }
}

/// Returns a page.
pub(super) fn page(page: &impl Template) -> PageResult {
    Ok(html(StatusCode::OK, render(page)?))
}

/// Returns the way to a page, as after a form.
pub(super) fn to(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// Answers a part of a page whose reader is signed out: the page loads itself again, which leads to the
/// sign-in.
pub(super) fn signed_out_part() -> Response {
    (StatusCode::UNAUTHORIZED, [("hx-refresh", "true")]).into_response()
}

/// Returns a text file to keep.
pub(super) fn csv(file: &'static str, text: String) -> Response {
    let kind = nucleus_console::csv::CONTENT_TYPE;
    let disposition = format!("attachment; filename=\"{file}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], text)
        .into_response()
}

fn html(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// Whether a handler of this crate has made an answer: it is empty, or says what it is other than a plain text.
fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    !kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

/// Writes the pages of errors, and what every answer says to a browser: what its page may load, and that
/// nothing of it is kept.
pub(super) async fn finish(mut request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestInfo>().map(|info| info.id.clone());
    let theme = Theme::from_cookie(cookie(request.headers(), Theme::COOKIE));
    let (is_form, path) = (request.method() == Method::POST, request.uri().path().to_owned());
    let is_part = request.headers().contains_key("hx-request");
    let viewer = FoundViewer::default();
    request.extensions_mut().insert(viewer.clone());
    let mut response = next.run(request).await;
    // A page's route was asked for in a way that axum refuses by itself, as by an address that is not UTF-8.
    if response.status().is_client_error() && !is_ours(&response) {
        let kind = match response.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ErrorKind::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        };
        response = PageError::Kind(kind).into_response();
    }
    if let Some(ErrorFound { kind, why }) = response.extensions().get::<ErrorFound>().cloned() {
        let request_id = request_id.unwrap_or_default();
        let text = match viewer.0.get() {
            Some(viewer) if !is_part => {
                let mut way = way_back(&path, is_form && kind != ErrorKind::NotFound);
                // A page that the reader may not see is no way back.
                if kind == ErrorKind::Forbidden && way.path == path {
                    "/".clone_into(&mut way.path);
                }
                render(&ShellErrorPage {
                    // Without the counts of the menu: the API may be what does not answer.
                    shell: shell(viewer, theme, kind.headline(), way.place),
                    kind,
                    why: Some(why).filter(|why| !why.is_empty()).map(ShownName::new),
                    back: way.path,
                    request_id,
                })
            }
            _ => render(&ErrorPage { base: String::new(), theme, kind, request_id }),
        };
        let status = StatusCode::from_u16(kind.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response = html(status, text.unwrap_or_default());
    }
    let headers = response.headers_mut();
    for (name, value) in assets::PAGE_HEADERS {
        // The kind of an answer is its own: files are none of these pages.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
