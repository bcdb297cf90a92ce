use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use daee_types::{ByteSize, Coded, Fault};
use http_body_util::Limited;
use hyper::service::{Service as _, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{BindError, ServerTls, answer::error_answer, guard::Guarded};

/// What one client may take of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Bytes of a request's head. At least 8 KiB.
    pub head_bytes_max: usize,
    /// Bytes of a request's body on any route. Extractors stop at 2 MB unless the route says otherwise
    /// with `axum::extract::DefaultBodyLimit`, and never read more than this.
    pub body_bytes_max: ByteSize,
    /// Connections at a time; the next wait to be accepted.
    pub connections_max: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Time for a request's head, for TLS, and between requests.
    pub head_time: Duration,
    /// Time from a request's head to its answer's head, its body included.
    pub request_time: Duration,
    /// Time a client may take nothing of what was sent to it.
    pub stall_time: Duration,
    /// Time that [`Server::stop`] gives to what is under way.
    pub drain_time: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 << 10,
            body_bytes_max: ByteSize::mib(64),
            connections_max: 1024,
            streams_max: 128,
            head_time: Duration::from_secs(15),
            request_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(5),
        }
    }
}

/// Listens, or says who is in the way and what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError::of(address, &error))
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves plain HTTP/1.1 and HTTP/2 on the running tokio runtime. Each request carries
    /// `axum::extract::ConnectInfo<SocketAddr>`.
    ///
    /// # Panics
    /// If the listener is not bound.
    pub fn start(listener: TcpListener, routes: Router, limits: ServerLimits) -> Self {
        Self::run(listener, None, routes, limits)
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// If the listener is not bound.
    pub fn start_tls(
        listener: TcpListener,
        tls: &ServerTls,
        routes: Router,
        limits: ServerLimits,
    ) -> Self {
        Self::run(listener, Some(TlsAcceptor::from(tls.0.clone())), routes, limits)
    }

    fn run(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        routes: Router,
        limits: ServerLimits,
    ) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = watch::channel(false);
        let served = Served { tls, routes: TowerToHyperService::new(routes), limits, stopped };
        let task = tokio::spawn(accept(listener, served));
        Self { address, stop, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets what is under way finish within the drain time, and cuts the rest off.
    pub async fn stop(mut self) {
        // No receiver means that it ended already.
        let _ = self.stop.send(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Served {
    tls: Option<TlsAcceptor>,
    routes: TowerToHyperService<Router>,
    limits: ServerLimits,
    stopped: watch::Receiver<bool>,
}

async fn accept(listener: TcpListener, mut served: Served) {
    let places = Arc::new(Semaphore::new(served.limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            (place, listener.accept().await)
        };
        tokio::select! {
            () = told(&mut served.stopped) => break,
            // Reaped as they end, or the set would grow for as long as the server runs.
            Some(_) = connections.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok((stream, peer)) => {
                    let served = served.clone();
                    connections.spawn(async move {
                        served.connection(stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would only burn the core.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    drop(listener);
    let drained = timeout(served.limits.drain_time, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::debug!(left = connections.len(), "cut off connections that did not end in time");
    }
}

impl Served {
    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting to fill a segment would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.speak(stream, peer).await };
        match timeout(self.limits.head_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        }
    }

    async fn speak(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) {
        let limits = self.limits;
        let stream = Guarded::new(stream, limits.head_time, limits.stall_time);
        let routes = self.routes.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let max = usize::try_from(limits.body_bytes_max.0).unwrap_or(usize::MAX);
            let mut request = request.map(|body| Body::new(Limited::new(body, max)));
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = routes.call(request);
            async move {
                Ok::<_, Infallible>(match timeout(limits.request_time, answer).await {
                    Ok(answer) => answer.unwrap_or_else(|never| match never {}),
                    Err(_) => error_answer(504, &Slow(limits.request_time)),
                })
            }
        });

        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(limits.head_bytes_max)
            .max_headers(128);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(limits.head_bytes_max.try_into().unwrap_or(u32::MAX))
            .max_concurrent_streams(limits.streams_max)
            .keep_alive_interval(limits.head_time)
            .keep_alive_timeout(limits.head_time);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = told(&mut self.stopped) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection broke");
        }
    }
}

/// Waits for the word to stop, or for nobody being left to give it.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} ms", .0.as_millis())]
struct Slow(Duration);

impl Coded for Slow {
    fn code(&self) -> &'static str {
        "DAEE-H004"
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
