//! The errors that the document names for each route.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// What every route may answer instead of its result.
pub(super) struct Common;
/// What a route about one thing may answer in addition.
pub(super) struct OfOne;
/// What a route with a body may answer in addition.
pub(super) struct OfBody;

type Responses = BTreeMap<String, RefOr<Response>>;

/// Describes problem details by their status.
fn problems<const N: usize>(of: [(&str, &str); N]) -> Responses {
    let described = |(status, text): (&str, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(text);
        let response = response.content("application/problem+json", content).build();
        (status.to_owned(), RefOr::T(response))
    };
    of.into_iter().map(described).collect()
}

impl IntoResponses for Common {
    fn responses() -> Responses {
        problems([
            ("400", "A parameter is wrong"),
            ("401", "There is no valid API key"),
            ("403", "The API key does not allow this"),
            ("429", "Too many requests"),
            ("503", "The database or a room does not answer in time"),
        ])
    }
}

impl IntoResponses for OfOne {
    fn responses() -> Responses {
        problems([("404", "There is no such thing, or none that the API key may see")])
    }
}

impl IntoResponses for OfBody {
    fn responses() -> Responses {
        problems([
            ("409", "The request contradicts what is there"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("422", "A value of the body is not allowed"),
        ])
    }
}
