//! The id and the address of a request.

/// The id and the address of a request, for its route.
#[derive(Clone, Debug)]
pub(crate) struct RequestInfo {
    pub(crate) id: String,
    pub(crate) ip: String,
}
