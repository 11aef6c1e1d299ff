//! How the server reaches an authority: HTTPS, with a limit on the time and the size of each answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use nucleus_control::fetch::{Fetch, fetch};

/// Longest time until an answer is whole. Authorities answer within seconds.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Largest answer, in bytes. The largest one is a certificate with its chain.
const ANSWER_BYTES: usize = 256 << 10;

/// Sends the requests of ACME.
pub(super) struct AcmeHttp {
    /// The roots of the authority's certificate.
    pub(super) tls: Arc<rustls::ClientConfig>,
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            let other = |error: &str| Error::Other(error.to_owned().into());
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            let headers: Vec<_> = header("content-type")
                .map(|value| ("content-type", value.to_owned()))
                .into_iter()
                .collect();
            let answer = fetch(Fetch {
                method: head.method.as_str(),
                url: &head.uri.to_string(),
                headers: &headers,
                body: body.to_bytes().to_vec(),
                time: ANSWER_TIME,
                max_answer: ANSWER_BYTES,
                public_only: false,
                tls: Some(tls),
            })
            .await
            .map_err(|error| other(&error.to_string()))?;
            let mut response = Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(Bytes::from(answer.body)))?.into())
        })
    }
}
