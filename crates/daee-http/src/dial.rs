use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use daee_types::ByteSize;
use http::{HeaderMap, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{BodyReader, ClientTls, HttpError, Upload, guard::Guarded};

/// What an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for each address to accept, and for TLS after it.
    pub connect_time: Duration,
    /// Time for the whole exchange; for one that is read piece by piece, until the answer's head.
    pub total_time: Duration,
    /// Time between two pieces of an answer, and for the peer to take more of what is sent.
    pub idle_time: Duration,
    /// Bytes of the answer's head. At least 8 KiB.
    pub head_bytes_max: usize,
    /// Bytes of the answer's body.
    pub body_bytes_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_time: Duration::from_secs(5),
            total_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(15),
            head_bytes_max: 32 << 10,
            body_bytes_max: ByteSize::mib(8),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status, redirects included: following is the caller's decision.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Which address answered.
    pub peer: SocketAddr,
}

/// Exchanges one request for one answer with the first of these addresses that accepts, and with no
/// other. With TLS the certificate must be for `tls.1`; the `Host` header is the caller's, and the
/// request's URI is sent as path and query.
pub async fn exchange_on(
    addresses: &[SocketAddr],
    tls: Option<(&ClientTls, &str)>,
    request: http::Request<Bytes>,
    limits: &Limits,
) -> Result<Response, HttpError> {
    let whole = async {
        let (head, body, peer) = open_on(addresses, tls, request.map(Full::new), limits).await?;
        let body = body.whole().await?;
        Ok(Response { status: head.status, headers: head.headers, body, peer })
    };
    timeout(limits.total_time, whole)
        .await
        .unwrap_or_else(|_| Err(HttpError::timeout("whole answer", limits.total_time)))
}

/// The same up to the answer's head; the body is left to read.
pub(crate) async fn open_on<B: Sent>(
    addresses: &[SocketAddr],
    tls: Option<(&ClientTls, &str)>,
    request: http::Request<B>,
    limits: &Limits,
) -> Result<(http::response::Parts, BodyReader, SocketAddr), HttpError> {
    let opened = async {
        let (stream, peer) = dial(addresses, limits.connect_time).await?;
        let Some((tls, host)) = tls else {
            let (head, body) = speak(stream, request, limits).await?;
            return Ok((head, body, peer));
        };
        let wrong = |why: String| HttpError::Tls { host: host.to_owned(), why };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| wrong("that is no name a certificate could be for".to_owned()))?;
        let handshake = TlsConnector::from(tls.0.clone()).connect(name, stream);
        let stream = timeout(limits.connect_time, handshake)
            .await
            .map_err(|_| HttpError::timeout("TLS", limits.connect_time))?
            .map_err(|error| wrong(error.to_string()))?;
        let (head, body) = speak(stream, request, limits).await?;
        Ok((head, body, peer))
    };
    timeout(limits.total_time, opened)
        .await
        .unwrap_or_else(|_| Err(HttpError::timeout("answer", limits.total_time)))
}

/// The task that drives a connection; ends with it.
#[derive(Debug)]
pub(crate) struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn dial(
    addresses: &[SocketAddr],
    connect_time: Duration,
) -> Result<(TcpStream, SocketAddr), HttpError> {
    let mut why = "there is no address to dial".to_owned();
    for address in addresses {
        match timeout(connect_time, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // One request is written at once; waiting to fill a segment would only delay it.
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no connection within {} ms", connect_time.as_millis()),
        }
    }
    let to: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Err(HttpError::Connect { to: to.join(", "), why })
}

/// What a request may carry: bytes that are there, or that are read while they are sent.
pub(crate) trait Sent:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static
{
}

impl Sent for Full<Bytes> {}
impl Sent for Upload {}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static, B: Sent>(
    stream: S,
    mut request: http::Request<B>,
    limits: &Limits,
) -> Result<(http::response::Parts, BodyReader), HttpError> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    *request.uri_mut() = target
        .parse()
        .map_err(|_| HttpError::Request(format!("{target:?} is no path and query")))?;
    // One connection, one exchange: what comes after the answer is nobody's.
    request.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));

    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits.head_bytes_max.max(8 << 10));
    // A peer that takes nothing more would hold a large body up for ever.
    let stream = Guarded::calling(stream, limits.idle_time);
    let broken = |error: hyper::Error| HttpError::sending(&error, limits.idle_time);
    let (mut sender, connection): (SendRequest<B>, _) =
        builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = Connection(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    }));
    let answer: http::Response<Incoming> = sender.send_request(request).await.map_err(broken)?;
    let (head, body) = answer.into_parts();
    let body = BodyReader::new(body, limits.body_bytes_max, limits.idle_time, connection)?;
    Ok((head, body))
}
