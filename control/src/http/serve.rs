//! Accepts connections and serves HTTP/1.1 on them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nucleus_core::limits;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::connections::{Busy, Connections, Entry};
use super::{ACME_PROTOCOL, Listener, OverTls};

/// Pause after a failed accept. Without it, the loop would spin while the process has no free file
/// descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are accepted in a row. Then those that send requests have their turn, whatever number of
/// others wait to be accepted.
const ACCEPTS: u64 = 16;

/// Longest time in which a client may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Longest time for which a host may leave what was sent unacknowledged. One that has vanished would else keep
/// the place of its stream for a quarter of an hour.
#[cfg(target_os = "linux")]
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(30);

/// Accepts the connections of one address. Never returns.
pub(super) async fn accept(listener: Listener, connections: Arc<Connections>) {
    let Listener { socket, tls, router } = listener;
    let tls = tls.map(TlsAcceptor::from);
    let listening =
        socket.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(socket));
    let socket = match listening {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "cannot serve HTTP"),
    };
    for accepted in 1.. {
        if accepted % ACCEPTS == 0 {
            tokio::task::yield_now().await;
        }
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(entry) = connections.add() else { continue };
        let number = entry.number();
        let serving = tokio::spawn(connection(stream, peer, tls.clone(), router.clone(), entry));
        connections.set_task(number, serving.abort_handle());
    }
}

/// Serves one connection. Its errors are not logged, because only its client can cause them.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    entry: Entry,
) {
    let _best_effort = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _best_effort = SockRef::from(&stream).set_tcp_user_timeout(Some(ACKNOWLEDGE_TIME));
    let from = (peer, OverTls(tls.is_some()));
    let Some(tls) = tls else { return serve(stream, from, router, entry).await };
    let handshake = tokio::time::timeout(limits::HTTP_HEAD_TIME, tls.accept(stream));
    if let Ok(Ok(stream)) = handshake.await
        && stream.get_ref().1.alpn_protocol() != Some(ACME_PROTOCOL)
    {
        serve(stream, from, router, entry).await;
    }
}

async fn serve<S>(stream: S, (peer, over_tls): (SocketAddr, OverTls), router: Router, entry: Entry)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let entry = Arc::new(entry);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (router, entry) = (router.clone(), entry.clone());
        async move {
            let busy = entry.request();
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(over_tls);
            let response = router.oneshot(request.map(Body::new)).await?;
            Ok::<_, std::convert::Infallible>(response.map(|body| Answer { body, _busy: busy }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_TIME)
        .max_buf_size(limits::HTTP_HEAD_BYTES);
    // A client that takes nothing must not hold a place for ever.
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIME));
    let _served = http.serve_connection(TokioIo::new(stream), service).await;
}

/// The body of an answer. The connection counts as used until hyper has taken it.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answer {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
