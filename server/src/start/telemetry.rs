//! Spans of joins, of requests to the API and of webhooks, for an OpenTelemetry collector.
//!
//! The settings are the usual environment variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`; without this one
//! or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` nothing is sent. A thread of its own sends the spans, over HTTP
//! (OTLP, protobuf). While the collector does not answer, at most 2,048 spans wait, and others are dropped.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use nucleus_control::SPANS;
use nucleus_control::fetch::{Fetch, fetch};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Runtime};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// The variable with the name that the server shows. Left out: `nucleus`.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Longest time until the collector has answered.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Largest answer of the collector, in bytes. It is empty, or names what was refused.
const ANSWER_BYTES: usize = 64 << 10;
/// Longest time at the stop for the last spans.
const FINISH_TIME: Duration = Duration::from_secs(1);

/// What sends the spans of this process, once it is set up.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Makes the layer that takes spans; `None`: no collector is named.
///
/// # Errors
///
/// A text for people: an address is none, or the system refuses a thread.
pub(super) fn layer<S>() -> Result<Option<impl Layer<S>>, String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_named = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    if !ENDPOINTS.iter().any(is_named) {
        return Ok(None);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("spans")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(OtlpHttp(runtime))
        .build()
        .map_err(|error| error.to_string())?;
    let mut resource = Resource::builder();
    if std::env::var_os(SERVICE_NAME).is_none() {
        resource = resource.with_service_name("nucleus");
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("nucleus");
    PROVIDER.set(provider).map_err(|_| "it is already set up")?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Ok(Some(layer.with_filter(Targets::new().with_target(SPANS, tracing::Level::INFO))))
}

/// Sends the last spans. Called before the process ends.
pub fn finish() {
    if let Some(provider) = PROVIDER.get() {
        // The collector may be gone.
        let _best_effort = provider.shutdown_with_timeout(FINISH_TIME);
    }
}

/// The exporter runs outside any runtime, so requests run on one of their own.
#[derive(Debug)]
struct OtlpHttp(Runtime);

#[async_trait]
impl HttpClient for OtlpHttp {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.spawn(send(request)).await?
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = request.into_parts();
    let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers: Vec<_> = head
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), text(value)?)))
        .collect();
    let answer = fetch(Fetch {
        method: head.method.as_str(),
        url: &head.uri.to_string(),
        headers: &headers,
        body: body.to_vec(),
        time: ANSWER_TIME,
        max_answer: ANSWER_BYTES,
        public_only: false,
        tls: None,
    })
    .await?;
    Ok(Response::builder().status(answer.status).body(Bytes::from(answer.body))?)
}
